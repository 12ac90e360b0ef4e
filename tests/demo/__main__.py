"""`python -m tests.lab.enter -- python -m tests.demo`, or `python -m tests.lab up -- python -m tests.demo --keep`."""

from __future__ import annotations

import sys

import click
from rich.console import Console

from tests.demo.narration import DoesNotHold, Narrator
from tests.demo.walk import NODE_LABELS, Walk
from tests.lab import held
from tests.lab.background import announce
from tests.lab.lab import Lab

_LOG_LINES = 12


@click.command()
@click.option(
    "--keep", is_flag=True, help="Leave the cluster up afterwards (needs `python -m tests.lab up` around it)."
)
def main(keep: bool) -> None:
    """Walk through what AdmitLB does, on a real cluster in a box; exit 1 at the first step that does not hold."""
    narrator = Narrator(Console())
    with Lab(node_labels=NODE_LABELS) as lab:
        try:
            _show_cluster(lab, narrator)
            Walk(lab, narrator).all_steps()
        except DoesNotHold:
            _show_logs(lab, narrator)
            sys.exit(1)
        narrator.summary()
        if keep:
            narrator.plain("")
            held.hold(lab, lambda: announce(lab))


def _show_cluster(lab: Lab, narrator: Narrator) -> None:
    with narrator.step("A cluster in a box: three nodes, and a client beside them on the same two LANs"):
        version = ".".join(str(number) for number in lab.control_plane.binaries.server_version)
        narrator.tell(f"Real etcd, kube-apiserver and kube-controller-manager {version}, kube-proxy on every node;")
        narrator.tell("nodes, client and pods are network namespaces. The applications will run on node-3.")
        output = lab.kubectl("get", "nodes", "-L", "metallb/external-speaker,metallb/internal-speaker").stdout
        narrator.command("kubectl get nodes -L metallb/external-speaker,metallb/internal-speaker", output)
        narrator.measured("cluster ready after", f"{lab.start_seconds:.1f} s")


def _show_logs(lab: Lab, narrator: Narrator) -> None:
    for path in lab.log_files():
        if path.parent.name.startswith("metallb-system_"):
            narrator.plain(f"\n{path.parent.name}/{path.stem}:")
            lines = path.read_text(errors="replace").splitlines()
            narrator.plain("\n".join(lines[-_LOG_LINES:]))


if __name__ == "__main__":
    main()

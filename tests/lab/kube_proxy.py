"""kube-proxy on a node: real, in iptables mode, in the node's own network."""

from __future__ import annotations

from pathlib import Path

from tests.lab import topology
from tests.lab.control_plane import ControlPlane
from tests.lab.network import Host
from tests.lab.processes import Process
from tests.lab.program_help import program_help

_RULES_SECONDS = 30.0


def start_kube_proxy(plane: ControlPlane, host: Host, *, log: Path) -> Process:
    """Start kube-proxy for the node of the host's name, whose Node object must exist."""
    program = plane.binaries.kube_proxy
    known = program_help(program)
    argv: list[str | Path] = [
        program,
        f"--kubeconfig={plane.kubeconfig('kube-proxy')}",
        f"--hostname-override={host.name}",
        "--proxy-mode=iptables",
        # What is not from a Pod is masqueraded on its way to a ClusterIP, so that answers come back this way.
        f"--cluster-cidr={','.join(topology.POD_CIDRS)}",
        "--healthz-bind-address=127.0.0.1:10256",
        "--metrics-bind-address=127.0.0.1:10249",
        "--iptables-min-sync-period=100ms",
        # The limits of connection tracking are the machine's, not this namespace's.
        *known.only_known(
            conntrack_max_per_core="0",
            conntrack_tcp_timeout_established="0",
            conntrack_tcp_timeout_close_wait="0",
            oom_score_adj="0",
        ),
        *known.gates_to_open(),
    ]
    return Process(argv, name=f"{host.name}/kube-proxy", log=log, netns=host.name)


def wait_for_rules(proxy: Process, host: Host) -> None:
    """Wait until kube-proxy has written its first rules, of both families."""
    for program in ("iptables", "ip6tables"):
        proxy.wait_until(
            lambda words=(program, "-w", "-t", "nat", "-S"): (  # type: ignore[misc]
                "KUBE-SERVICES" in host.run(*words, check=False).stdout
            ),
            _RULES_SECONDS,
            f"kube-proxy on {host.name} writes its {program} rules",
        )

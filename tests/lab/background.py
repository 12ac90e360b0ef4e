"""The process behind `python -m tests.lab up`: a lab and nothing else, until it is taken down."""

from __future__ import annotations

import sys

import click

from tests.lab import held
from tests.lab.lab import Lab


@click.command()
@click.option("--nodes", type=int, required=True)
@click.option("--clients", type=int, required=True)
def main(nodes: int, clients: int) -> None:
    """Start a lab and hold it; to be run by `held.run_detached`."""
    with Lab(nodes=nodes, clients=clients) as lab:
        held.hold(lab, lambda: announce(lab))


def announce(lab: Lab) -> None:
    """Print how to use a lab that is left up."""
    command = f"{sys.executable} -m tests.lab"
    print(f"The lab is up: {', '.join([*lab.nodes, *lab.clients])}. From this directory:")
    for usage, meaning in (
        ("kubectl get pods -A", "kubectl as administrator"),
        ("exec client-1 ip neigh", "any command on a node or client"),
        ("kill node-2", "power off: cables and processes at one instant; then `revive node-2`"),
        ("cut node-2", "pull its cables; then `heal node-2`"),
        ("status", "hosts, processes, where the logs are"),
        ("shell", "a shell beside the API server, inside everything"),
        ("down", "end it; nothing is left behind"),
    ):
        print(f"  {command} {usage:<24} # {meaning}")
    sys.stdout.flush()


if __name__ == "__main__":
    main()

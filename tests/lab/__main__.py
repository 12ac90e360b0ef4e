"""`python -m tests.lab`: the cluster in a box by hand, in the background."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import NoReturn

import click

from tests.lab import binaries, held
from tests.lab.enter import complete_path

_PASS_ON = {"ignore_unknown_options": True, "allow_interspersed_args": False, "help_option_names": []}


class _Group(click.Group):
    def invoke(self, ctx: click.Context) -> object:
        try:
            return super().invoke(ctx)
        except (held.NoLab, held.Refused, PermissionError) as error:
            raise click.ClickException(str(error)) from error


@click.group(cls=_Group)
def main() -> None:
    """A real Kubernetes cluster in network namespaces, kept in the background."""
    complete_path()


@main.command(context_settings={"allow_interspersed_args": False})
@click.option("--nodes", default=3, show_default=True, help="How many nodes.")
@click.option("--clients", default=1, show_default=True, help="How many clients.")
@click.argument("command", nargs=-1, type=click.UNPROCESSED)
def up(nodes: int, clients: int, command: tuple[str, ...]) -> None:
    """Start a lab; or run COMMAND inside fresh namespaces until it leaves one up (`hold`)."""
    # Inside there is no way out to fetch anything.
    binaries.find()
    own = [sys.executable, "-m", "tests.lab.background", f"--nodes={nodes}", f"--clients={clients}"]
    sys.exit(held.run_detached(command or own))


@main.command(context_settings=_PASS_ON)
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
def kubectl(arguments: tuple[str, ...]) -> None:
    """Run kubectl as administrator of the lab."""
    access = held.ask("access")
    _become(["env", f"KUBECONFIG={access['kubeconfig']}", access["kubectl"], *arguments])


@main.command(name="exec", context_settings=_PASS_ON)
@click.argument("host")
@click.argument("command", nargs=-1, required=True, type=click.UNPROCESSED)
def execute(host: str, command: tuple[str, ...]) -> None:
    """Run COMMAND on HOST (node-1, client-1, ...)."""
    _become(["ip", "netns", "exec", host, *command])


@main.command()
def shell() -> None:
    """Open a shell in the outer namespace: the API server, the bridges, all logs."""
    access = held.ask("access")
    _become(["env", f"KUBECONFIG={access['kubeconfig']}", os.environ.get("SHELL", "/bin/sh")])


@main.command()
@click.argument("node")
def kill(node: str) -> None:
    """Power NODE off."""
    held.ask("kill", node)


@main.command()
@click.argument("node")
def revive(node: str) -> None:
    """Boot a killed NODE."""
    held.ask("revive", node)


@main.command()
@click.argument("node")
def cut(node: str) -> None:
    """Pull the cables of NODE; its processes run on."""
    held.ask("cut", node)


@main.command()
@click.argument("node")
def heal(node: str) -> None:
    """Plug the cables of NODE in again."""
    held.ask("heal", node)


@main.command()
def status() -> None:
    """Show hosts, processes and problems."""
    answer = held.ask("status")
    for name, addresses in answer["hosts"].items():
        print(f"{name:<12} {' '.join(addresses)}")
    for name, pid in answer["processes"].items():
        print(f"{pid:>6} {name}")
    print(f"logs (seen from `shell`): {answer['logs']}")
    for problem in answer["problems"]:
        print(f"problem: {problem}", file=sys.stderr)
    sys.exit(1 if answer["problems"] else 0)


@main.command()
def down() -> None:
    """End the lab."""
    held.take_down()


def _become(command: list[str]) -> NoReturn:
    sys.exit(subprocess.run(held.reaching(command), check=False).returncode)


if __name__ == "__main__":
    main()

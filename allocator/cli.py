"""The `admitlb` command: a thin frame whose sub-commands are found by entry point.

The packages above this one (webhook, speaker) register their commands in `admitlb.commands`, so the frame
imports none of them and a command that is not asked for costs no import.
"""

from __future__ import annotations

from importlib.metadata import entry_points, version

import click

_GROUP = "admitlb.commands"


class _Components(click.Group):
    def list_commands(self, ctx: click.Context) -> list[str]:
        return sorted({*super().list_commands(ctx), *(entry.name for entry in entry_points(group=_GROUP))})

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        for entry in entry_points(group=_GROUP, name=cmd_name):
            command = entry.load()
            if isinstance(command, click.Command):
                return command
        return super().get_command(ctx, cmd_name)


@click.command(cls=_Components, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(version("admitlb"), prog_name="admitlb")
def main() -> None:
    """LoadBalancer IPs for bare-metal Kubernetes, assigned at admission."""

"""The `admitlb` command: a thin frame that imports a sub-command only when it is asked for.

The packages above this one (webhook, speaker) register their commands as entry points in `admitlb.commands`, so
that the frame imports none of them. The commands of this package are named here, because looking entry points up
costs a pre-commit hook more than its own work.
"""

from __future__ import annotations

from collections.abc import Iterator
from importlib import import_module
from typing import TYPE_CHECKING, Any

import click

from allocator.process.standard_output import standard_output

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint

    from click.shell_completion import CompletionItem

_ENTRY_POINTS = "admitlb.commands"
_OWN = {
    "bgp": "allocator.commands.bgp",
    "completion": "allocator.commands.completion",
    "doctor": "allocator.commands.doctor",
    "explain": "allocator.commands.explain",
    "install": "allocator.commands.install",
    "lint": "allocator.commands.lint",
    "plan": "allocator.commands.plan",
    "pools": "allocator.commands.pools",
}


_SUMMARIES = {
    "bgp": "Show the sessions with routers, and renew what keeps them.",
    "completion": "Print the completion script for a shell.",
    "doctor": "Look for what is wrong in a live cluster, and what fixes it.",
    "explain": "Say why a Service is pending, or who announces its addresses.",
    "install": "Print, apply or remove the manifests, without a clone.",
    "lint": "Check manifests against every rule of admission.",
    "plan": "Show which addresses manifests lead to, and what a change does.",
    "pools": "Show how much of every pool is in use.",
    "rebalance": "Spread the announced addresses over the nodes again.",
    "reconciler": "Run the reconciler: bind, release, repair, write status.",
    "speaker": "Run the speaker: answer ARP and neighbour discovery on a node.",
    "webhook": "Run the webhook: check objects, reserve addresses at admission.",
    "who-has": "Ask the LAN who answers for an address, or listen to it.",
}
"""What lists of commands say of each: to load all of them for that takes longer than most of them run."""


class _Commands(click.Group):
    def list_commands(self, ctx: click.Context) -> list[str]:
        registered = {entry.name for entry in _registered()}
        return sorted({*super().list_commands(ctx), *_OWN, *registered})

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        command: Any = None
        if cmd_name in _OWN:
            command = getattr(import_module(_OWN[cmd_name]), cmd_name)
        else:
            command = next((entry.load() for entry in _registered() if entry.name == cmd_name), None)
        return command if isinstance(command, click.Command) else super().get_command(ctx, cmd_name)

    def invoke(self, ctx: click.Context) -> Any:
        with standard_output():
            return super().invoke(ctx)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, self._summary(ctx, name)) for name in self.list_commands(ctx)])

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        from click.shell_completion import CompletionItem  # noqa: PLC0415

        names = [name for name in self.list_commands(ctx) if name.startswith(incomplete)]
        # The base's own answer would load every command; what it says of options comes from the level below it.
        options = click.Command.shell_complete(self, ctx, incomplete)
        return [*(CompletionItem(name, help=self._summary(ctx, name)) for name in names), *options]

    def _summary(self, ctx: click.Context, name: str) -> str:
        if name in _SUMMARIES:
            return _SUMMARIES[name]
        command = self.get_command(ctx, name)
        return command.get_short_help_str() if command is not None else ""


def _registered() -> Iterator[EntryPoint]:
    from importlib.metadata import entry_points  # noqa: PLC0415  costs more than all of click

    return iter(entry_points(group=_ENTRY_POINTS))


def _show_version(ctx: click.Context, _: click.Parameter, wanted: bool) -> None:
    if wanted and not ctx.resilient_parsing:
        from importlib.metadata import version  # noqa: PLC0415  loads the e-mail package, and sockets

        click.echo(f"admitlb, version {version('admitlb')}")
        ctx.exit()


@click.command(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.option(
    "--version",
    is_flag=True,
    expose_value=False,
    is_eager=True,
    callback=_show_version,
    help="Show the version and exit.",
)
def main() -> None:
    """LoadBalancer IPs for bare-metal Kubernetes, assigned at admission."""

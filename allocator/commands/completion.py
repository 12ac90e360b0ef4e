"""`admitlb completion`: the script that makes a shell complete our commands."""

from __future__ import annotations

import click
from click.shell_completion import get_completion_class


@click.command()
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
@click.pass_context
def completion(ctx: click.Context, shell: str) -> None:
    """Print the completion script for a shell, as in: source <(admitlb completion bash)"""
    writer = get_completion_class(shell)
    if writer is None:
        raise click.UsageError(f"this version of click cannot complete in {shell}")
    click.echo(writer(ctx.find_root().command, {}, "admitlb", "_ADMITLB_COMPLETE").source())

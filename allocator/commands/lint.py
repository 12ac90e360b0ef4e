"""`admitlb lint`: what admission would answer, without a cluster."""

from __future__ import annotations

import json
import sys
from typing import Any

import click

from allocator.commands import answers
from allocator.commands.offline import offline_options, replayed
from allocator.offline.input_documents import Unreadable, UnreadableInput


@click.command()
@click.argument("paths", metavar="PATH...", nargs=-1, required=True, type=click.Path(allow_dash=True))
@click.option("-o", "--output", type=click.Choice(["text", "json", "github"]), default="text", show_default=True)
@offline_options
def lint(paths: tuple[str, ...], output: str, **cluster: Any) -> None:
    """Check files, folders or - (stdin) against every rule of admission.

    Documents are taken in order, as the cluster would get them: one of a name that came before is an update, one
    with metadata.deletionTimestamp a deletion. Exit code 0: all allowed; 1: something denied; 2: unreadable input.
    """

    def unreadable(error: UnreadableInput) -> None:
        if output == "github":
            _print(answers.faults_as_workflow_commands(error))

    def passed_over(note: Unreadable) -> None:
        if output == "github":
            _print([answers.note_as_workflow_command(note)])

    _, given = replayed(paths, on_unreadable=unreadable, on_passed_over=passed_over, **cluster)
    match output:
        case "json":
            click.echo(json.dumps({"documents": answers.as_json(given)}, indent=2))
        case "github":
            _print(answers.as_workflow_commands(given))
        case _:
            _print(answers.as_text(given))
    sys.exit(1 if answers.denied(given) else 0)


def _print(lines: Any) -> None:
    for line in lines:
        click.echo(line)

"""`kubectl admitlb ...`: the same commands as a kubectl plugin, and the completion that kubectl asks for."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Final

import click
from click.shell_completion import ShellComplete

from allocator.cli import main
from allocator.process.standard_output import standard_output

_NAME: Final = "kubectl admitlb"
_FILES, _NO_FILES = 0, 4
"""ShellCompDirectiveDefault and ShellCompDirectiveNoFileComp of spf13/cobra."""


def plugin() -> None:
    """Run as `kubectl-admitlb`, which kubectl finds on PATH."""
    main(prog_name=_NAME)


def complete() -> None:
    """Run as `kubectl_complete-admitlb`: print what may stand in place of the last argument (kubectl 1.26+)."""
    with standard_output():
        for line in completions(sys.argv[1:]):
            click.echo(line)


def completions(words: Sequence[str]) -> list[str]:
    """Return the lines kubectl reads: `value<TAB>help`, and a last one `:directive`."""
    *before, incomplete = words or ("",)
    items = ShellComplete(main, {}, _NAME, "").get_completions(list(before), incomplete)
    lines = [f"{item.value}\t{item.help}" if item.help else item.value for item in items if item.type == "plain"]
    wants_files = any(item.type != "plain" for item in items)
    return [*lines, f":{_FILES if wants_files else _NO_FILES}"]

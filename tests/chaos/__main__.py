"""`python -m tests.lab.enter -- python -m tests.chaos`: the whole run, with a table of what came of it."""

from __future__ import annotations

import json
import random
import sys
from pathlib import Path

import click
from rich.console import Console
from rich.table import Table

from tests.chaos.run import Outcome, Plan, run


@click.command()
@click.option("--seconds", type=float, default=300.0, show_default=True, envvar="ADMITLB_CHAOS_SECONDS")
@click.option("--clients", type=int, default=50, show_default=True)
@click.option("--seed", type=int, help="What is tried in which order; chosen and printed where not given.")
@click.option("--output", type=click.Path(dir_okay=False, path_type=Path), help="Where all figures go as JSON.")
@click.option("--logs", type=click.Path(file_okay=False, path_type=Path), help="Where the logs of all processes go.")
def main(seconds: float, clients: int, seed: int | None, output: Path | None, logs: Path | None) -> None:
    """Create, change, share and delete Services while components die; exit 1 if something happened that may not."""
    plan = Plan(seconds=seconds, clients=clients, seed=seed if seed is not None else random.randrange(10_000))
    console = Console(width=None if Console().is_terminal else 160)
    console.print(f"{plan.seconds:g} s, {plan.clients} clients, seed {plan.seed}", highlight=False)
    outcome = run(plan, keep=logs)
    if output is not None:
        output.write_text(json.dumps(outcome.figures(), indent=1) + "\n")
    show(outcome, console)
    sys.exit(0 if outcome.clean else 1)


def show(outcome: Outcome, console: Console) -> None:
    """Print what came of a run."""
    table = Table(header_style="bold")
    table.add_column("what")
    table.add_column("how many", justify="right")
    for what, found in (
        ("duplicates", outcome.duplicates),
        ("Services changing address unasked", outcome.moves),
        ("leaks", outcome.leaks),
        ("answers no client should get", outcome.surprises),
    ):
        table.add_row(what, f"[{'red' if found else 'green'}]{len(found)}[/]")
    table.add_section()
    table.add_row("times a Service got an address", str(outcome.assigned))
    table.add_row("of these, one it shares", str(outcome.shared))
    table.add_row("moves that were asked for", str(outcome.moved_as_asked))
    table.add_row("moves because an older sharer changed", str(outcome.gave_way))
    table.add_row("versions of claims looked at", str(outcome.claim_versions))
    table.add_row("all agreed after the last change", f"{outcome.settled_after_seconds:.1f} s")
    table.add_row("no claim left after the last deletion", f"{outcome.collected_after_seconds:.1f} s")
    for counts in (outcome.requests, outcome.misfortunes):
        table.add_section()
        for what, count in counts.items():
            table.add_row(what, str(count))
    console.print(table)
    for line in (*outcome.duplicates, *outcome.moves, *outcome.leaks, *outcome.surprises):
        console.print(line, style="red", markup=False, highlight=False)


if __name__ == "__main__":
    main()

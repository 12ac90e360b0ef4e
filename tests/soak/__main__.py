"""`python -m tests.lab.enter -- python -m tests.soak`: the whole soak, with a table of what came of it."""

from __future__ import annotations

import random
import sys
import tempfile
from pathlib import Path

import click
from rich.console import Console
from rich.table import Table

from tests.soak.misfortunes import KINDS
from tests.soak.run import Outcome, Plan, run


@click.command()
@click.option("--minutes", type=float, default=5.0, show_default=True, envvar="MINUTES")
@click.option("--seed", type=int, help="What is tried in which order; chosen and printed where not given.")
@click.option(
    "--kind",
    "kinds",
    multiple=True,
    type=click.Choice(KINDS),
    help="Let only this happen; may be given several times.",
)
@click.option(
    "--patience",
    type=click.FloatRange(1.0),
    default=1.0,
    show_default=True,
    help="By how much to stretch every bound.",
)
@click.option(
    "--output",
    type=click.Path(file_okay=False, path_type=Path),
    help="Folder for outcome, moments and logs; one in the temporary folder where not given.",
)
def main(minutes: float, seed: int | None, kinds: tuple[str, ...], patience: float, output: Path | None) -> None:
    """Let nodes, cables, speakers and the API server fail; exit 1 if something happened that may not."""
    if output is not None and output.exists() and any(output.iterdir()):
        raise click.UsageError(f"{output} is not empty: another soak's certificates would be taken for this one's")
    plan = Plan(
        seconds=60 * minutes,
        directory=output or Path(tempfile.mkdtemp(prefix="admitlb-soak-")),
        seed=seed if seed is not None else random.randrange(10_000),
        kinds=kinds,
        patience=patience,
    )
    console = Console(width=None if Console().is_terminal else 200)
    console.print(f"{minutes:g} min, seed {plan.seed}, artefacts in {plan.directory}", highlight=False)
    outcome = run(plan)
    show(outcome, console)
    sys.exit(1 if outcome.findings else 0)


def show(outcome: Outcome, console: Console) -> None:
    """Print what came of a soak."""
    table = Table(header_style="bold")
    for column in ("what", "how many", "longest", "bound"):
        table.add_column(column, justify="left" if column == "what" else "right")
    for kind, seen in outcome.spells.items():
        colour = "red" if seen["longest"] > seen["bound"] else "green"
        longest = f"[{colour}]{seen['longest']:.2f} s[/]"
        table.add_row(kind, f"{seen['how many']:.0f}", longest, f"{seen['bound']:g} s")
    for counts in (outcome.misfortunes, outcome.churn):
        table.add_section()
        for what, count in counts.items():
            table.add_row(what, str(count), "", "")
    table.add_section()
    for what, seconds in outcome.took.items():
        table.add_row(what, "", f"{seconds:.1f} s", "")
    table.add_section()
    table.add_row("questions asked", str(outcome.questions), "", "")
    table.add_row("answers heard", str(outcome.answers), "", "")
    table.add_row("this machine was too busy to ask", "", f"{outcome.busy_seconds:.2f} s", "")
    table.add_row("versions of claims looked at", str(outcome.claim_versions), "", "")
    console.print(table)
    for address, told in outcome.http.items():
        console.print(f"{address}: {told}", markup=False, highlight=False)
    console.print(f"{outcome.seconds:.0f} s, {len(outcome.findings)} findings", highlight=False)
    for finding in outcome.findings:
        console.print(finding, style="red", markup=False, highlight=False)


if __name__ == "__main__":
    main()

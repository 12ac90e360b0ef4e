"""`python -m tests.lab.enter -- python -m tests.soak.bgp`: the whole soak of BGP, with a table of what came of it."""

from __future__ import annotations

import random
import sys
import tempfile
from functools import partial
from pathlib import Path

import click
from rich.console import Console
from rich.table import Table

from tests.lab.frr_image import NAME, find_frr_image
from tests.lab.lab import Lab
from tests.lab.routers import NoRouters, Routers
from tests.lab.workloads import DAEMON_SETS
from tests.soak.bgp.misfortunes import KINDS
from tests.soak.bgp.run import Outcome, Plan, keep, run

OVERLAY = "kustomize/overlays/bgp"
_NOT_HERE = 2


@click.command()
@click.option("--minutes", type=float, default=10.0, show_default=True, envvar="MINUTES")
@click.option("--seed", type=int, help="What is tried in which order; chosen and printed where not given.")
@click.option("--kind", "kinds", multiple=True, type=click.Choice(KINDS), help="Let only this happen; may repeat.")
@click.option("--patience", type=click.FloatRange(1.0), default=1.0, show_default=True, help="Stretches every bound.")
@click.option("--output", type=click.Path(file_okay=False, path_type=Path), help="Folder for outcome and logs.")
def main(minutes: float, seed: int | None, kinds: tuple[str, ...], patience: float, output: Path | None) -> None:
    """Let peers, Services, routers, cables, daemons and speakers change and fail; exit 1 if what may not be was."""
    plan = Plan(
        seconds=60 * minutes,
        seed=seed if seed is not None else random.randrange(10_000),
        kinds=kinds,
        patience=patience,
    )
    directory = output or Path(tempfile.mkdtemp(prefix="admitlb-soak-bgp-"))
    directory.mkdir(parents=True, exist_ok=True)
    console = Console(width=None if Console().is_terminal else 200)
    console.print(f"{minutes:g} min, seed {plan.seed}, artefacts in {directory}", highlight=False)
    image = find_frr_image(directory / "frr-image")
    if image is None:
        click.echo("FRR's image is not here; `python -m tests.lab.frr_programs` fetches it from Debian", err=True)
        sys.exit(_NOT_HERE)
    try:
        with Lab(images={NAME: image}, directory=directory / "lab") as lab, Routers(lab, bfd=True) as routers:
            lab.install(OVERLAY)
            lab.wait_rolled_out(DAEMON_SETS, "frr")
            outcome = run(plan, lab, routers, on_finding=partial(click.echo, err=True))
    except NoRouters as error:
        click.echo(str(error), err=True)
        sys.exit(_NOT_HERE)
    keep(outcome, directory)
    show(outcome, console)
    sys.exit(1 if outcome.findings else 0)


def show(outcome: Outcome, console: Console) -> None:
    """Print what came of a soak."""
    table = Table(header_style="bold")
    table.add_column("what")
    table.add_column("how many", justify="right")
    for counts in (outcome.misfortunes, outcome.edits, outcome.route_events):
        table.add_section()
        for what, count in sorted(counts.items()):
            table.add_row(what, str(count))
    table.add_section()
    table.add_row("times both tables were read", str(outcome.looks))
    console.print(table)
    console.print(
        f"{outcome.seconds:.0f} s, tables as wanted {outcome.settled_after:.1f} s after the last event, "
        f"{len(outcome.findings)} findings",
        highlight=False,
    )
    for finding in outcome.findings:
        console.print(finding, style="red", markup=False, highlight=False)


if __name__ == "__main__":
    main()

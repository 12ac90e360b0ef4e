"""`python -m tests.lab.enter -- python -m tests.bench`: measure, keep JSON lines, print a table."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import click
from rich.console import Console

from tests.bench import core, creation, life, webhook_start
from tests.bench.figures import Figure, Report
from tests.bench.site import bare_site, site


def _with_fsync() -> Iterator[Figure]:
    with bare_site(fsync=True) as control_plane:
        bare_rate = creation.measure_bare(control_plane)
        with site(control_plane) as durable:
            yield from creation.measure(durable, bare_rate=bare_rate, durability="etcd with fsync")


def _without_fsync() -> Iterator[Figure]:
    with bare_site(fsync=False) as control_plane, site(control_plane) as quick:
        yield from life.measure(quick)


_PARTS: dict[str, Callable[[], Iterable[Figure]]] = {
    "core": core.measure,
    "creation": _with_fsync,
    "life": _without_fsync,
    "start": webhook_start.measure,
}


@click.command()
@click.argument("parts", nargs=-1, type=click.Choice(list(_PARTS)))
@click.option(
    "--output",
    type=click.Path(dir_okay=False, writable=True, path_type=Path),
    default="bench-allocation.jsonl",
    show_default=True,
    help="Where the JSON lines go.",
)
def main(parts: tuple[str, ...], output: Path) -> None:
    """Measure PARTS, or everything; a figure that is not reached is marked, not an error."""
    console = Console(width=None if Console().is_terminal else 200)
    started = time.monotonic()
    with Report.to(output) as report:
        for name in parts or _PARTS:
            console.print(f"[{time.monotonic() - started:5.0f} s] {name}", markup=False, highlight=False)
            for figure in _PARTS[name]():
                report.add(figure)
    report.show(console)
    load = ", ".join(f"{value:.1f}" for value in os.getloadavg())
    console.print(f"{os.cpu_count()} processors, load {load}; {time.monotonic() - started:.0f} s; {output}")


if __name__ == "__main__":
    main()

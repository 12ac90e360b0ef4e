"""`python -m tests.lab.enter -- python -m tests.bench`: measure, keep JSON lines, print a table."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import click
from rich.console import Console

from tests.bench import (
    bgp_change,
    bgp_cut,
    bgp_desired,
    bgp_hold,
    bgp_leave,
    bgp_memory,
    bgp_wire,
    core,
    creation,
    life,
    pool_review,
    scale,
    speaker_crowd,
    speaker_failover,
    speaker_first_answer,
    speaker_first_answer_floor,
    speaker_idle,
    speaker_junk,
    speaker_many,
    speaker_membership,
    speaker_realtime,
    speaker_scale,
    speaker_storm,
    speaker_wire,
    speaker_writes,
    webhook_start,
)
from tests.bench.figures import Figure, Report
from tests.bench.site import bare_site, site
from tests.bench.speaker_failover import Misfortune
from tests.bench.speaker_venue import Venue


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """How often to make happen what can only be judged by its worst, and where."""

    runs: int
    venue: Venue


def _with_fsync() -> Iterator[Figure]:
    with bare_site(fsync=True) as control_plane:
        bare_rate = creation.measure_bare(control_plane)
        with site(control_plane) as durable:
            yield from creation.measure(durable, bare_rate=bare_rate, durability="etcd with fsync")


def _without_fsync() -> Iterator[Figure]:
    with bare_site(fsync=False) as control_plane, site(control_plane) as quick:
        yield from life.measure(quick)


def _crowd(run: Run) -> Iterator[Figure]:
    run.venue.leave()
    with speaker_crowd.crowd() as there:
        yield from speaker_crowd.measure_takeover(there, runs=run.runs)
        yield from speaker_crowd.measure_memory(there)


def _writes(run: Run) -> Iterator[Figure]:
    run.venue.leave()
    with speaker_crowd.crowd(audited_users=[speaker_writes.USER]) as there:
        yield from speaker_writes.measure(there, there.site.lab.directory / "audit.jsonl")


def _storm(run: Run) -> Iterable[Figure]:
    run.venue.leave()
    return speaker_storm.measure(runs=run.runs)


def _takeover(misfortune: Misfortune) -> Callable[[Run], Iterable[Figure]]:
    return lambda run: speaker_failover.measure(run.venue.site, misfortune, runs=run.runs)


def _undisturbed(measure: Callable[[], Iterable[Figure]]) -> Callable[[Run], Iterable[Figure]]:
    """Measure what a lab that runs beside it would slow down."""

    def without_lab(run: Run) -> Iterable[Figure]:
        run.venue.leave()
        return measure()

    return without_lab


def _repeated(measure: Callable[[int], Iterable[Figure]]) -> Callable[[Run], Iterable[Figure]]:
    """The same for what is done `--runs` times."""

    def without_lab(run: Run) -> Iterable[Figure]:
        run.venue.leave()
        return measure(run.runs)

    return without_lab


_ALLOCATION: dict[str, Callable[[Run], Iterable[Figure]]] = {
    "core": _undisturbed(core.measure),
    "pools": _undisturbed(pool_review.measure),
    "creation": _undisturbed(_with_fsync),
    "life": _undisturbed(_without_fsync),
    "start": _undisturbed(webhook_start.measure),
    "scale": _undisturbed(scale.measure),
}
_SPEAKER: dict[str, Callable[[Run], Iterable[Figure]]] = {
    "speaker-kill": _takeover(speaker_failover.NODE_KILLED),
    "speaker-kill-without-api": _takeover(speaker_failover.NODE_KILLED_WITHOUT_API),
    "speaker-carrier": _takeover(speaker_failover.CARRIER_LOST),
    "speaker-partition": _takeover(speaker_failover.PARTITION_HEALED),
    "speaker-rollout": lambda run: speaker_failover.measure_rollouts(run.venue.site, runs=run.runs),
    "speaker-first-answer": lambda run: speaker_first_answer.measure(run.venue.site, services=max(20, run.runs)),
    "first-answer": lambda run: speaker_first_answer_floor.measure(run.venue.site),
    "speaker-wire": _undisturbed(speaker_wire.measure),
    "speaker-many": _undisturbed(speaker_many.measure),
    "speaker-junk": _undisturbed(speaker_junk.measure),
    "speaker-realtime": _undisturbed(speaker_realtime.measure),
    "speaker-idle": _undisturbed(speaker_idle.measure),
    "speaker-crowd": _crowd,
    "speaker-writes": _writes,
    "speaker-storm": _storm,
    "speaker-simulated": _undisturbed(speaker_membership.measure),
    "speaker-scale": _undisturbed(speaker_scale.measure),
}
_BGP: dict[str, Callable[[Run], Iterable[Figure]]] = {
    "bgp-desired": _undisturbed(bgp_desired.measure),
    "bgp-change": _repeated(bgp_change.measure),
    "bgp-wire": _repeated(bgp_wire.measure),
    "bgp-memory": _repeated(bgp_memory.measure),
    "bgp-hold": _repeated(bgp_hold.measure),
    "bgp-cut": _repeated(bgp_cut.measure),
    "bgp-leave": _repeated(bgp_leave.measure),
}
_PARTS = _ALLOCATION | _SPEAKER | _BGP
_GROUPS = {"allocation": tuple(_ALLOCATION), "speaker": tuple(_SPEAKER), "bgp": tuple(_BGP)}
_QUICK = (
    *_GROUPS["allocation"],
    "speaker-kill",
    "speaker-carrier",
    "speaker-partition",
    "speaker-first-answer",
    "first-answer",
    "speaker-wire",
)
"""What is measured when nobody says what."""


@click.command()
@click.argument("parts", nargs=-1, type=click.Choice([*_GROUPS, *_PARTS]))
@click.option(
    "--runs",
    type=click.IntRange(1),
    default=3,
    show_default=True,
    help="How often announcing is made to move, for each figure that needs it.",
)
@click.option(
    "--output",
    type=click.Path(dir_okay=False, writable=True, path_type=Path),
    default="bench.jsonl",
    show_default=True,
    help="Where the JSON lines go.",
)
def main(parts: tuple[str, ...], runs: int, output: Path) -> None:
    """Measure PARTS, or a sensible selection; a figure that is not reached is marked, not an error."""
    console = Console(width=None if Console().is_terminal else 200)
    started = time.monotonic()
    chosen = [name for part in parts or _QUICK for name in _GROUPS.get(part, (part,))]
    with Report.to(output) as report:
        try:
            with Venue() as venue:
                for name in dict.fromkeys(chosen):
                    console.print(f"[{time.monotonic() - started:5.0f} s] {name}", markup=False, highlight=False)
                    for figure in _PARTS[name](Run(runs=runs, venue=venue)):
                        report.add(figure)
        finally:
            # What was measured before something failed is worth as much.
            report.show(console)
    load = ", ".join(f"{value:.1f}" for value in os.getloadavg())
    console.print(f"{os.cpu_count()} processors, load {load}; {time.monotonic() - started:.0f} s; {output}")


if __name__ == "__main__":
    main()

"""What a speaker needs in a large cluster: processor time for each thing that happens, memory, and how long it stops.

`python -m tests.bench.speaker_scale SERVICES NODES`: one process that runs the real reflectors, view, election,
announcer, and reports of one node. The API server's answers are documents of its size and shape, handed to the
reflectors as text; the other speakers are what this one would have heard of them. No frame leaves: what is timed is
when one is handed to an interface. Nothing else of that process runs, so that the time its threads use is the cost.
"""

from __future__ import annotations

import json
import math
import subprocess
import sys
from collections.abc import Iterator
from statistics import median
from typing import Any

from tests.bench.figures import Figure

_ROUNDS = 5
_CHURN_SECONDS = 600.0
_SERVICES, _NODES = 10_000, 200


def measure(*, churn_seconds: float = _CHURN_SECONDS) -> Iterator[Figure]:
    """Measure in processes of their own: one large cluster, and the memory of smaller ones."""
    section = f"one speaker of {_NODES}, {_SERVICES:,} Services"
    large = _run(_SERVICES, _NODES, rounds=_ROUNDS, churn_seconds=churn_seconds)
    for what, target in (
        ("one new Service", 2.0),
        ("a node's label changes", 5.0),
        ("a node is no longer Ready, and is again", 5.0),
        ("a node's Lease is renewed", 5.0),
        ("another node claims one address more", 2.0),
        ("a pool that has no Service changes", 5.0),
    ):
        yield _figure(section, f"{what}: processor time", large["processor"][what], "ms", target)
    yield _figure(
        section, "a node with 50 addresses dies: decided, processor time", large["died processor"], "ms", 20.0
    )
    yield _figure(
        section, "a node with 50 addresses dies: first frame, by the clock", large["died frame"], "ms", 50.0
    )
    for what, samples in large["deaf"].items():
        yield _figure(section, f"{what}: longest time the controller takes no event", samples, "ms", 50.0)
        yield _figure(section, f"{what}: until all of it is done", large["done"][what], "ms", None)
    yield Figure(
        section=section,
        what=f"longest stop of the process in {churn_seconds:.0f} s of churn",
        value=large["stop"],
        unit="ms",
        target=50.0,
        baseline="an idle process beside it, whose stops are subtracted",
        baseline_value=large["stop of the other"],
        remark=f"{large['changes']} changes",
    )
    yield _figure(section, "resident memory", [large["memory"]], "MB", 150.0)
    for services, nodes, target in ((1_000, 20, 60.0), (1, 3, 50.0)):
        small = _run(services, nodes, rounds=0, churn_seconds=0.0)
        yield _figure(
            f"one speaker of {nodes}, {services:,} Services", "resident memory", [small["memory"]], "MB", target
        )


def _figure(section: str, what: str, samples: list[float], unit: str, target: float | None) -> Figure:
    return Figure(
        section=section,
        what=what + (f", median of {len(samples)}" if len(samples) > 1 else ""),
        value=median(samples) if samples else math.nan,
        unit=unit,
        target=target,
        baseline="",
        baseline_value=0.0,
        samples=tuple(round(each, 3) for each in samples),
    )


def _run(services: int, nodes: int, *, rounds: int, churn_seconds: float) -> dict[str, Any]:
    command = [
        sys.executable,
        "-m",
        "tests.bench.large_speaker",
        str(services),
        str(nodes),
        str(rounds),
        str(churn_seconds),
    ]
    done = subprocess.run(command, stdout=subprocess.PIPE, check=True, timeout=churn_seconds + 900)
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found

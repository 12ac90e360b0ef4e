"""How soon many speakers know of a loss, and whether lost datagrams alone make them believe in one.

`python -m tests.bench.speaker_membership [SECONDS]`: the real membership of 200 speakers on a simulated network that
loses one datagram in a hundred. A second of it takes about a second.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import dataclass

from tests.bench.figures import Figure
from tests.unit.speaker.simulated import Cluster


@dataclass(frozen=True, slots=True, kw_only=True)
class Watchfulness:
    """What the speakers noticed: `detection_seconds` is when the last of them knew of the one real loss."""

    speakers: int
    simulated_seconds: float
    false_alarms: int
    detection_seconds: float
    unaware: int


def watch(speakers: int = 200, *, seconds: float = 60.0, loss: float = 0.01, seed: int = 1) -> Watchfulness:
    """Let the speakers watch each other for so long, then kill one."""
    cluster = Cluster([f"node-{number}" for number in range(speakers)], loss=loss, seed=seed)
    began = cluster.now
    cluster.run(seconds)
    alarms = [change for member in cluster.members.values() for at, change in member.changes if at > began]
    died_at, victim = cluster.now, "node-0"
    cluster.kill(victim)
    cluster.run(3.0)
    noticed = [
        at - died_at
        for member in cluster.members.values()
        for at, change in member.changes
        if change.node == victim and not change.alive and at >= died_at
    ]
    return Watchfulness(
        speakers=speakers,
        simulated_seconds=seconds,
        false_alarms=sum(not change.alive for change in alarms),
        detection_seconds=max(noticed, default=float("inf")),
        unaware=len(cluster.members) - len(noticed),
    )


def measure(*, seconds: float = 60.0) -> Iterator[Figure]:
    """Tell how soon the last of 200 speakers knew of a loss, and how often one believed in a loss that was none."""
    seen = watch(seconds=seconds)
    of = f"{seen.speakers} simulated speakers, 1 % of datagrams lost"
    yield Figure(
        section="membership",
        what=f"death of one known to the last of {of}",
        value=1000 * seen.detection_seconds,
        unit="ms",
        baseline="",
        baseline_value=0.0,
        target=1000.0,
        remark=f"{seen.unaware} never knew" if seen.unaware else "",
    )
    yield Figure(
        section="membership",
        what=f"false alarms in {seen.simulated_seconds:.0f} simulated seconds, {of}",
        value=float(seen.false_alarms),
        unit="alarms",
        baseline="",
        baseline_value=0.0,
        target=0.0,
    )


if __name__ == "__main__":
    print(watch(seconds=float(sys.argv[1]) if len(sys.argv) > 1 else 60.0))

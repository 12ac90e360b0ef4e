"""How soon many speakers know of a loss, and whether lost datagrams alone make them believe in one.

`python -m tests.bench.speaker_membership [SPEAKERS [SECONDS]]`: the real membership on a simulated network that loses
one datagram in a hundred, and on one way in a hundred all of them for 0.3 s. Every minute a speaker dies, and is back
half a minute later.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import dataclass

from speaker.membership.membership import PeerChange
from tests.bench.figures import Figure
from tests.unit.speaker.simulated import Cluster

LOSS = 0.01
BURST_SHARE = 0.01
CALM_SECONDS = 12.0
NOTICED_SECONDS = 3.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Watchfulness:
    """What the speakers noticed: `detection_seconds` is when the last of them knew of a real death, at worst.

    `sent_per_second` is how many heartbeats each sent while nothing happened.
    """

    speakers: int
    simulated_seconds: float
    deaths: int
    false_alarms: int
    detection_seconds: float
    unaware: int
    sent_per_second: float


def watch(speakers: int = 200, *, seconds: float = 60.0, seed: int = 1) -> Watchfulness:
    """Let the speakers watch each other for so long, one of them dying each minute."""
    names = [f"node-{number}" for number in range(speakers)]
    cluster = Cluster(names, seed=seed, joined=False)
    for name in names:
        # One after the other, or what each says to all of them would be all there is to simulate.
        cluster.start(name)
        cluster.run(0.02)
    cluster.run(CALM_SECONDS)
    cluster.loss, cluster.burst_share = LOSS, BURST_SHARE
    sent, quiet = cluster.sent, min(10.0, seconds / 2)
    began = cluster.now
    for member in cluster.members.values():
        member.changes.clear()
    cluster.run(quiet)
    sent_per_second = (cluster.sent - sent) / quiet / speakers
    deaths = alarms = unaware = 0
    worst = 0.0
    while True:
        victim = names[deaths % speakers]
        alarms += _deaths_seen(cluster)
        died_at = cluster.now
        cluster.power_off(victim)
        cluster.run(NOTICED_SECONDS)
        deaths += 1
        for member in cluster.members.values():
            noticed = [at for at, change in member.changes if change.node == victim and not change.alive]
            unaware += not noticed
            worst = max([worst, *(at - died_at for at in noticed)])
            alarms += sum(change.node != victim and _is_alarm(change) for _, change in member.changes)
            member.changes.clear()
        if cluster.now - began + 60.0 > seconds:
            break
        cluster.run(30.0 - NOTICED_SECONDS)
        alarms += _deaths_seen(cluster)
        cluster.start(victim)
        cluster.run(30.0)
    return Watchfulness(
        speakers=speakers,
        simulated_seconds=cluster.now - began,
        deaths=deaths,
        false_alarms=alarms,
        detection_seconds=worst,
        unaware=unaware,
        sent_per_second=sent_per_second,
    )


def _deaths_seen(cluster: Cluster) -> int:
    """Count whom anybody gave up since the last look."""
    found = 0
    for member in cluster.members.values():
        found += sum(_is_alarm(change) for _, change in member.changes)
        member.changes.clear()
    return found


def _is_alarm(change: PeerChange) -> bool:
    """Whether somebody is believed to be dead: a new process counts only once it has told what it states."""
    return not change.alive and change.reason != "restarted"


def measure(*, seconds: float = 60.0) -> Iterator[Figure]:
    """Tell how soon the last of 200 speakers knew of a death, and how often one believed in a death that was none."""
    seen = watch(seconds=seconds)
    of = f"{seen.speakers} simulated speakers, 1 % of datagrams lost and 1 % of ways dead for 0.3 s"
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
    yield Figure(
        section="membership",
        what=f"heartbeats sent by each of {seen.speakers} simulated speakers while nothing happens",
        value=seen.sent_per_second,
        unit="a second",
        baseline="",
        baseline_value=0.0,
        target=100.0,
    )


if __name__ == "__main__":
    arguments = [float(each) for each in sys.argv[1:]]
    print(watch(int(arguments[0]) if arguments else 200, seconds=arguments[1] if len(arguments) > 1 else 60.0))

"""One soak from beginning to end, and what came of it."""

from __future__ import annotations

import json
import shutil
import threading
import time
from collections import Counter
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path

from allocator.kube.client import Cluster
from allocator.kube.reflector import Reflector
from allocator.objects.names import IP_ALLOCATIONS
from tests.bench.speaker_asking import Asking
from tests.chaos.witness import ClaimWitness
from tests.lab.outage import OutageMeter
from tests.lab.outage import Report as Outage
from tests.lab.waiting import wait_until
from tests.soak.befalling import Event
from tests.soak.churn import Churn
from tests.soak.ending import Ending
from tests.soak.misfortunes import Misfortunes
from tests.soak.place import CHURNED, STEADY, Place
from tests.soak.witness import Kind, Spell, Witness

ASK_SECONDS = 0.06
BOUNDS = {
    Kind.UNANSWERED: 1.2,
    Kind.TWO_PLACES: 1.5,
    Kind.TWO_SENDERS: 1.5,
    Kind.LATE: 5.0,
    Kind.LINGERING: 5.0,
}
"""Seconds, from the last thing that happened on. The second and third are the bound of the election: half a second
of silence and one more. It takes a tenth where the kernels know each other; one whose own cable was out a moment
before a cut has forgotten the others' hardware addresses, and asks for each once a second."""
_LEARNED_FROM_API = (Kind.LATE, Kind.LINGERING)
LEASE_SECONDS = 16.0
"""As long as Leases alone say who lives: fifteen seconds, and one to act. Then a bound is this, at least."""

_ANSWERED_SECONDS = 30
_HTTP_PER_SECOND = 20.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """How long, and in which order; the seed decides what is tried, not what happens: processes race.

    `patience` stretches every bound, for machines that have other things to do. `directory` takes the artefacts.
    """

    seconds: float
    directory: Path
    seed: int = 0
    kinds: tuple[str, ...] = ()
    patience: float = 1.0


@dataclass(slots=True, kw_only=True)
class Outcome:
    """What came of a soak; `findings` must be empty."""

    seconds: float = 0.0
    findings: list[str] = field(default_factory=list)
    misfortunes: dict[str, int] = field(default_factory=dict)
    churn: dict[str, int] = field(default_factory=dict)
    spells: dict[str, dict[str, float]] = field(default_factory=dict)
    """For each kind: how many, the longest, and the bound, in seconds."""
    questions: int = 0
    answers: int = 0
    busy_seconds: float = 0.0
    claim_versions: int = 0
    http: dict[str, str] = field(default_factory=dict)
    took: dict[str, float] = field(default_factory=dict)


def run(plan: Plan) -> Outcome:
    """Set a cluster up, let it soak, and look whether all is well; the logs stay whatever happens."""
    plan.directory.mkdir(parents=True, exist_ok=True)
    place = Place(plan.directory / "lab")
    try:
        place.open()
        return _run(plan, place)
    finally:
        place.close()
        shutil.rmtree(plan.directory / "lab" / "etcd", ignore_errors=True)


def _run(plan: Plan, place: Place) -> Outcome:
    outcome = Outcome()
    names = {node.mac("eth0"): node.name for node in place.lab.nodes.values()}
    witness, claims = Witness(names, every_seconds=ASK_SECONDS), ClaimWitness()
    cluster = Cluster.from_environment(str(place.lab.control_plane.kubeconfig()))
    mirror = Reflector(cluster, IP_ALLOCATIONS, on_change=claims.see)
    churn = Churn(place, witness, seed=plan.seed)
    misfortunes = Misfortunes(place, witness, seed=plan.seed, kinds=plan.kinds)
    steady = [address for pair in STEADY for address in pair]
    everything = [*steady, *(address for pair in CHURNED for address in pair)]
    meters: dict[str, OutageMeter] = {}
    started = time.monotonic()
    with Asking(
        place.asking,
        everything,
        every_seconds=ASK_SECONDS,
        on_answer=witness.heard,
        on_question=witness.asked,
    ):
        for address in steady:
            wait_until(partial(witness.answered_at, address), _ANSWERED_SECONDS, f"{address} is answered")
            witness.expect(address)
        mirror.start()
        with ExitStack() as asking:
            for address in STEADY[0]:
                url = f"http://[{address}]/" if ":" in address else f"http://{address}/"
                meter = place.lab.client().outage(url, rate_per_second=_HTTP_PER_SECOND)
                meters[address] = asking.enter_context(meter)
            churn.start()
            misfortunes.start()
            _let_it_soak(plan.seconds, misfortunes)
            try:
                misfortunes.stop()
            except Exception as error:
                outcome.findings.append(f"not mended: {error!r}")
            churn.stop()
        ending = Ending(place)
        outcome.findings += ending.settled()
        for address in steady:
            witness.excuse(address)
    mirror.stop()
    outcome.seconds = time.monotonic() - started
    outcome.findings += ending.withdrawn()
    outcome.findings += ending.stopped()
    outcome.findings += [f"the lab is broken: {problem}" for problem in place.lab.problems()]
    outcome.findings += churn.failures
    outcome.findings += [f"duplicate claim: {text}" for text in claims.duplicates]
    spells = witness.spells()
    outcome.findings += judged(spells, misfortunes.events, plan, outcome)
    outcome.misfortunes = dict(sorted(misfortunes.counts.items()))
    outcome.churn = dict(churn.counts.most_common())
    outcome.questions, outcome.answers = witness.questions, witness.answers
    outcome.busy_seconds, outcome.claim_versions = witness.busy_seconds, claims.versions
    outcome.http = {address: _told(meter.report, misfortunes.events) for address, meter in meters.items()}
    outcome.took = ending.took
    _keep(plan.directory, outcome, spells, misfortunes.events)
    return outcome


def _let_it_soak(seconds: float, misfortunes: Misfortunes) -> None:
    end = time.monotonic() + seconds
    while misfortunes.alive and (left := end - time.monotonic()) > 0:
        threading.Event().wait(min(left, 0.5))


def judged(spells: list[Spell], events: list[Event], plan: Plan, outcome: Outcome) -> list[str]:
    instants = [event.at for event in events]
    found = []
    for kind in Kind:
        bound = BOUNDS[kind] * plan.patience
        lengths = {spell: spell.since(instants) for spell in spells if spell.kind is kind}
        lengths = {spell: length - _by_lease(spell, length, events) for spell, length in lengths.items()}
        if kind in _LEARNED_FROM_API:
            lengths = {spell: length - _without_api(spell, length, events) for spell, length in lengths.items()}
        outcome.spells[kind.value] = {
            "how many": float(len(lengths)),
            "longest": round(max(lengths.values(), default=0.0), 3),
            "bound": bound,
        }
        # What befalls one address befalls many: one finding for all that share beginning and culprits.
        broken: dict[tuple[int, str], list[Spell]] = {}
        for spell, length in lengths.items():
            if length > bound:
                broken.setdefault((round(spell.ended), spell.about), []).append(spell)
        for together in broken.values():
            longest = max(together, key=lengths.__getitem__)
            found.append(
                f"{kind.value} for {lengths[longest]:.2f} s (bound {bound:g}): {longest.about}; "
                f"{', '.join(sorted({spell.address for spell in together}))} "
                f"[{_clock(longest.begun)}, after {_before(longest.ended, events)}]"
            )
    return found


def _by_lease(spell: Spell, length: float, events: list[Event]) -> float:
    """How much of so long a spell may be put down to Leases."""
    since = spell.ended - length
    latest = max((event for event in events if event.at <= since), key=lambda event: event.at, default=None)
    return min(length, LEASE_SECONDS) if latest is not None and latest.by_lease else 0.0


def _without_api(spell: Spell, length: float, events: list[Event]) -> float:
    """For how much of the end of a spell the API server was away: it serves some before it serves all."""
    since, seconds, away = spell.ended - length, 0.0, None
    for event in sorted((event for event in events if event.api is not None), key=lambda event: event.at):
        if not event.api:
            away = event.at if away is None else away
        elif away is not None:
            seconds += max(0.0, min(event.at, spell.ended) - max(away, since))
            away = None
    return seconds + (0.0 if away is None else max(0.0, spell.ended - max(away, since)))


def _before(at: float, events: list[Event]) -> str:
    earlier = [event for event in events if event.at <= at][-3:]
    return ", ".join(f"{event.what} {at - event.at:.2f} s before its end" for event in earlier) or "nothing"


def _told(report: Outage, events: list[Event]) -> str:
    reasons = Counter(failure.reason for failure in report.failures)
    gap = report.longest_gap
    return (
        f"{report.requests} requests, {len(report.failures)} failed {dict(reasons)}, longest gap "
        f"{gap.milliseconds:.0f} ms [after {_before(gap.ended, events)}]"
    )


def _keep(directory: Path, outcome: Outcome, spells: list[Spell], events: list[Event]) -> None:
    (directory / "outcome.json").write_text(json.dumps(asdict(outcome), indent=1) + "\n")
    moments = [{"time": _clock(event.at), **asdict(event)} for event in events]
    moments += [{"time": _clock(spell.begun), "seconds": spell.seconds, **asdict(spell)} for spell in spells]
    moments.sort(key=lambda moment: str(moment["time"]))
    (directory / "moments.jsonl").write_text("".join(json.dumps(moment) + "\n" for moment in moments))


def _clock(instant: float) -> str:
    """Return the time of day, which the logs carry, at an instant of CLOCK_MONOTONIC, by which all is measured."""
    seconds = instant + time.time() - time.monotonic()
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(seconds)) + f".{int(seconds % 1 * 1000):03d}Z"

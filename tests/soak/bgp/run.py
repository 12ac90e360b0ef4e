"""One soak of BGP from beginning to end, and what came of it."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path

from tests.lab.lab import Lab
from tests.lab.routers import BIRD, Routers
from tests.lab.waiting import NeverHappened, wait_until
from tests.soak.bgp.churn import Churn
from tests.soak.bgp.misfortunes import Misfortunes
from tests.soak.bgp.place import Place
from tests.soak.bgp.witness import Spell, Witness, clock

_SETTLE_SECONDS = 60.0
_LEAST_SPELL_SECONDS = 0.6
"""Shorter ones are the tables' that are read one after the other while something changes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """How long, and in which order; the seed decides what is tried, not what happens: processes race.

    `kinds` are the misfortunes, all where empty; `resets` says whether peers are edited so that their sessions end,
    which takes half a minute each time. `patience` stretches every bound. `bfd` says whether the routers speak it.
    """

    seconds: float
    seed: int = 0
    kinds: tuple[str, ...] = ()
    resets: bool = True
    patience: float = 1.0
    bfd: bool = True


@dataclass(slots=True, kw_only=True)
class Outcome:
    """What came of a soak; `findings` must be empty."""

    seconds: float = 0.0
    findings: list[str] = field(default_factory=list)
    misfortunes: dict[str, int] = field(default_factory=dict)
    edits: dict[str, int] = field(default_factory=dict)
    looks: int = 0
    route_events: dict[str, int] = field(default_factory=dict)
    longest_beyond_bound: float = 0.0
    settled_after: float = 0.0


def run(plan: Plan, lab: Lab, routers: Routers, *, on_finding: Callable[[str], None] = lambda _: None) -> Outcome:
    """Soak the installation of a lab with BGP, and look whether all is well; its objects are gone afterwards."""
    outcome = Outcome()
    place = Place(lab, routers, bfd=plan.bfd, patience=plan.patience)
    place.open()
    try:
        with place.expectation.befalling(place.everything):
            wait_until(lambda: place.established(place.everything), _SETTLE_SECONDS, "all sessions are up")
        witness = Witness(place, on_finding=on_finding)
        begun = time.monotonic()
        with witness:
            _settle(place, witness)
            churn = Churn(place, seed=plan.seed, with_resets=plan.resets)
            misfortunes = Misfortunes(place, seed=plan.seed, kinds=plan.kinds)
            churn.start()
            misfortunes.start()
            end = time.monotonic() + plan.seconds
            while churn.alive and misfortunes.alive and time.monotonic() < end:
                threading.Event().wait(0.2)
            for part in (misfortunes, churn):
                try:
                    part.stop()
                except Exception as error:
                    outcome.findings.append(f"{type(part).__name__.lower()} failed: {error!r}")
            ended = time.monotonic()
            outcome.findings += _at_rest(place, witness)
            outcome.settled_after = time.monotonic() - ended
        outcome.seconds = time.monotonic() - begun
        spells = [spell for spell in witness.spells if spell.ended - spell.begun >= _LEAST_SPELL_SECONDS]
        outcome.findings += witness.findings + _told(spells)
        outcome.findings += [f"the lab is broken: {problem}" for problem in lab.problems()]
        outcome.longest_beyond_bound = max((spell.ended - spell.begun for spell in witness.spells), default=0.0)
        outcome.edits, outcome.misfortunes = dict(churn.counts), dict(misfortunes.counts)
        outcome.looks, outcome.route_events = witness.looks, dict(witness.events)
    finally:
        place.close()
    return outcome


def keep(outcome: Outcome, directory: Path) -> None:
    """Write what came of it to a folder."""
    (directory / "outcome.json").write_text(json.dumps(asdict(outcome), indent=1) + "\n")


def _settle(place: Place, witness: Witness) -> None:
    wait_until(lambda: not _differences(place, witness), _SETTLE_SECONDS, "all is as expected", interval_seconds=0.25)


def _differences(place: Place, witness: Witness) -> list[str]:
    wanted = set(place.state.hops())
    found = {hop for router in place.routers.hosts for hop in witness.hops(router)}
    return [
        *(f"{hop.router} has no route to {hop.address} by {hop.node}" for hop in sorted(wanted - found)),
        *(f"{hop.router} has a route to {hop.address} by {hop.node}" for hop in sorted(found - wanted)),
    ]


def _at_rest(place: Place, witness: Witness) -> list[str]:
    """Once nothing happens any more, tables are what the cluster asks for, and so are the communities at BIRD."""
    last: list[str] = []

    def well() -> bool:
        last[:] = _differences(place, witness) + _unmarked(place)
        return not last

    try:
        wait_until(well, _SETTLE_SECONDS * place.expectation.patience, "tables are as wanted", interval_seconds=0.3)
    except NeverHappened:
        return [f"at rest: {each}" for each in last]
    return []


def _unmarked(place: Place) -> list[str]:
    wrong = []
    for name, pool in place.state.pools.items():
        community = f"({place.community(name).replace(':', ',')})"
        for address in {each for service in pool.services.values() for each in service.addresses}:
            if ":" in address or not any(hop.address == address and hop.router == BIRD for hop in place.state.hops()):
                continue
            shown = place.routers.bird.route(f"{address}/32")
            if community not in shown or "(65535,0)" in shown:
                wrong.append(f"BIRD's route to {address} has not just {community}: {shown}")
    return wrong


def _told(spells: list[Spell]) -> list[str]:
    """One finding for all addresses that share router, node and time."""
    together: dict[tuple[str, str, bool, int], list[Spell]] = {}
    for spell in spells:
        key = (spell.hop.router, spell.hop.node, spell.missing, round(spell.begun))
        together.setdefault(key, []).append(spell)
    return [
        f"{clock(alike[0].begun)} {router} {'lacks' if missing else 'still has'} {node} for "
        f"{', '.join(sorted({spell.hop.address for spell in alike}))}, "
        f"{max(spell.ended - spell.begun for spell in alike):.1f} s beyond the bound"
        for (router, node, missing, _), alike in together.items()
    ]

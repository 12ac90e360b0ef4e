"""The witness: follows every Service by watch and notes what may never be.

Between a decision and the write that shows it the Service may change its mind, and so may whoever it shares with:
what it asked for within the last `RECENT_SECONDS` counts as asked. A Service that asks for nothing new never moves,
unless one that showed its address before it has changed and leaves it no room; and two that never shared a key never
come to show one address, not for a moment.

Where the watch broke, the mirror lists anew, and tells what it missed in no order: who seems to show what another has
taken is acquitted if its next change turns out to have been stored before.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from itertools import takewhile
from typing import Any

from allocator.kube.reflector import Change
from tests.chaos.service_needs import CHANGED, Needs

RECENT_SECONDS = 10.0
_GIVES_WAY_SECONDS = 90.0
"""How long after an older sharer's change a younger one may give way: all components may be away meanwhile."""

_STORY = 6
_BEFORE = 500
"""Versions of whatever kind: less than a second's worth."""
_FOREVER = float("inf")

_ASSIGNED = "admitlb.io/assigned-ips"


@dataclass(slots=True)
class _Seen:
    """One Service, by uid."""

    name: str
    history: list[tuple[float, Needs]]
    """With the moment each was replaced; the last one stands."""
    asked: bool
    told: frozenset[str]
    """What its creation was answered with."""
    first: int
    """The version at which it was first seen."""
    since: float
    """The moment of that."""
    unknown_until: float = 0.0
    """It had changed before it was first seen: until then nobody knows what its claim still says that it needs."""
    shown: tuple[str, ...] = ()
    story: deque[str] = field(default_factory=lambda: deque(maxlen=_STORY))
    """What was last seen of it."""

    @property
    def needs(self) -> Needs:
        return self.history[-1][1]

    def recent(self, now: float, seconds: float = RECENT_SECONDS) -> list[Needs]:
        return [needs for until, needs in self.history if until > now - seconds]


@dataclass(frozen=True, slots=True)
class _Charge:
    """Somebody seemed to show `address` still when a Service with the needs `taker` came to, at `version`."""

    address: str
    taker: Needs
    version: int
    text: str


@dataclass(frozen=True, slots=True)
class Move:
    """A Service's change of address that nobody asked for, between two versions of the API server."""

    text: str
    addresses: frozenset[str]
    since: int
    until: int
    name: str = ""
    left: frozenset[str] = frozenset()
    """Which of the addresses it shows no more."""


class Quotas:
    """When a quota was in force: it takes reservations that exceed it, which nobody was shown yet.

    Written by the thread that sets them, read by the witness's.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._last_moment = 0.0

    def begin(self) -> None:
        """Note that one is about to be set."""
        self._last_moment = _FOREVER

    def end(self) -> None:
        """Note that no process goes by it any more."""
        self._last_moment = self._clock()

    def in_force_since(self, moment: float) -> bool:
        """Whether there was one at that moment or after it."""
        return self._last_moment >= moment


@dataclass(slots=True)
class Witness:
    """Written by one mirror's thread alone; read after that has stopped."""

    clock: Callable[[], float] = time.monotonic
    quotas: Quotas = field(default_factory=Quotas)
    duplicates: list[str] = field(default_factory=list)
    moves: list[Move] = field(default_factory=list)
    assigned: int = 0
    """How often a Service came to show an address."""
    shared: int = 0
    """How often it was one that another showed already, rightly."""
    moved_as_asked: int = 0
    lost_to_quota: int = 0
    """How often a Service was not shown what its creation was answered with, while a quota left no room."""
    gave_way: int = 0
    """How often a Service left an address because of a change of one that showed it first."""
    _seen: dict[str, _Seen] = field(default_factory=dict)
    _holders: dict[str, dict[str, None]] = field(default_factory=dict)
    """Who shows each address, by uid, in the order in which they came to."""
    _former: dict[str, list[tuple[float, _Seen]]] = field(default_factory=dict)
    """Who showed each address and has left it, with the moment."""
    _charges: dict[str, list[_Charge]] = field(default_factory=dict)
    """By the uid of who showed the address first, until its next change."""

    def see(self, change: Change) -> None:
        """Take in one change of a Service, in the order the API server stored them."""
        old_uid = change.old["metadata"]["uid"] if change.old is not None else None
        if old_uid is not None and (change.new is None or change.new["metadata"]["uid"] != old_uid):
            self._gone(old_uid)
            if change.new is not None:
                # Its deletion went unseen, so nobody knows what came after it.
                self._acquit(self._charges.pop(old_uid, []))
        if change.new is not None:
            self._stands(change.new)

    def _gone(self, uid: str) -> None:
        seen = self._seen.get(uid)
        for address in seen.shown if seen is not None else ():
            self._let_go(address, uid)
        self._seen.pop(uid, None)

    def _stands(self, service: dict[str, Any]) -> None:
        now = self.clock()
        uid = service["metadata"]["uid"]
        version = int(service["metadata"]["resourceVersion"])
        needs = Needs.of(service)
        seen = self._seen.get(uid)
        if seen is None:
            annotations = service["metadata"].get("annotations") or {}
            seen = self._seen[uid] = _Seen(
                name=service["metadata"]["name"],
                history=[(_FOREVER, needs)],
                asked=CHANGED in annotations,
                told=frozenset(filter(None, (annotations.get(_ASSIGNED) or "").split(","))),
                first=version,
                since=now,
                unknown_until=now + _GIVES_WAY_SECONDS if CHANGED in annotations else 0.0,
            )
        elif needs != seen.needs:
            replaced = (now, seen.needs)
            past = [entry for entry in seen.history[:-1] if entry[0] > now - _GIVES_WAY_SECONDS]
            seen.history = [*past, replaced, (_FOREVER, needs)]
            seen.asked = True
        shown = _ingress(service)
        self._acquit(
            charge
            for charge in self._charges.pop(uid, [])
            if version < charge.version
            and (charge.address not in shown or any(past.may_share_with(charge.taker) for past in seen.recent(now)))
        )
        seen.story.append(f"{version}: {needs} shows {', '.join(shown) or 'none'}")
        if shown != seen.shown:
            self._shows(uid, seen, shown, now, version)

    def _shows(self, uid: str, seen: _Seen, shown: tuple[str, ...], now: float, version: int) -> None:
        before = seen.shown or tuple(sorted(seen.told))
        if before and set(before) != set(shown):
            if seen.asked or set(shown) == set(seen.needs.pins.split(",")):
                self.moved_as_asked += 1
            elif not seen.shown and self.quotas.in_force_since(seen.since):
                self.lost_to_quota += 1
            elif all(self._gave_way(uid, seen, address, now) for address in set(before) - set(shown)):
                self.gave_way += 1
            else:
                text = (
                    f"{seen.name}: {', '.join(before)} -> {', '.join(shown) or 'none'}, unasked: {list(seen.story)}"
                )
                left = frozenset(before) - frozenset(shown)
                self.moves.append(Move(text, frozenset((*before, *shown)), seen.first, version, seen.name, left))
        for address in set(seen.shown) - set(shown):
            self._let_go(address, uid)
        for address in set(shown) - set(seen.shown):
            self._take(address, uid, seen, now, version)
        self.assigned += len(shown) > len(seen.shown)
        seen.shown = shown
        seen.told = frozenset()
        seen.asked = len(seen.recent(now)) > 1 or seen.unknown_until > now

    def _take(self, address: str, uid: str, seen: _Seen, now: float, version: int) -> None:
        for other_uid in self._holders.get(address, ()):
            other = self._seen[other_uid]
            mine, theirs = seen.recent(now), other.recent(now)
            if any(one.may_share_with(two) for one in mine for two in theirs):
                self.shared += 1
            elif max(seen.unknown_until, other.unknown_until) > now:
                continue
            else:
                text = f"{address}: {seen.name} ({seen.needs}) and {other.name} ({other.needs})"
                self.duplicates.append(text)
                self._charges.setdefault(other_uid, []).append(_Charge(address, seen.needs, version, text))
        self._holders.setdefault(address, {})[uid] = None

    def _gave_way(self, uid: str, seen: _Seen, address: str, now: float) -> bool:
        """Whether one that showed the address before it has come to ask for what leaves it no room."""
        older = [self._seen[other] for other in takewhile(lambda other: other != uid, self._holders.get(address, ()))]
        older += [other for left, other in self._former.get(address, ()) if left > now - _GIVES_WAY_SECONDS]
        return any(
            not needs.may_share_with(seen.needs) for other in older for needs in other.recent(now, _GIVES_WAY_SECONDS)
        )

    def _acquit(self, charges: Iterable[_Charge]) -> None:
        for charge in charges:
            self.duplicates.remove(charge.text)

    def _let_go(self, address: str, uid: str) -> None:
        holders = self._holders.get(address, {})
        if uid in holders and uid in self._seen:
            self._former.setdefault(address, []).append((self.clock(), self._seen[uid]))
        holders.pop(uid, None)
        if not holders:
            self._holders.pop(address, None)


@dataclass(slots=True)
class ClaimWitness:
    """Follows every IPAllocation: nobody may join a holder that it is at odds with, whatever Services say by then."""

    duplicates: list[str] = field(default_factory=list)
    versions: int = 0
    _held: dict[str, list[tuple[int, dict[str, dict[str, Any]]]]] = field(default_factory=dict)
    """Who held each address at each version, in the order in which they joined."""
    _stories: dict[str, list[tuple[int, str]]] = field(default_factory=dict)
    """What was seen of each address, by version: evidence for whatever a Service is seen to have suffered."""

    def story(self, move: Move) -> list[str]:
        """Return what became of the claims of the addresses of a move, from a little before to its end."""
        return [
            f"{address} {version}: {text}"
            for address in sorted(move.addresses)
            for version, text in self._stories.get(address, ())
            if move.since - _BEFORE <= version <= move.until
        ]

    def gave_way(self, move: Move) -> bool:
        """Whether a holder listed before it came to need what leaves it no room, on each address that it left.

        Who joined first is what the claim says: a Service may show an address later than one that joined after it.
        """
        return bool(move.left) and all(self._had_no_room(move, address) for address in move.left)

    def _had_no_room(self, move: Move, address: str) -> bool:
        for at, held in self._held.get(address, ()):
            if move.name not in held or not move.since - _BEFORE <= at <= move.until:
                continue
            names = list(held)
            if any(_at_odds(held[older], held[move.name]) for older in names[: names.index(move.name)]):
                return True
        return False

    def see(self, change: Change) -> None:
        """Take in one change of a claim."""
        if change.new is None:
            self._stories.setdefault(change.key[1], []).append((int(change.version), "gone"))
            return
        self.versions += 1
        spec = change.new["spec"]
        before, after = _holders(change.old), _holders(change.new)
        self._held.setdefault(spec["address"], []).append((int(change.version), after))
        text = ", ".join(f"{who}/{one.get('uid', '-')[:8]} {one['sharingKey']}" for who, one in after.items())
        self._stories.setdefault(spec["address"], []).append((int(change.version), f"{spec['state']} {text}"))
        for who, one in after.items():
            # Versions may go unseen: whoever changed since the last one may have done so after the other had joined.
            beside = [name for name in after if name in before and _needs(before[name]) == _needs(after[name])]
            if who not in before:
                self.duplicates += [
                    f"{spec['address']}: {who} joined {name}: {why}: {spec['holders']}"
                    for name in beside
                    if (why := _at_odds(one, after[name]))
                ]


def _holders(claim: dict[str, Any] | None) -> dict[str, dict[str, Any]]:
    """Who holds the address, by name; nobody while it cools. A holder that does not say has the claim's key."""
    spec = (claim or {}).get("spec") or {"state": "Cooling"}
    if spec["state"] == "Cooling":
        return {}
    key = spec.get("sharingKey") or ""
    return {one.get("name") or f"{one.get('generateName')}*": {"sharingKey": key, **one} for one in spec["holders"]}


def _needs(holder: dict[str, Any]) -> tuple[object, ...]:
    ports = sorted((port["protocol"], port["port"]) for port in holder.get("ports") or ())
    return holder["sharingKey"], holder.get("backendKey"), ports


def _at_odds(one: dict[str, Any], other: dict[str, Any]) -> str:
    """Why two holders may not share an address; empty when they may."""
    if not one.get("sharingKey") or one.get("sharingKey") != other.get("sharingKey"):
        return "no common sharing key"
    if one.get("backendKey") != other.get("backendKey"):
        return "different backends"
    ports = {(port["protocol"], port["port"]) for port in one.get("ports") or ()}
    return "one port" if any((p["protocol"], p["port"]) in ports for p in other.get("ports") or ()) else ""


def _ingress(service: dict[str, Any]) -> tuple[str, ...]:
    entries = service.get("status", {}).get("loadBalancer", {}).get("ingress") or ()
    return tuple(entry["ip"] for entry in entries)

"""The witness on the wire: asks for every address all the time, and notes who answered twice or not at all, how long.

What is judged is what a client sees: where an answer leads. One that leads to a node that lies dead is none. Only
questions that were asked count: while this machine was too busy to ask, nobody can be blamed for not answering.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from tests.bench.speaker_asking import Answer

TOGETHER_SECONDS = 0.25
"""Two answers of one node so close to each other have one of another node between them: both answer."""


class Kind(StrEnum):
    """What is wrong for a while."""

    UNANSWERED = "unanswered"
    TWO_PLACES = "answers lead to two nodes"
    TWO_SENDERS = "two nodes answer"
    LATE = "not answered though its Service shows it"
    LINGERING = "answered though its Service is deleted"


@dataclass(frozen=True, slots=True, kw_only=True)
class Spell:
    """A time in which something was wrong with an address (CLOCK_MONOTONIC seconds), and whom it is about."""

    kind: Kind
    address: str
    begun: float
    ended: float
    about: str = ""

    @property
    def seconds(self) -> float:
        """Its length."""
        return self.ended - self.begun

    def since(self, instants: list[float]) -> float:
        """Return its length, not counting what came before the last of the instants within it.

        A speaker has its time anew from each thing that befalls it.
        """
        return self.ended - max([self.begun, *(at for at in instants if self.begun < at < self.ended)])


@dataclass(slots=True)
class _Seen:
    """One address."""

    expected: bool = False
    asked_at: float | None = None
    unanswered_since: float | None = None
    answered_at: float | None = None
    latest: dict[Kind, dict[str, float]] = field(
        default_factory=lambda: {Kind.TWO_PLACES: {}, Kind.TWO_SENDERS: {}},
    )
    open: dict[Kind, Spell] = field(default_factory=dict)


class Witness:
    """Told of every question and answer by the threads of `Asking`; `_lock` guards everything.

    Spells of doubt shorter than `least_seconds` are forgotten.
    """

    def __init__(self, names: Mapping[str, str], *, every_seconds: float, least_seconds: float = 0.1) -> None:
        """`names` tells the nodes by hardware address."""
        self._names = names
        self._every = every_seconds
        self._least = least_seconds
        self._lock = threading.Lock()
        self._seen: dict[str, _Seen] = {}
        self._lost: set[str] = set()
        self._spells: list[Spell] = []
        self.questions = 0
        self.answers = 0
        self.busy_seconds = 0.0
        """The longest time for which this machine could not ask."""

    def expect(self, address: str) -> None:
        """From now on the address must be answered."""
        with self._lock:
            seen = self._seen.setdefault(address, _Seen())
            seen.expected = True
            seen.asked_at = seen.unanswered_since = None

    def excuse(self, address: str) -> None:
        """From now on nobody need answer for the address; that two may not remains.

        Where no node can be reached at all, that nobody answered until now was not theirs to mend.
        """
        with self._lock:
            seen = self._seen.setdefault(address, _Seen())
            reachable = self._names.keys() - self._lost
            if reachable and seen.expected and seen.unanswered_since is not None and seen.asked_at is not None:
                self._note(Kind.UNANSWERED, address, seen.unanswered_since, seen.asked_at, "excused then")
            seen.expected = False

    def lost(self, mac: str) -> None:
        """Whatever leads to this node leads nowhere, from now on."""
        with self._lock:
            self._lost.add(mac)

    def found(self, mac: str) -> None:
        """The node is there again."""
        with self._lock:
            self._lost.discard(mac)

    def note(self, spell: Spell) -> None:
        """Take in what somebody else has seen."""
        with self._lock:
            self._spells.append(spell)

    def answered_at(self, address: str) -> float | None:
        """When the address was answered last, None for never."""
        with self._lock:
            return self._seen[address].answered_at if address in self._seen else None

    def asked(self, address: str, at: float) -> None:
        """A question goes out."""
        with self._lock:
            self.questions += 1
            seen = self._seen.setdefault(address, _Seen())
            if seen.asked_at is not None and (late := at - seen.asked_at - 2 * self._every) > 0:
                self.busy_seconds = max(self.busy_seconds, late)
                if seen.unanswered_since is not None:
                    seen.unanswered_since += late
            seen.asked_at = at
            if seen.unanswered_since is None:
                seen.unanswered_since = at

    def heard(self, answer: Answer) -> None:
        """An answer came."""
        with self._lock:
            self.answers += 1
            seen = self._seen.setdefault(answer.address, _Seen())
            self._doubt(seen, Kind.TWO_PLACES, answer, answer.mac)
            self._doubt(seen, Kind.TWO_SENDERS, answer, answer.sender)
            if answer.mac in self._lost:
                return
            seen.answered_at = answer.at
            begun, seen.unanswered_since = seen.unanswered_since, None
            if seen.expected and begun is not None and answer.at - begun >= self._least:
                self._note(Kind.UNANSWERED, answer.address, begun, answer.at, f"then by {self._name(answer.mac)}")

    def spells(self) -> list[Spell]:
        """Return everything seen so far, what is still going on included, the earliest first."""
        with self._lock:
            going_on = [spell for seen in self._seen.values() for spell in seen.open.values()]
            for address, seen in self._seen.items():
                if seen.expected and seen.unanswered_since is not None and seen.asked_at is not None:
                    going_on.append(
                        Spell(
                            kind=Kind.UNANSWERED,
                            address=address,
                            begun=seen.unanswered_since,
                            ended=seen.asked_at,
                            about="still",
                        )
                    )
            found = [*self._spells, *(spell for spell in going_on if spell.seconds >= self._least)]
        return sorted(found, key=lambda spell: spell.begun)

    def _doubt(self, seen: _Seen, kind: Kind, answer: Answer, who: str) -> None:
        latest = seen.latest[kind]
        before = latest.get(who)
        if before is not None and answer.at - before <= TOGETHER_SECONDS:
            between = {other: at for other, at in latest.items() if other != who and at > before}
            if between:
                self._extend(seen, kind, answer, min(between.values()), {who, *between})
        latest[who] = answer.at

    def _extend(self, seen: _Seen, kind: Kind, answer: Answer, since: float, who: set[str]) -> None:
        going_on = seen.open.get(kind)
        about = " and ".join(sorted(map(self._name, who)))
        begun = since
        if going_on is not None:
            if since - going_on.ended <= TOGETHER_SECONDS:
                begun = going_on.begun
            else:
                self._note(kind, answer.address, going_on.begun, going_on.ended, going_on.about)
        seen.open[kind] = Spell(kind=kind, address=answer.address, begun=begun, ended=answer.at, about=about)

    def _note(self, kind: Kind, address: str, begun: float, ended: float, about: str) -> None:
        if ended - begun >= self._least:
            self._spells.append(Spell(kind=kind, address=address, begun=begun, ended=ended, about=about))

    def _name(self, mac: str) -> str:
        return self._names.get(mac, mac)

"""Which addresses that nobody of ours announces are free on the LAN, as far as this node has asked. Pure."""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum

from allocator.core.addresses import Address
from speaker.cluster.next_addresses import Question
from speaker.cluster.scope import Scope
from speaker.layer2.probing import PROBE_SECONDS, PROBES

LOOK_SECONDS = 30.0
"""Between two looks at an address that waits to be given."""

FRAMES_PER_SECOND = 0.8
"""At most so many frames a pool on each LAN, at rest: where more addresses are asked about, each is more rarely."""

FRESH_LOOKS = 1.5
"""For how many intervals a look counts: one that comes late leaves no gap."""


class Finding(StrEnum):
    """What a look, or a frame that answers no question, has shown."""

    VACANT = "vacant"
    """Nobody answered."""
    TAKEN = "taken"
    """A host that is none of ours has it."""


@dataclass(slots=True)
class _Look:
    """What is known of one address, and the round of probes that is under way or comes next."""

    question: Question
    number: int = 0
    """Of the round, so that what is queued for an earlier one is passed over."""
    full: bool = True
    left: int = PROBES
    answered: bool = False
    """Whether a host that is none of ours was heard since the round began."""
    ours: bool = False
    """The same of one of our nodes: then nothing is known."""
    late: bool = False
    """Whether the verdict has been put off once because it came late."""
    taken: bool = False
    vacant_at: float | None = None
    asked: bool = True
    """Whether it is asked about still; what was found is kept until the next round would begin."""


def interval(asked: int) -> float:
    """Return the seconds between two looks at each of so many addresses of one pool."""
    return max(LOOK_SECONDS, asked / FRAMES_PER_SECOND)


class Vacancy:
    """Rounds of probes for many addresses. Every method that needs it takes the time. One owner.

                  silence                      a frame of another host
        (asked) ----------> vacant <------+------------------------------> taken
           ^  three probes     |  one     |  three probes without an answer  |
           |                   +----------+                one probe <-------+
           +--- one of our nodes is heard: nothing is known

    A first round is three probes. A later one is a single probe, so that a pool at rest costs little; where it is the
    first silence of a host, two rounds decide, so that one lost frame frees nothing.
    """

    def __init__(self) -> None:
        self._looks: dict[Address, _Look] = {}
        self._numbers = itertools.count(1)
        self._claimed: list[tuple[float, int, Address]] = []
        self._others: list[tuple[float, int, Address]] = []
        """What is due when, with the number of its round; of those that Services are about to have, and of others."""

    def ask(self, questions: Mapping[Address, Question], now: float) -> None:
        """Ask about exactly these from now on. What is new, or asked elsewhere than before, is looked at now.

        What was found of others counts until the next look at them would have come: an address that is given to a
        Service is none of the next ones any more, and the Service may be seen a moment later.
        """
        for address, look in list(self._looks.items()):
            look.asked = address in questions
            if not look.asked and not self.is_vacant(address, now):
                del self._looks[address]
        for address, question in questions.items():
            known = self._looks.get(address)
            if known is None or known.question.scope != question.scope:
                look = self._looks[address] = _Look(question)
                self._begin(address, look, now, full=True)
                continue
            before, known.question = known.question, question
            waits = known.left == (PROBES if known.full else 1)
            if question.claimed and not before.claimed and waits and not self._is_known(known, now):
                self._begin(address, known, now, full=True)

    def scopes(self) -> dict[Address, Scope]:
        """Return of which addresses frames are to be heard, and on which interfaces."""
        return {address: look.question.scope for address, look in self._looks.items()}

    def restart(self, now: float, addresses: Iterable[Address] | None = None) -> None:
        """Count nothing that was found of these, or of any, and ask anew: frames may have been lost."""
        for address in self._looks if addresses is None else addresses:
            look = self._looks[address]
            look.vacant_at = None
            self._begin(address, look, now, full=True)

    def is_vacant(self, address: Address, now: float) -> bool:
        """Return whether a look that is fresh enough found that nobody has the address."""
        look = self._looks.get(address)
        return look is not None and look.vacant_at is not None and self._is_known(look, now)

    def heard(self, address: Address, *, ours: bool) -> Finding | None:
        """Take note of a frame by which a host, or one of our nodes, says that it has the address.

        Return TAKEN where a host is new there.
        """
        look = self._looks.get(address)
        if look is None:
            return None
        look.vacant_at = None
        if ours:
            look.ours = True
            return None
        before, look.taken, look.answered = look.taken, True, True
        return None if before else Finding.TAKEN

    def unsent(self, address: Address) -> None:
        """Take note that a probe for the address was not sent: the round shows nothing."""
        if (look := self._looks.get(address)) is not None:
            look.ours = True

    def next_due(self) -> float | None:
        """When `pop` may next return something; None if never."""
        return min((queue[0][0] for queue in (self._claimed, self._others) if queue), default=None)

    def is_urgent(self, now: float) -> bool:
        """Return whether something is due about an address that a Service is about to have."""
        return bool(self._claimed) and self._claimed[0][0] <= now

    def pop(self, now: float) -> tuple[Address, Finding | None] | None:
        """Return an address to be probed for now (with None), or one found VACANT; None if nothing is due."""
        return self._pop(self._claimed, now) or self._pop(self._others, now)

    def _pop(self, queue: list[tuple[float, int, Address]], now: float) -> tuple[Address, Finding | None] | None:
        while queue and queue[0][0] <= now:
            due, number, address = heapq.heappop(queue)
            look = self._looks.get(address)
            if look is None or look.number != number:
                continue
            if not look.asked:
                del self._looks[address]
                continue
            if look.left:
                look.left -= 1
                self._push(address, look, now + PROBE_SECONDS)
                return address, None
            if now - due > PROBE_SECONDS and not look.late:
                # Whoever comes so late did not run, and an answer may still wait to be read.
                look.late = True
                self._push(address, look, now + PROBE_SECONDS)
            elif self._end(address, look, now):
                return address, Finding.VACANT
        return None

    def _is_known(self, look: _Look, now: float) -> bool:
        fresh_seconds = FRESH_LOOKS * interval(look.question.companions)
        return look.taken or (look.vacant_at is not None and now - look.vacant_at <= fresh_seconds)

    def _end(self, address: Address, look: _Look, now: float) -> bool:
        """End a round, begin the next one, and return whether this one found the address vacant."""
        silent = not look.answered and not look.ours
        if silent and look.taken and not look.full:
            self._begin(address, look, now, full=True)
            return False
        if silent:
            look.taken, look.vacant_at = False, now
        self._begin(address, look, now + interval(look.question.companions), full=look.ours)
        return silent

    def _begin(self, address: Address, look: _Look, at: float, *, full: bool) -> None:
        look.number = next(self._numbers)
        look.full, look.left = full, PROBES if full else 1
        look.answered = look.ours = look.late = False
        self._push(address, look, at)

    def _push(self, address: Address, look: _Look, at: float) -> None:
        heapq.heappush(self._claimed if look.question.claimed else self._others, (at, look.number, address))

"""Asking the LAN whether anyone has an address, before answering for it and while somebody else claims it."""

from __future__ import annotations

import heapq
import itertools
from dataclasses import dataclass

from allocator.core.addresses import Address

PROBES = 3
PROBE_SECONDS = 0.02
"""Between two probes, and from the last to the verdict. RFC 5227 1.1 takes seconds, for hosts that may be asleep;
a host on a wired LAN answers within a millisecond, and three chances cover a lost frame. Who answers later is found
while the address is announced."""

RETRY_SECONDS = 10.0
"""From hearing that somebody has the address to asking again."""


@dataclass(slots=True)
class _Trial:
    number: int
    not_before: float
    late: bool = False
    """Whether the verdict has been put off once because it came late."""


class Probation:
    """Which address is to be probed for next, and which turned out to be free. Pure: every method takes the time.

    An address is on probation until it is cleared or ended; a claim only puts the next round of probes off.
    """

    def __init__(self) -> None:
        self._numbers = itertools.count()
        self._trials: dict[Address, _Trial] = {}
        self._probes: list[tuple[float, int, int, Address]] = []
        self._verdicts: list[tuple[float, int, Address]] = []

    def begin(self, address: Address, at: float) -> None:
        """Put the address on probation, the first probe due at that time."""
        trial = self._trials[address] = _Trial(next(self._numbers), at)
        heapq.heappush(self._probes, (at, trial.number, 0, address))

    def put_off(self, address: Address, at: float) -> None:
        """Somebody has the address: begin, or begin anew, at that time."""
        trial = self._trials.get(address)
        if trial is None:
            self.begin(address, at)
        else:
            # Kept where it is in the queues until it comes up there: claims may come by the thousand.
            trial.not_before = at

    def restart(self, now: float) -> None:
        """Begin every round anew that has begun."""
        for address, trial in list(self._trials.items()):
            self.begin(address, max(now, trial.not_before))

    def end(self, address: Address) -> None:
        """Forget the address."""
        self._trials.pop(address, None)

    def pop_probe(self, now: float) -> Address | None:
        """Return an address to be probed for now, None if there is none."""
        while self._probes and self._probes[0][0] <= now:
            _, number, sent, address = heapq.heappop(self._probes)
            if self._comes_up(address, number, now):
                # Counted from now: a probe that pacing held back still has its full time to be answered.
                later = now + PROBE_SECONDS
                if sent + 1 < PROBES:
                    heapq.heappush(self._probes, (later, number, sent + 1, address))
                else:
                    heapq.heappush(self._verdicts, (later, number, address))
                return address
        return None

    def pop_cleared(self, now: float) -> list[Address]:
        """Return the addresses that nobody has claimed since their first probe; their probation has ended."""
        cleared = []
        while self._verdicts and self._verdicts[0][0] <= now:
            due, number, address = heapq.heappop(self._verdicts)
            if not self._comes_up(address, number, now):
                continue
            trial = self._trials[address]
            if now - due > PROBE_SECONDS and not trial.late:
                # Whoever comes so late did not run, and a claim may still wait to be read.
                trial.late = True
                heapq.heappush(self._verdicts, (now + PROBE_SECONDS, number, address))
                continue
            del self._trials[address]
            cleared.append(address)
        return cleared

    def next_timer(self) -> float | None:
        """When either `pop` may next return something, None if never."""
        return min((queue[0][0] for queue in (self._probes, self._verdicts) if queue), default=None)

    def _comes_up(self, address: Address, number: int, now: float) -> bool:
        trial = self._trials.get(address)
        if trial is None or trial.number != number:
            return False
        if trial.not_before > now:
            trial.late = False
            heapq.heappush(self._probes, (trial.not_before, number, 0, address))
            return False
        return True

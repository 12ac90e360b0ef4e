"""When gratuitous announcements go out: a burst for every address taken, and one rate for all of them."""

from __future__ import annotations

import heapq
import itertools
from collections import deque
from collections.abc import Sequence

from allocator.core.addresses import Address

BURST_SECONDS = (0.0, 0.1, 0.3, 0.7, 1.5, 3.0, 5.0)
"""After taking an address. The first moves the clients; the others are for those that missed it (a switch port
that was still learning, a host that limits how often an entry may change)."""


class TokenBucket:
    """Allows `rate_per_second` on average and `burst` at once. Times are seconds of one monotonic clock."""

    def __init__(self, *, rate_per_second: float, burst: float, now: float) -> None:
        self._rate = rate_per_second
        self._burst = burst
        self._tokens = burst
        self._at = now

    def take(self, now: float) -> bool:
        """Take one token if there is one."""
        self._refill(now)
        if self._tokens < 1.0:
            return False
        self._tokens -= 1.0
        return True

    def wait_seconds(self, now: float) -> float:
        """How long until `take` may succeed; 0 if it would now."""
        self._refill(now)
        return max(0.0, 1.0 - self._tokens) / self._rate

    def _refill(self, now: float) -> None:
        self._tokens = min(self._burst, self._tokens + max(0.0, now - self._at) * self._rate)
        self._at = max(self._at, now)


class BurstSchedule:
    """Which address is to be announced next. Pure: every method takes the time.

    First announcements come before repeats, however late the repeats are: when thousands of addresses move at
    once, each is announced once before any is announced twice. A released address never comes up again.
    """

    def __init__(self, offsets_seconds: Sequence[float] = BURST_SECONDS) -> None:
        self._offsets = tuple(offsets_seconds)
        self._bursts: dict[Address, int] = {}
        self._numbers = itertools.count()
        self._first: deque[tuple[int, Address]] = deque()
        self._repeats: list[tuple[float, int, int, Address]] = []

    def start(self, address: Address) -> None:
        """Begin a burst for the address, in place of one that still runs."""
        number = next(self._numbers)
        self._bursts[address] = number
        self._first.append((number, address))

    def release(self, address: Address) -> None:
        """Forget the address."""
        self._bursts.pop(address, None)

    def pop(self, now: float) -> tuple[Address, int] | None:
        """Return an address due now and which announcement of its burst this is (from 0), None if none is due."""
        while self._first:
            number, address = self._first.popleft()
            if self._bursts.get(address) == number:
                self._plan(now, number=number, step=1, address=address, started=now)
                return address, 0
        while self._repeats and self._repeats[0][0] <= now:
            due, number, step, address = heapq.heappop(self._repeats)
            if self._bursts.get(address) == number:
                self._plan(now, number=number, step=step + 1, address=address, started=due - self._offsets[step])
                return address, step
        return None

    def next_due(self) -> float | None:
        """When `pop` may next return something, None if never; a time long past means now."""
        if self._first:
            return 0.0
        return self._repeats[0][0] if self._repeats else None

    def _plan(self, now: float, *, number: int, step: int, address: Address, started: float) -> None:
        if step < len(self._offsets):
            heapq.heappush(self._repeats, (max(now, started + self._offsets[step]), number, step, address))
        else:
            del self._bursts[address]

"""When announcements go out: a burst for every address taken, a slow refresh, and one rate for all of them."""

from __future__ import annotations

import heapq
import itertools
import random
from collections import deque
from collections.abc import Callable, Sequence
from enum import StrEnum

from allocator.core.addresses import Address

BURST_SECONDS = (0.0, 0.1, 0.3, 0.7, 1.5, 3.0, 5.0)
"""After taking an address. The first moves the clients; the others are for those that missed it (a switch port
that was still learning, a host that limits how often an entry may change)."""

REFRESH_SECONDS = 60.0
"""For hosts and switches that missed all of the burst: a thousand addresses are then 33 frames a second."""


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


class Reason(StrEnum):
    """Why an address is announced."""

    TAKEN = "taken"
    """This node begins to answer for it, or for it on other interfaces than before."""
    INTERFACE = "interface"
    """An interface has appeared on which it is answered."""
    DOUBT = "doubt"
    """The LAN may have learned another holder meanwhile."""
    REPEAT = "repeat"
    """A later part of the burst that one of the above began."""
    REFRESH = "refresh"
    """Nothing has happened for long."""
    DEFENCE = "defence"
    """Somebody else claims it."""


class AnnouncementSchedule:
    """Which address is to be announced next. Pure: every method takes the time.

    First announcements come before repeats, however late the repeats are: when thousands of addresses move at
    once, each is announced once before any is announced twice. After its burst an address comes up again and again,
    `refresh_seconds` apart (0: never), a quarter more or less as `chance` (uniform in [0, 1)) has it, so that
    addresses taken together drift apart. A released address never comes up again.
    """

    def __init__(
        self,
        offsets_seconds: Sequence[float] = BURST_SECONDS,
        *,
        refresh_seconds: float = REFRESH_SECONDS,
        chance: Callable[[], float] = random.random,
    ) -> None:
        self._offsets = tuple(offsets_seconds)
        self._refresh = refresh_seconds
        self._chance = chance
        self._started: dict[Address, int] = {}
        self._numbers = itertools.count()
        self._first: deque[tuple[int, Address, Reason]] = deque()
        self._awaited: set[Address] = set()
        """The addresses whose first announcement is to come yet."""
        self._later: list[tuple[float, int, int, Address]] = []

    def start(self, address: Address, reason: Reason = Reason.TAKEN) -> None:
        """Begin a burst for the address, in place of one that still runs; one that is to begin keeps its turn.

        What is started again and again while thousands wait would keep the last of them from ever being announced.
        """
        if address in self._awaited:
            return
        number = next(self._numbers)
        self._started[address] = number
        self._awaited.add(address)
        self._first.append((number, address, reason))

    def release(self, address: Address) -> None:
        """Forget the address."""
        self._started.pop(address, None)
        self._awaited.discard(address)

    def pop(self, now: float) -> tuple[Address, Reason] | None:
        """Return an address due now and why, None if none is due."""
        while self._first:
            number, address, reason = self._first.popleft()
            if self._started.get(address) == number:
                self._awaited.discard(address)
                self._plan(now, number=number, step=1, address=address, started=now)
                return address, reason
        while self._later and self._later[0][0] <= now:
            due, number, step, address = heapq.heappop(self._later)
            if self._started.get(address) != number:
                continue
            if step == len(self._offsets):
                self._plan_refresh(now, number=number, address=address)
                return address, Reason.REFRESH
            self._plan(now, number=number, step=step + 1, address=address, started=due - self._offsets[step])
            return address, Reason.REPEAT
        return None

    def next_timer(self) -> float | None:
        """When `pop` may next return something, None if never; a time long past means now."""
        if self._first:
            return 0.0
        return self._later[0][0] if self._later else None

    def _plan(self, now: float, *, number: int, step: int, address: Address, started: float) -> None:
        if step < len(self._offsets):
            heapq.heappush(self._later, (max(now, started + self._offsets[step]), number, step, address))
        else:
            self._plan_refresh(now, number=number, address=address)

    def _plan_refresh(self, now: float, *, number: int, address: Address) -> None:
        if self._refresh:
            due = now + self._refresh * (0.75 + self._chance() / 2)
            heapq.heappush(self._later, (due, number, len(self._offsets), address))

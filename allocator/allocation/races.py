"""Which of the free addresses to try: the lowest, or one of the lowest few while replicas choose the same ones.

What another replica has just claimed is known here some milliseconds later, on a busy machine some hundred. When
Services are created faster than that, replicas that all begin at the lowest free address lose half of their creates.
"""

from __future__ import annotations

import random
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator

ATTEMPTS = 12
"""Races lost in a row before the Service is left for later; each costs two short API calls."""

REMEMBERED_SECONDS = 10.0
"""For how long a lost race makes later searches begin further on."""

_WIDEST_STEP = 256
"""Most free addresses to step over after lost races: as many as other replicas may be ahead of this one's cache."""

_WIDER_BY = 4
"""By how many addresses each race lost lately widens the choice; balances lost races against gaps."""

_WIDEST_BEGINNING = 64


class Races:
    """Counts the creates of claims that another writer was first with. `_lost` is guarded by `_lock`."""

    def __init__(self, *, now: Callable[[], float] = time.monotonic) -> None:
        self._now = now
        self._lock = threading.Lock()
        self._lost: deque[float] = deque(maxlen=_WIDEST_BEGINNING)

    def lost(self) -> None:
        """Take note of one."""
        with self._lock:
            self._lost.append(self._now())

    def attempts(self) -> Iterator[int]:
        """Yield, for each try to claim, how many free addresses to pass over: none at first, unless two races or
        more were lost lately.

        After a lost race the cache has what is stored there. Whoever won goes on to the next address as well, so that
        following closely would lose again and again; chance parts the two.
        """
        beginning = self._beginning()
        for lost in range(ATTEMPTS):
            yield random.randrange(min(max(4**lost, beginning), _WIDEST_STEP))  # noqa: S311  spreads, hides nothing

    def _beginning(self) -> int:
        """Among how many of the lowest free addresses to choose at first."""
        with self._lock:
            while self._lost and self._now() - self._lost[0] > REMEMBERED_SECONDS:
                self._lost.popleft()
            # One is chance: two Services that were created at the same moment.
            return min(1 + _WIDER_BY * max(0, len(self._lost) - 1), _WIDEST_BEGINNING)

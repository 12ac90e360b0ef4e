"""What is to be looked at, when, and in which order: the latest first, so that a long backlog hides no change."""

from __future__ import annotations

import heapq
import itertools
import threading
import time
from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

Item = TypeVar("Item", bound=Hashable)


class Backlog(Generic[Item]):
    """Each item once, due at the earliest moment it was put for. Any thread puts, one takes.

    Of what is due the lowest `order` comes first, and of those what became due last. Everything is guarded by
    `_wake`.
    """

    def __init__(self, *, order: Callable[[Item], int], now: Callable[[], float] = time.monotonic) -> None:
        self._order = order
        self._now = now
        self._wake = threading.Condition()
        self._due: dict[Item, float] = {}
        self._heap: list[tuple[float, int, Item]] = []
        self._numbers = itertools.count()
        self._ready: dict[int, dict[Item, None]] = {}
        self._closed = False

    def put(self, item: Item, *, after_seconds: float = 0.0) -> None:
        """Look at the item after so long, unless it is due before anyway."""
        with self._wake:
            moment = self._now() + after_seconds
            if item in self._ready.get(self._order(item), ()) or self._due.get(item, moment + 1.0) <= moment:
                return
            self._due[item] = moment
            heapq.heappush(self._heap, (moment, next(self._numbers), item))
            self._wake.notify()

    def take(self) -> Item | None:
        """Wait until an item is due and return it; None once closed."""
        with self._wake:
            while not self._closed:
                next_at = self._sort_out()
                for order in sorted(self._ready):
                    if self._ready[order]:
                        item, _ = self._ready[order].popitem()
                        return item
                self._wake.wait(None if next_at is None else max(0.0, next_at - self._now()))
            return None

    def close(self) -> None:
        """Hand out nothing any more."""
        with self._wake:
            self._closed = True
            self._wake.notify()

    def due(self) -> int:
        """Return how many items could be taken now."""
        with self._wake:
            self._sort_out()
            return sum(len(ready) for ready in self._ready.values())

    def _sort_out(self) -> float | None:
        """Move what is due to what is ready; return when the next will be."""
        now = self._now()
        while self._heap:
            moment, _, item = self._heap[0]
            if self._due.get(item) != moment:
                # It was put again for an earlier moment.
                heapq.heappop(self._heap)
                continue
            if moment > now:
                return moment
            heapq.heappop(self._heap)
            del self._due[item]
            self._ready.setdefault(self._order(item), {})[item] = None
        return None

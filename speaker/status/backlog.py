"""What is to be looked at, when, and in which order: what has not been tried before what failed, the latest first."""

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

    Of what is due the lowest `order` comes first, and of those what became due last: a long backlog hides no change.
    What failed comes after all of that, whatever its order, and of it what became due first: however much fails, with
    whatever delays, nothing that has not been tried waits for it. Everything is guarded by `_wake`.
    """

    def __init__(self, *, order: Callable[[Item], int], now: Callable[[], float] = time.monotonic) -> None:
        self._order = order
        self._now = now
        self._wake = threading.Condition()
        self._due: dict[tuple[bool, Item], float] = {}
        self._heap: list[tuple[float, int, bool, Item]] = []
        self._numbers = itertools.count()
        self._untried: dict[int, dict[Item, None]] = {}
        self._failed: dict[Item, None] = {}
        self._closed = False

    def put(self, item: Item, *, after_seconds: float = 0.0) -> None:
        """Look at the item after so long, unless it is due before anyway."""
        self._put(item, after_seconds, failed=False)

    def put_failed(self, item: Item, *, after_seconds: float) -> None:
        """Look at the item again after so long, behind what is due then and has not failed."""
        self._put(item, after_seconds, failed=True)

    def take(self) -> Item | None:
        """Wait until an item is due and return it; None once closed."""
        with self._wake:
            while not self._closed:
                next_at = self._sort_out()
                found = self._first()
                if found is not None:
                    self._forget(found)
                    return found
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
            return len(self._failed.keys() | {item for ready in self._untried.values() for item in ready})

    def _put(self, item: Item, after_seconds: float, *, failed: bool) -> None:
        with self._wake:
            ready = self._failed if failed else self._untried.get(self._order(item), {})
            moment = self._now() + after_seconds
            if item in ready or self._due.get((failed, item), moment + 1.0) <= moment:
                return
            self._due[failed, item] = moment
            heapq.heappush(self._heap, (moment, next(self._numbers), failed, item))
            self._wake.notify()

    def _first(self) -> Item | None:
        for order in sorted(self._untried):
            if self._untried[order]:
                return next(reversed(self._untried[order]))
        return next(iter(self._failed), None)

    def _forget(self, item: Item) -> None:
        """It is taken, whichever of its moments that was for."""
        self._untried.get(self._order(item), {}).pop(item, None)
        self._failed.pop(item, None)
        for failed in (False, True):
            self._due.pop((failed, item), None)

    def _sort_out(self) -> float | None:
        """Move what is due to what is ready; return when the next will be."""
        now = self._now()
        while self._heap:
            moment, _, failed, item = self._heap[0]
            if self._due.get((failed, item)) != moment:
                # It was put again for an earlier moment, or taken.
                heapq.heappop(self._heap)
                continue
            if moment > now:
                return moment
            heapq.heappop(self._heap)
            del self._due[failed, item]
            ready = self._failed if failed else self._untried.setdefault(self._order(item), {})
            ready[item] = None
        return None

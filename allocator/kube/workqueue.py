"""A queue of keys: each key waits at most once, is worked on by one thread at a time, and may be due later."""

from __future__ import annotations

import heapq
import threading
import time
from collections import OrderedDict
from typing import Generic, TypeVar

Key = TypeVar("Key")


class WorkQueue(Generic[Key]):
    """As client-go's workqueue: a key added while it is worked on is worked on again afterwards.

    `_condition`'s lock owns every field.
    """

    def __init__(self) -> None:
        self._condition = threading.Condition()
        self._ready: OrderedDict[Key, None] = OrderedDict()
        self._working: set[Key] = set()
        self._again: set[Key] = set()
        self._later: list[tuple[float, int, Key]] = []
        self._sequence = 0
        self._closed = False

    def add(self, key: Key) -> None:
        """Make the key due now."""
        with self._condition:
            if key in self._working:
                self._again.add(key)
            elif key not in self._ready:
                self._ready[key] = None
                self._condition.notify()

    def add_after(self, key: Key, delay_seconds: float) -> None:
        """Make the key due after a delay."""
        with self._condition:
            self._sequence += 1
            # A key of any type may wait: the sequence number settles every comparison before the key is reached.
            heapq.heappush(self._later, (time.monotonic() + delay_seconds, self._sequence, key))
            self._condition.notify()

    def take(self) -> Key | None:
        """Wait for a due key and return it; None once the queue is closed. Every key taken must be `done`."""
        with self._condition:
            while not self._closed:
                self._release_due()
                if self._ready:
                    key, _ = self._ready.popitem(last=False)
                    self._working.add(key)
                    return key
                wait = self._later[0][0] - time.monotonic() if self._later else None
                self._condition.wait(wait)
            return None

    def done(self, key: Key) -> None:
        """End the work on a key."""
        with self._condition:
            self._working.discard(key)
            if key in self._again:
                self._again.discard(key)
                self._ready[key] = None
                self._condition.notify()

    def close(self) -> None:
        """Wake every waiting thread with None; what still waits is dropped."""
        with self._condition:
            self._closed = True
            self._condition.notify_all()

    def _release_due(self) -> None:
        now = time.monotonic()
        while self._later and self._later[0][0] <= now:
            _, _, key = heapq.heappop(self._later)
            if key in self._working:
                self._again.add(key)
            else:
                self._ready.setdefault(key, None)

"""A queue of keys: each key waits at most once, is worked on by one thread at a time, and may be due later."""

from __future__ import annotations

import heapq
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

Key = TypeVar("Key")

BACKOFF_SECONDS = (0.05, 0.2, 1.0, 5.0, 15.0)
"""How long a key waits after its first failure in a row, its second, and so on; the last holds for all later ones."""

_SOONEST_SECONDS = 1.0
"""How soon after a failure a change may have the key tried again, where its backoff is longer."""

_STALE_ENTRIES = 1_000


@dataclass(frozen=True, slots=True)
class Retry:
    """How often in a row a key has failed, and in how many seconds it is tried again at the latest."""

    failures: int
    delay_seconds: float


@dataclass(frozen=True, slots=True)
class _Failing:
    failures: int
    failed_at: float
    retry_at: float


class WorkQueue(Generic[Key]):
    """As client-go's rate limiting workqueue: a key added while it is worked on is worked on again afterwards,
    delayed adds of one key merge into the earliest, a failing key is tried no more often than its backoff says.

    A merged add is not remembered: whoever works on a key asks again for what is due later. `_condition`'s lock owns
    every field.
    """

    def __init__(
        self, *, backoff_seconds: Sequence[float] = BACKOFF_SECONDS, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._backoff_seconds = tuple(backoff_seconds)
        self._clock = clock
        self._condition = threading.Condition()
        self._ready: OrderedDict[Key, None] = OrderedDict()
        self._idle: OrderedDict[Key, None] = OrderedDict()
        self._working: set[Key] = set()
        self._again: set[Key] = set()
        self._due: dict[Key, float] = {}
        self._timers: list[tuple[float, int, Key]] = []
        """A heap over `_due`; an entry whose time is not the key's in `_due` is stale."""
        self._failing: dict[Key, _Failing] = {}
        self._sequence = 0
        self._closed = False

    def __len__(self) -> int:
        """Count the keys that wait, due or not."""
        with self._condition:
            return len(self._ready.keys() | self._idle.keys() | self._due.keys() | self._again)

    def add(self, key: Key) -> None:
        """Make the key due now, because something changed; a failing key a second after its last failure."""
        with self._condition:
            now = self._clock()
            failing = self._failing.get(key)
            if failing is None:
                self._make_ready(key)
            else:
                self._schedule(key, min(failing.retry_at, max(now, failing.failed_at + _SOONEST_SECONDS)))

    def add_idle(self, key: Key) -> None:
        """Make the key due once nothing else is: nobody waits for it."""
        with self._condition:
            if key not in self._ready and key not in self._working and key not in self._due:
                self._idle[key] = None
                self._condition.notify()

    def add_after(self, key: Key, delay_seconds: float) -> None:
        """Make the key due after a delay, a failing key not before its backoff is over."""
        with self._condition:
            failing = self._failing.get(key)
            self._schedule(key, max(self._clock() + delay_seconds, failing.retry_at if failing else 0.0))

    def retry(self, key: Key) -> Retry:
        """Note that work on the key failed, and make it due once its backoff is over."""
        with self._condition:
            now = self._clock()
            before = self._failing.get(key)
            failures = before.failures + 1 if before else 1
            delay = self._backoff_seconds[min(failures, len(self._backoff_seconds)) - 1]
            self._failing[key] = _Failing(failures, now, now + delay)
            # Added while it was worked on: that is merged into the retry, or would be a second one at once.
            again = key in self._again
            self._again.discard(key)
            self._due.pop(key, None)
            self._schedule(key, now + (min(delay, _SOONEST_SECONDS) if again else delay))
            return Retry(failures, delay)

    def forget(self, key: Key) -> None:
        """Note that work on the key succeeded: its next failure is the first."""
        with self._condition:
            self._failing.pop(key, None)

    def take(self) -> Key | None:
        """Wait for a due key and return it; None once the queue is closed. Every key taken must be `done`."""
        with self._condition:
            while not self._closed:
                self._release_due()
                if due := self._ready or self._idle:
                    key, _ = due.popitem(last=False)
                    self._working.add(key)
                    return key
                wait = self._timers[0][0] - self._clock() if self._timers else None
                self._condition.wait(wait)
            return None

    def done(self, key: Key) -> None:
        """End the work on a key."""
        with self._condition:
            self._working.discard(key)
            if key in self._again:
                self._again.discard(key)
                self._make_ready(key)

    def close(self) -> None:
        """Wake every waiting thread with None; what still waits is dropped."""
        with self._condition:
            self._closed = True
            self._condition.notify_all()

    def _make_ready(self, key: Key) -> None:
        self._idle.pop(key, None)
        if key in self._working:
            self._again.add(key)
        elif key not in self._ready:
            self._ready[key] = None
            self._condition.notify()

    def _schedule(self, key: Key, at: float) -> None:
        known = self._due.get(key)
        if known is not None and known <= at:
            return
        self._due[key] = at
        self._sequence += 1
        # A key of any type may wait: the sequence number settles every comparison before the key is reached.
        heapq.heappush(self._timers, (at, self._sequence, key))
        if len(self._timers) > 2 * len(self._due) + _STALE_ENTRIES:
            self._timers = [timer for timer in self._timers if self._due.get(timer[2]) == timer[0]]
            heapq.heapify(self._timers)
        self._condition.notify()

    def _release_due(self) -> None:
        now = self._clock()
        while self._timers and self._timers[0][0] <= now:
            at, _, key = heapq.heappop(self._timers)
            if self._due.get(key) == at:
                del self._due[key]
                self._make_ready(key)

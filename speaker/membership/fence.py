"""Whether this node may answer: not after a standstill in which another may have taken its addresses over."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable


def clock() -> float:
    """Seconds that never jump and, unlike CLOCK_MONOTONIC, go on while the machine sleeps."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


class Fence:
    """Open while the thread that hears the other speakers runs, and after a standstill only once all is known anew.

    A paused process wakes up with questions waiting in its sockets; who answers them first asks here. `_until` and
    `_closed` are guarded by `_lock` for writing; `open` and `closed` read each whole.
    """

    def __init__(self, limit_seconds: float, *, now: Callable[[], float] = clock) -> None:
        """`limit_seconds` after the last sign of the hearing thread, others may have taken over."""
        self._limit = limit_seconds
        self._now = now
        self._lock = threading.Lock()
        self._until = 0.0
        self._closed = False

    @property
    def open(self) -> bool:
        """Whether answering and announcing is allowed now."""
        return not self._closed and self._now() < self._until

    @property
    def closed(self) -> bool:
        """Whether it stays shut until what was learned since a standstill has been acted upon."""
        return self._closed

    def keep_up(self, *, closed: bool) -> None:
        """The hearing thread runs; `closed` while it does not yet know who holds what."""
        with self._lock:
            self._closed = self._closed or closed
            self._until = self._now() + self._limit

    def reopen(self) -> None:
        """What was learned since the standstill has been acted upon."""
        with self._lock:
            self._closed = False

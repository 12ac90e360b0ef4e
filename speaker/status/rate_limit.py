"""One pace for what a speaker writes for people: a change at once, and many no faster than an API server can bear."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from speaker.layer2.gratuitous import TokenBucket

STATUS_WRITES_PER_SECOND = 25.0
"""However much there is to say: the API server has others to serve. A thousand addresses show their node within a
minute; the latest change comes first, so that none waits for them."""
STATUS_WRITES_AT_ONCE = 50.0
EVENTS_PER_SECOND = 1.0
"""An Event is kept for an hour and read by few."""
EVENTS_AT_ONCE = 100.0


class WritePace:
    """Turns come at `per_second`, and up to `at_once` of them together after a quiet time.

    `_bucket` is guarded by `_lock`.
    """

    def __init__(self, *, per_second: float, at_once: float, now: Callable[[], float] = time.monotonic) -> None:
        self._now = now
        self._lock = threading.Lock()
        self._bucket = TokenBucket(rate_per_second=per_second, burst=at_once, now=now())

    def take(self) -> float:
        """Take a turn if there is one, and return 0; else return in how many seconds to ask again."""
        with self._lock:
            now = self._now()
            return 0.0 if self._bucket.take(now) else self._bucket.wait_seconds(now)

    def wait_turn(self, stopping: threading.Event) -> bool:
        """Wait until a write is due; False when it is to stop before."""
        while not stopping.is_set():
            wait_seconds = self.take()
            if wait_seconds == 0.0:
                return True
            stopping.wait(wait_seconds + 0.001)
        return False

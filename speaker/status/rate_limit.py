"""One pace for what a speaker writes for people: rare in the long run, fast when much has just moved."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from speaker.layer2.gratuitous import TokenBucket

STATUS_WRITES_PER_SECOND = 0.25
EVENTS_PER_SECOND = 0.1
"""With its Lease, a tenth of a write a second, a node stays below half a write a second in the long run."""
STATUS_WRITES_SAVED = 4000.0
"""What may be written at short notice after a quiet time: all there is to say about a thousand addresses."""
EVENTS_SAVED = 100.0
AT_MOST_PER_SECOND = 25.0
"""However much was saved: the API server has others to serve. A thousand addresses are told within a minute."""


class WritePace:
    """Turns come at `per_second` on average. What is not used is saved, up to `saved`, and may be used at top speed.

    `_steady` and `_top` are guarded by `_lock`.
    """

    def __init__(self, *, per_second: float, saved: float, now: Callable[[], float] = time.monotonic) -> None:
        self._now = now
        self._lock = threading.Lock()
        self._steady = TokenBucket(rate_per_second=per_second, burst=saved, now=now())
        self._top = TokenBucket(rate_per_second=AT_MOST_PER_SECOND, burst=AT_MOST_PER_SECOND, now=now())

    def take(self) -> float:
        """Take a turn if there is one, and return 0; else return in how many seconds to ask again."""
        with self._lock:
            now = self._now()
            wait_seconds = max(self._steady.wait_seconds(now), self._top.wait_seconds(now))
            if wait_seconds == 0.0:
                self._steady.take(now)
                self._top.take(now)
            return wait_seconds

    def wait_turn(self, stopping: threading.Event) -> bool:
        """Wait until a write is due; False when told to stop before."""
        while not stopping.is_set():
            wait_seconds = self.take()
            if wait_seconds == 0.0:
                return True
            stopping.wait(wait_seconds + 0.01)
        return False

"""One pace for everything a speaker writes for people: however much there is to say, the API server has time."""

from __future__ import annotations

import threading
import time

from speaker.pacing import TokenBucket

WRITES_PER_SECOND = 0.35
"""With its Lease, a tenth of a write a second, a node stays below half a write a second."""
WRITES_AT_ONCE = 40.0


class WritePace:
    """Shared by the threads that write Events and statuses. `_bucket` is guarded by `_lock`."""

    def __init__(
        self, *, writes_per_second: float = WRITES_PER_SECOND, writes_at_once: float = WRITES_AT_ONCE
    ) -> None:
        self._lock = threading.Lock()
        self._bucket = TokenBucket(rate_per_second=writes_per_second, burst=writes_at_once, now=time.monotonic())

    def wait_turn(self, stopping: threading.Event) -> bool:
        """Wait until a write is due; False when told to stop before."""
        while not stopping.is_set():
            with self._lock:
                now = time.monotonic()
                if self._bucket.take(now):
                    return True
                wait_seconds = self._bucket.wait_seconds(now)
            stopping.wait(wait_seconds + 0.01)
        return False

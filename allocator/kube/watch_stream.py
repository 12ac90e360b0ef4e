"""The answer to a watch: JSON events, one a line, for minutes, that another thread can end at once.

The `kubernetes` package's own Watch is not used: its stop() is forgotten when it comes before the answer does, so
a thread that is asked to end in that moment goes on for the whole length of a watch.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any, Protocol


class Response(Protocol):
    """What is used of urllib3's response."""

    def stream(self) -> Iterator[bytes]:
        """Yield what arrives, as it arrives."""

    def shutdown(self) -> None:
        """End a read that blocks in another thread."""

    def close(self) -> None:
        """Close the connection."""


class Interrupt:
    """Ends a watch from another thread, whether it has begun or not; covers one watch at a time.

    `_requested` and `_response` belong to `_lock`.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._requested = False
        self._response: Response | None = None

    @property
    def requested(self) -> bool:
        """Whether the watch was asked to end."""
        with self._lock:
            return self._requested

    def request(self) -> None:
        """End the watch now, or at its very beginning."""
        with self._lock:
            self._requested = True
            if self._response is not None:
                # The reader may be closing it this moment, which is what we want.
                with suppress(OSError, ValueError, RuntimeError):
                    self._response.shutdown()

    @contextmanager
    def covering(self, response: Response) -> Iterator[None]:
        """Let `request` reach `response` while the block runs; close it afterwards."""
        with self._lock:
            self._response = response
            if self._requested:
                response.shutdown()
        try:
            yield
        finally:
            with self._lock:
                self._response = None
            response.close()


def events(response: Response) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield the (type, object) of every event until the server ends the answer.

    Raises ValueError on what is not an event, and urllib3's errors when the connection breaks.
    """
    pending = b""
    for chunk in response.stream():
        *lines, pending = (pending + chunk).split(b"\n")
        for line in lines:
            if not line.strip():
                continue
            event = json.loads(line)
            yield event["type"], event["object"]

"""When this node's way to the others was cut and is back."""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection, Iterable

from speaker.membership.fence import clock
from speaker.netdev.interfaces import Interface, announcing

PAUSE_SECONDS = 1.0
"""Between two calls. What is cut for less than that, TCP makes good about as soon; a link that flaps must not become
a load for the API server."""


class Reconnection:
    """Calls `on_back` when an interface has its link again, and when a node that heard nobody hears somebody.

    `_usable` is the interface watch's, `_alone` the heartbeats' thread's; `_called_at` is guarded by `_lock`.
    """

    def __init__(self, node: str, on_back: Callable[[], None], *, now: Callable[[], float] = clock) -> None:
        self._node = node
        self._on_back = on_back
        self._now = now
        self._lock = threading.Lock()
        self._called_at: float | None = None
        self._usable: frozenset[str] | None = None
        self._alone = False

    def on_interfaces(self, interfaces: Iterable[Interface]) -> None:
        """Take note of the node's interfaces."""
        before, self._usable = self._usable, frozenset(interface.name for interface in announcing(interfaces))
        if before is not None and self._usable - before:
            self._call()

    def on_alive(self, alive: Collection[str]) -> None:
        """Take note of who is alive."""
        was_alone, self._alone = self._alone, frozenset(alive) <= {self._node}
        if was_alone and not self._alone:
            self._call()

    def _call(self) -> None:
        with self._lock:
            now = self._now()
            if self._called_at is not None and now - self._called_at < PAUSE_SECONDS:
                return
            self._called_at = now
        self._on_back()

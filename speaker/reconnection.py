"""When this node's way to the others was cut and is back."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable

from speaker.interfaces import Interface, announcing


class Reconnection:
    """Calls `on_back` when an interface has its link again, and when a node that heard nobody hears somebody.

    `_usable` is the interface watch's, `_alone` the heartbeats' thread's.
    """

    def __init__(self, node: str, on_back: Callable[[], None]) -> None:
        self._node = node
        self._on_back = on_back
        self._usable: frozenset[str] | None = None
        self._alone = False

    def on_interfaces(self, interfaces: Iterable[Interface]) -> None:
        """Take note of the node's interfaces."""
        before, self._usable = self._usable, frozenset(interface.name for interface in announcing(interfaces))
        if before is not None and self._usable - before:
            self._on_back()

    def on_alive(self, alive: Collection[str]) -> None:
        """Take note of who is alive."""
        was_alone, self._alone = self._alone, frozenset(alive) <= {self._node}
        if was_alone and not self._alone:
            self._on_back()

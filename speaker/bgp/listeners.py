"""Several listeners as one."""

from __future__ import annotations

from speaker.bgp.events import Event
from speaker.bgp.reports import BgpListener, Snapshot


class Listeners:
    """A `BgpListener` that hands everything to others, in order."""

    def __init__(self, *listeners: BgpListener) -> None:
        self._listeners = listeners

    def on_services(self, keys: frozenset[str] | None) -> None:
        """Hand it on."""
        for listener in self._listeners:
            listener.on_services(keys)

    def on_snapshot(self, snapshot: Snapshot) -> None:
        """Hand it on."""
        for listener in self._listeners:
            listener.on_snapshot(snapshot)

    def on_event(self, event: Event) -> None:
        """Hand it on."""
        for listener in self._listeners:
            listener.on_event(event)

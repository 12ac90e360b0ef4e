"""Whether the whole cluster boots: then what is taken for want of a better node is ranked anew, once."""

from __future__ import annotations

from collections.abc import Iterable

from speaker.membership.state_sync import AdvertisedState

BOOT_SECONDS = 60.0
"""How long after the first speaker began to serve that goes on."""


class Boot:
    """Over once this speaker has served for so long, or hears one that says it is over. Owned by one thread."""

    def __init__(self) -> None:
        self.under_way = True
        self._serving_since: float | None = None

    def serve(self, now: float) -> None:
        """This speaker begins to serve."""
        self._serving_since = now

    @property
    def ends_at(self) -> float | None:
        """When it is over though nobody says so; None before this speaker serves, and once it is."""
        if not self.under_way or self._serving_since is None:
            return None
        return self._serving_since + BOOT_SECONDS

    def look(self, alive: Iterable[AdvertisedState], now: float) -> bool:
        """Take note of what those alive advertise; return whether that ends it."""
        if not self.under_way:
            return False
        ends_at = self.ends_at
        over = ends_at is not None and now >= ends_at
        if over or any(not state.booting for state in alive):
            self.under_way = False
        return not self.under_way

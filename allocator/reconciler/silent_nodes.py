"""Which nodes' speakers do not renew their Leases any more: what they reported counts for nothing.

The Leases are read, not watched: watched, each would be a message every ten seconds. Read twice a minute, a node is
noticed at most a minute after its last renewal.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from typing import Final

from allocator.kube.client import ApiError
from allocator.objects.document import Document
from allocator.process.logs import EventLog
from allocator.rules.silent_speakers import silent_since

log = EventLog("reporter")

LOOK_SECONDS: Final = 30.0


class SilentNodes:
    """What was read last, and until when it counts. Belongs to one thread."""

    def __init__(
        self,
        leases: Callable[[], Iterable[Document]],
        *,
        clock: Callable[[], float] = time.monotonic,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        """`leases` returns those of the installation's namespace; it may raise ApiError."""
        self._leases = leases
        self._clock = clock
        self._now = now
        self._found: frozenset[str] = frozenset()
        self._again = 0.0
        self._reporting = False

    def due(self) -> bool:
        """Whether to look again; never while no node reports anything."""
        return self._reporting and self._clock() >= self._again

    def look(self, *, reporting: bool) -> frozenset[str]:
        """Return the silent nodes; the Leases are read where it is time for it and some node is `reporting`.

        Where they cannot be read, all that is reported counts: the component `bgp` alone permits it.
        """
        self._reporting = reporting
        if not reporting:
            self._found, self._again = frozenset(), 0.0
        elif self._clock() >= self._again:
            self._again = self._clock() + LOOK_SECONDS
            try:
                self._found = frozenset(silent_since(self._leases(), self._now()))
            except ApiError as error:
                log.debug("leases.unread", error=error)
                self._found = frozenset()
        return self._found

"""What the Leases of speakers say: which nodes are silent, and which subnets the others have.

A silent node's speaker does not renew its Lease any more: what it reported counts for nothing.

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
from allocator.rules.silent_speakers import renewed, silent_since
from allocator.rules.speaker_subnets import SpeakerSubnets, speaker_subnets

log = EventLog("reporter")

LOOK_SECONDS: Final = 30.0


class SpeakerLeases:
    """What was read last, and until when it counts. Belongs to one thread.

    `subnets` are those of the nodes that are not `silent`; the same value as before where nothing about them changed.
    """

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
        self._again = 0.0
        self._needed = False
        self.silent: frozenset[str] = frozenset()
        self.subnets = SpeakerSubnets()

    def due(self) -> bool:
        """Whether to look again; never while nobody needs it."""
        return self._needed and self._clock() >= self._again

    def look(self, *, needed: bool) -> None:
        """Read the Leases where it is time for it and what they say is `needed`.

        Where they cannot be read, all that is reported counts, and the subnets are those of before.
        """
        self._needed = needed
        if not needed:
            self.silent, self._again = frozenset(), 0.0
        elif self._clock() >= self._again:
            self._again = self._clock() + LOOK_SECONDS
            try:
                self._take(list(self._leases()))
            except ApiError as error:
                log.debug("leases.unread", error=error)
                self.silent = frozenset()

    def _take(self, leases: list[Document]) -> None:
        now = self._now()
        self.silent = frozenset(silent_since(leases, now))
        subnets = speaker_subnets(renewed(leases, now))
        if subnets != self.subnets:
            self.subnets = subnets

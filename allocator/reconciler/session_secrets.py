"""Which of the Secrets that BGPPeers name are not there.

No controller may watch Secrets, so that each is asked for by itself: a missing one every ten seconds, as somebody is
about to create it, the others every five minutes.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Collection
from typing import Final

MISSING_SECONDS: Final = 10.0
PRESENT_SECONDS: Final = 300.0


class SessionSecrets:
    """What was answered last, and until when it counts. Belongs to one thread."""

    def __init__(self, is_absent: Callable[[str], bool], *, clock: Callable[[], float] = time.monotonic) -> None:
        self._is_absent = is_absent
        self._clock = clock
        self._known: dict[str, tuple[bool, float]] = {}
        """By name: whether it is absent, and when to ask again."""

    def due(self) -> bool:
        """Whether an answer has become too old."""
        return self._clock() >= min((again for _, again in self._known.values()), default=math.inf)

    def absent(self, wanted: Collection[str]) -> frozenset[str]:
        """Return those of the Secrets that are not there, asking for what is not known."""
        now = self._clock()
        known = {name: self._known[name] for name in wanted if name in self._known and self._known[name][1] > now}
        for name in sorted(set(wanted) - known.keys()):
            absent = self._is_absent(name)
            known[name] = absent, now + (MISSING_SECONDS if absent else PRESENT_SECONDS)
        self._known = known
        return frozenset(name for name, (absent, _) in known.items() if absent)

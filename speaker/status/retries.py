"""When what could not be written is tried again."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import Generic, TypeVar

from speaker.status.backlog import Backlog

Item = TypeVar("Item", bound=Hashable)

RETRY_SECONDS = (1.0, 2.0, 5.0, 10.0, 30.0, 60.0)
"""After the first failure, the second, ... and all further ones."""
OCCUPIED_SECONDS = (1.0, 2.0, 5.0, 5.0, 5.0, 5.0, 5.0, 10.0, 30.0, 60.0)
"""The same where a node is named that may be alive: while it may turn out to be gone, it is looked for often."""
CONFLICT_SECONDS = (0.0, 0.05, 0.2, 1.0, 2.0, 5.0)
"""The same where another wrote in between: at once, but one that is written all the time keeps no other waiting."""
OUTAGE_SECONDS = 1.0
"""How long to write nothing at all while the API server is away."""


class Retries(Generic[Item]):
    """Puts what failed into the backlog again, ever later. Belongs to one thread."""

    def __init__(self, backlog: Backlog[Item]) -> None:
        self._backlog = backlog
        self._failures: dict[Item, int] = {}

    def again(self, item: Item, pauses_seconds: Sequence[float] = RETRY_SECONDS) -> float:
        """Look at it again later; return in how many seconds."""
        failures = self._failures.get(item, 0)
        self._failures[item] = failures + 1
        delay = pauses_seconds[min(failures, len(pauses_seconds) - 1)]
        self._backlog.put(item, after_seconds=delay)
        return delay

    def succeeded(self, item: Item) -> None:
        """Forget how often it failed."""
        self._failures.pop(item, None)

"""When what could not be written is tried again."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import Generic, TypeVar

from allocator.kube.client import ApiError, Conflict, Unavailable
from speaker.status.backlog import Backlog
from speaker.status.statement import Occupied

Item = TypeVar("Item", bound=Hashable)

RETRY_SECONDS = (1.0, 2.0, 5.0, 10.0, 30.0, 60.0)
"""After the first failure, the second, ... and all further ones."""
OCCUPIED_SECONDS = (1.0, 2.0, 5.0, 5.0, 5.0, 5.0, 5.0, 10.0, 30.0, 60.0)
"""The same where a node is named that may be alive: while it may turn out to be gone, it is looked for often."""
CONFLICT_SECONDS = (0.0, 0.05, 0.2, 1.0, 2.0, 5.0)
"""The same where another wrote in between: at once, but not all the time where another writes all the time."""
UNAVAILABLE_SECONDS = (1.0, 2.0, 5.0, 10.0)
"""The same where the next answer may well be another: after an outage nothing waits for long."""
OUTAGE_SECONDS = 1.0
"""How long to write nothing at all after a request without any answer: the API server is away."""


class Retries(Generic[Item]):
    """Puts what failed into the backlog again, ever later, and behind what has not failed. Belongs to one thread."""

    def __init__(self, backlog: Backlog[Item]) -> None:
        self._backlog = backlog
        self._failures: dict[Item, int] = {}

    def failed(self, item: Item, error: ApiError | Occupied) -> float:
        """Look at it again later; return in how many seconds."""
        pauses_seconds = _pauses_seconds(error)
        failures = self._failures.get(item, 0)
        self._failures[item] = failures + 1
        delay = pauses_seconds[min(failures, len(pauses_seconds) - 1)]
        self._backlog.put_failed(item, after_seconds=delay)
        return delay

    def succeeded(self, item: Item) -> None:
        """Forget how often it failed."""
        self._failures.pop(item, None)


def is_outage(error: ApiError | Occupied) -> bool:
    """Return whether the API server is away, and not only one object refused."""
    return isinstance(error, ApiError) and not error.answered


def _pauses_seconds(error: ApiError | Occupied) -> Sequence[float]:
    match error:
        case Occupied():
            return OCCUPIED_SECONDS
        case Conflict():
            return CONFLICT_SECONDS
        case Unavailable():
            return UNAVAILABLE_SECONDS
        case _:
            return RETRY_SECONDS

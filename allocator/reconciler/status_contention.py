"""Two writers of one status: how long to leave it to the other before it is written again, and who the other is."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from allocator.core.addresses import Address
from allocator.kube.client import Object

Key = tuple[str, str]

_DELAYS_SECONDS = (0.0, 1.0, 2.0, 5.0, 15.0, 30.0, 60.0)
"""After which pause what was overwritten once, twice and so on is written again."""
_FORGOTTEN_SECONDS = 600.0


@dataclass(frozen=True, slots=True)
class _Written:
    uid: str
    addresses: tuple[Address, ...]
    at: float
    overwritten: int


class StatusContention:
    """Remembers what each Service's status was last made to show. `_lock` owns `_written`."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._written: dict[Key, _Written] = {}

    def pause_seconds(self, service: Object, addresses: Sequence[Address]) -> float:
        """Return how long to wait before the Service is made to show these; 0 for what somebody changed once."""
        known = self._known(service, addresses)
        if known is None or not known.overwritten:
            return 0.0
        delay = _DELAYS_SECONDS[min(known.overwritten, len(_DELAYS_SECONDS) - 1)]
        return max(0.0, known.at + delay - self._clock())

    def overwritten(self, service: Object, addresses: Sequence[Address]) -> int:
        """Return how often in a row a Service that does not show these was made to, and changed by somebody else."""
        known = self._known(service, addresses)
        return known.overwritten + 1 if known is not None else 0

    def wrote(self, service: Object, addresses: Sequence[Address]) -> None:
        """Note that the Service has just been made to show these."""
        times = self.overwritten(service, addresses)
        written = _Written(service["metadata"]["uid"], tuple(addresses), self._clock(), times)
        with self._lock:
            self._written[_key(service)] = written

    def forget(self, key: Key) -> None:
        """Drop what is remembered of a Service that is gone."""
        with self._lock:
            self._written.pop(key, None)

    def _known(self, service: Object, addresses: Sequence[Address]) -> _Written | None:
        with self._lock:
            known = self._written.get(_key(service))
        if known is None or (known.uid, known.addresses) != (service["metadata"]["uid"], tuple(addresses)):
            return None
        return known if self._clock() - known.at < _FORGOTTEN_SECONDS else None


def _key(service: Object) -> Key:
    return service["metadata"]["namespace"], service["metadata"]["name"]

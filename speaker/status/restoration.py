"""Noticing that etcd was restored, by this node's own writes: what was watched and written may be gone."""

from __future__ import annotations

import threading
from collections.abc import Callable

from allocator.kube.client import Object
from allocator.kube.rewind import History, Rewound
from allocator.process.logs import EventLog

log = EventLog("status")


class RestorationWatch:
    """Compares each version that the node's Lease gets with those of writes that had been answered before.

    A speaker is not started anew for it, as the controller is: it would give up what it announces. Everything is
    guarded by `_lock`, but for `_history`, which belongs to the thread that writes the Lease.
    """

    def __init__(self, begin_anew: Callable[[], None]) -> None:
        """`begin_anew` is called to list and compare everything anew."""
        self._begin_anew = begin_anew
        self._lock = threading.Lock()
        self._history = History()
        self._written: Object | None = None

    def on_written(self, stored: Object) -> None:
        """Take in any object as the API server returned it after a write."""
        with self._lock:
            if self._written is None or _version(stored) > _version(self._written):
                self._written = stored

    def on_lease(self, lease: Object) -> None:
        """Take in the Lease as the API server returned it after a write."""
        try:
            self._history.check(lease)
        except Rewound as error:
            log.warning("cluster.restored", error=error)
            self._history = History()
            self._history.check(lease)
            with self._lock:
                self._written = None
            self._begin_anew()
        # The next one is written after all that has been answered by now, and gets a higher version.
        with self._lock:
            written, self._written = self._written, None
        if written is not None and _version(written) > _version(lease):
            self._history.check(written)


def _version(stored: Object) -> int:
    return int(stored["metadata"]["resourceVersion"])

"""Noticing that etcd was restored, by this node's own Lease: what was watched and written may be gone."""

from __future__ import annotations

from collections.abc import Callable

from allocator.kube.client import Object
from allocator.kube.rewind import History, Rewound
from allocator.process.logs import EventLog

log = EventLog("status")


class RestorationWatch:
    """Looks at each version that the node's Lease gets. Belongs to the thread that writes it.

    A speaker is not started anew for it, as the controller is: it would give up what it announces.
    """

    def __init__(self, begin_anew: Callable[[], None]) -> None:
        """`begin_anew` is called to list and compare everything anew."""
        self._begin_anew = begin_anew
        self._history = History()

    def on_lease(self, lease: Object) -> None:
        """Take in the Lease as the API server returned it."""
        try:
            self._history.check(lease)
        except Rewound as error:
            log.warning("cluster.restored", error=error)
            self._history = History()
            self._history.check(lease)
            self._begin_anew()

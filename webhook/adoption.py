"""Whether Services that had addresses before us have been taken over by the reconciler, now and as long as we run.

Until then an address that looks free may belong to a Service which MetalLB, or a restored backup, gave it to.
"""

from __future__ import annotations

import threading

from allocator.allocation.adoption_mark import AdoptionMark, mark_of
from allocator.kube.client import ApiError, Cluster, NotFound
from allocator.kube.rewind import History, Rewound
from allocator.objects import names
from allocator.process.background import Background
from allocator.process.logs import EventLog

log = EventLog("adoption")

_ASK_SECONDS = 0.5


class Adoption(Background):
    """Looks for the leader's mark on its Lease from a thread of its own, which ends when etcd was restored.

    `_done`, `_seen` and the histories belong to that thread.
    """

    def __init__(self, cluster: Cluster, *, namespace: str) -> None:
        super().__init__("adoption")
        self._mark = AdoptionMark(cluster, namespace=namespace)
        self._history = History()
        self._store_history = History()
        self._seen = False
        self._done = threading.Event()

    def problems(self) -> list[str]:
        """Say what is waited for; empty while the mark is there."""
        return [] if self._done.is_set() else ["the reconciler has not taken over the existing Services yet"]

    def _run(self) -> None:
        while not self._stopping.is_set():
            try:
                self._look()
            except Rewound as error:
                log.error("cluster.rewound", error=error)
                self._done.clear()
                self._mark.try_to_revoke(why=str(error))
                return
            except ApiError as error:
                # Nothing contradicts what was stated last.
                log.debug("adoption.unknown", error=error)
            self._stopping.wait(_ASK_SECONDS)

    def _look(self) -> None:
        try:
            lease = self._mark.lease()
        except NotFound:
            if self._seen:
                # Deleted, or of a time before it was made: either way nobody knows what is true by now.
                raise Rewound(f"{names.RECONCILER_LEASE} is gone") from None
            marked = False
        else:
            self._seen = True
            self._history.check(lease)
            # While nobody leads the Lease is not written, but claims are.
            self._store_history.check(self._mark.revision())
            marked = bool(mark_of(lease))
        if marked:
            self._done.set()
        elif self._done.is_set():
            log.warning("adoption.unmarked")
            self._done.clear()

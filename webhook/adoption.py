"""Waiting until Services that had addresses before us have been taken over by the reconciler.

Until then an address that looks free may belong to a Service which MetalLB, or a restored backup, gave it to.
"""

from __future__ import annotations

import threading

from allocator.kube import resource
from allocator.kube.client import ApiError, Cluster
from allocator.objects import names
from allocator.process.logs import EventLog

log = EventLog("adoption")

_ASK_SECONDS = 0.5


class Adoption:
    """Looks for the leader's mark on its Lease, from a thread of its own that ends when the mark is there."""

    def __init__(self, cluster: Cluster, *, namespace: str) -> None:
        self._cluster = cluster
        self._namespace = namespace
        self._done = threading.Event()
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="adoption", daemon=True)

    def start(self) -> None:
        """Begin to look."""
        self._thread.start()

    def stop(self) -> None:
        """Look no more."""
        self._stopping.set()
        if self._thread.is_alive():
            self._thread.join(timeout=5)

    @property
    def alive(self) -> bool:
        """Whether the mark was found or is still looked for."""
        return self._done.is_set() or self._thread.is_alive()

    def problems(self) -> list[str]:
        """Say what is waited for; empty once it is there, for good."""
        return [] if self._done.is_set() else ["the reconciler has not taken over the existing Services yet"]

    def _run(self) -> None:
        while not self._done.is_set() and not self._stopping.wait(0 if self._marked() else _ASK_SECONDS):
            continue

    def _marked(self) -> bool:
        try:
            lease = self._cluster.get(resource.LEASES, names.RECONCILER_LEASE, self._namespace)
        except ApiError as error:
            log.debug("adoption.unknown", error=error)
            return False
        if names.ADOPTED_ANNOTATION in (lease["metadata"].get("annotations") or {}):
            self._done.set()
        return self._done.is_set()

"""Services created one after another, each once the status of the last one was seen to show its address."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from allocator.kube.reflector import Change, Reflector
from allocator.kube.resource import SERVICES
from tests.bench.site import NAMESPACE, Object, connections
from tests.cluster.installation import ingress
from tests.lab.control_plane import ControlPlane

_STATUS_SECONDS = 10.0


@dataclass(frozen=True, slots=True)
class Waited:
    """How long one Service took, from the beginning of its creation."""

    known_ms: float
    """Until the answer."""
    shown_ms: float
    """Until a watcher saw its status with an address."""


class Arrivals:
    """A client and a watcher of its own; `_arrived` owns `_at`, which the watcher's thread fills."""

    def __init__(self, control_plane: ControlPlane) -> None:
        self._client, watching = connections(control_plane, 2)
        self._arrived = threading.Condition()
        self._at: dict[str, float] = {}
        self._mirror = Reflector(watching, SERVICES, namespace=NAMESPACE, on_change=self._see)

    @classmethod
    @contextmanager
    def of(cls, control_plane: ControlPlane) -> Iterator[Arrivals]:
        """Watch while the block runs."""
        arrivals = cls(control_plane)
        arrivals._mirror.start()
        try:
            arrivals._mirror.wait_synced(10)
            yield arrivals
        finally:
            arrivals._mirror.stop()

    def create(self, document: Object) -> Waited:
        """Create a Service and wait for its status."""
        name = document["metadata"]["name"]
        started = time.perf_counter()
        self._client.create(SERVICES, document, NAMESPACE)
        known = time.perf_counter()
        with self._arrived:
            if not self._arrived.wait_for(lambda: name in self._at, _STATUS_SECONDS):
                raise AssertionError(f"{name} has no address in its status after {_STATUS_SECONDS:g} s")
            return Waited((known - started) * 1000, (self._at[name] - started) * 1000)

    def _see(self, change: Change) -> None:
        if change.new is not None and ingress(change.new):
            with self._arrived:
                self._at.setdefault(change.key[1], time.perf_counter())
                self._arrived.notify_all()

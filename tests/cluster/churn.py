"""Clients that create and delete Services as fast as they can, watched by a witness."""

from __future__ import annotations

import random
import threading
import time
from collections import Counter
from contextlib import suppress

from allocator.kube.client import AlreadyExists, ApiError, Cluster, Conflict, NotFound
from allocator.kube.reflector import Reflector
from allocator.kube.resource import SERVICES
from allocator.objects.names import ASSIGNED_IPS_ANNOTATION
from tests.chaos.witness import Witness
from tests.cluster.installation import service
from tests.lab.control_plane import ControlPlane

NAMESPACE = "default"


class Churn:
    """`clients` threads, each with Services of its own names; `report` after `stop` says what happened."""

    def __init__(self, control_plane: ControlPlane, *, clients: int, seed: int = 0) -> None:
        self._stopping = threading.Event()
        self._control_plane = control_plane
        self.counts: Counter[str] = Counter()
        self._lock = threading.Lock()
        """Owns `counts` and `errors`."""
        self.errors: list[str] = []
        self.witness = Witness()
        self._mirror = Reflector(control_plane.cluster(), SERVICES, namespace=NAMESPACE, on_change=self.witness.see)
        self._threads = [
            threading.Thread(
                target=self._client, args=(number, random.Random(seed + number)), name=f"client-{number}"
            )
            for number in range(clients)
        ]

    def start(self) -> None:
        """Begin."""
        self._mirror.start()
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """End the clients; their last Services stay."""
        self._stopping.set()
        for thread in self._threads:
            thread.join(timeout=30)

    def finish(self) -> None:
        """Stop watching."""
        self._mirror.stop()

    def _client(self, number: int, chance: random.Random) -> None:
        cluster = self._control_plane.cluster()
        names = [f"c{number}-{index}" for index in range(3)]
        while not self._stopping.is_set():
            name = chance.choice(names)
            try:
                self._step(cluster, name, chance)
            except ApiError as error:
                with self._lock:
                    self.errors.append(f"{name}: {error}")
                time.sleep(0.05)

    def _step(self, cluster: Cluster, name: str, chance: random.Random) -> None:
        action = chance.random()
        if action < 0.55:
            with suppress(AlreadyExists):
                made = cluster.create(SERVICES, service(name), NAMESPACE)
                had = ASSIGNED_IPS_ANNOTATION in (made["metadata"].get("annotations") or {})
                self._count("created with an address" if had else "created, waiting")
        elif action < 0.9:
            with suppress(NotFound):
                cluster.delete(SERVICES, name, NAMESPACE)
                self._count("deleted")
        else:
            # The API server gives up a patch that others overtake too often, as deletion and status writes may.
            with suppress(NotFound, Conflict):
                labels = {"metadata": {"labels": {"touched": str(chance.randrange(1000))}}}
                cluster.patch(SERVICES, name, labels, NAMESPACE)
                self._count("updated")

    def _count(self, what: str) -> None:
        with self._lock:
            self.counts[what] += 1


def wait_quiet(seconds: float = 1.0) -> None:
    """Let watches deliver what is already on its way."""
    threading.Event().wait(seconds)

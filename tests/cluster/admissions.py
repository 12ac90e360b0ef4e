"""Clients that make the API server ask the webhook all the time, and note every admission that failed."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any, Self

from allocator.kube.client import ApiError, Cluster
from allocator.kube.resource import SERVICES
from allocator.objects.names import ASSIGNED_IPS_ANNOTATION, DEFAULT_NAMESPACE, IP_ADDRESS_POOLS
from tests.cluster.installation import pool, service

_PAUSE_SECONDS = 0.25


class Admissions:
    """`with Admissions(...)`: creates Services, which stay, and makes, edits and deletes pools until the block ends.

    A Service that is stored without an address was admitted without the webhook: it counts as `unattended`.
    """

    def __init__(
        self,
        connect: Callable[[], Cluster],
        *,
        clients: int,
        prefix: str,
        annotations: dict[str, str] | None = None,
        namespace: str = "default",
    ) -> None:
        self._connect = connect
        self._prefix = prefix
        self._annotations = annotations
        self._namespace = namespace
        self._stopping = threading.Event()
        self._lock = threading.Lock()
        """Owns the four that follow."""
        self.admitted = 0
        self.services: list[str] = []
        self.unattended: list[str] = []
        self.failures: list[str] = []
        self._threads = [
            threading.Thread(target=self._client, args=(number,), name=f"admissions-{number}")
            for number in range(clients)
        ]

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopping.set()
        for thread in self._threads:
            thread.join(timeout=60)

    def _client(self, number: int) -> None:
        cluster = self._connect()
        serial = 0
        while not self._stopping.wait(_PAUSE_SECONDS):
            serial += 1
            name = f"{self._prefix}-{number}-{serial}"
            try:
                self._service(cluster, name)
                self._pool(cluster, name, number, serial)
            except ApiError as error:
                with self._lock:
                    self.failures.append(f"{time.strftime('%H:%M:%S')} {name}: {error}")

    def _service(self, cluster: Cluster, name: str) -> None:
        made = cluster.create(SERVICES, service(name, self._annotations), self._namespace)
        with self._lock:
            self.admitted += 1
            self.services.append(name)
            if ASSIGNED_IPS_ANNOTATION not in (made["metadata"].get("annotations") or {}):
                self.unattended.append(name)

    def _pool(self, cluster: Cluster, name: str, number: int, serial: int) -> None:
        # Admission learns of a deletion a moment after it, and takes no other pool with these addresses till then.
        network = f"10.{200 + number}.{serial // 16 % 256}.{serial % 16 * 16}"
        document: dict[str, Any] = pool(name, f"{network}/28", autoAssign=False)
        cluster.create(IP_ADDRESS_POOLS, document, DEFAULT_NAMESPACE)
        self._count()
        edit = {"spec": {"addresses": [f"{network}/29"]}}
        cluster.patch(IP_ADDRESS_POOLS, name, edit, DEFAULT_NAMESPACE)
        self._count()
        cluster.delete(IP_ADDRESS_POOLS, name, DEFAULT_NAMESPACE)

    def _count(self) -> None:
        with self._lock:
            self.admitted += 1

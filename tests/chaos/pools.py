"""The pools of a chaos run, and the changes they go through: none of them may cost anybody an address."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress

from allocator.kube.client import AlreadyExists, ApiError, Cluster, NotFound
from allocator.kube.resource import NAMESPACES
from allocator.objects.names import DEFAULT_NAMESPACE, IP_ADDRESS_POOLS, QUOTA_ANNOTATION
from tests.chaos.clients import NAMESPACE
from tests.cluster.installation import pool
from tests.lab.waiting import wait_until

SIZE = 60
NAME = "chaos"

_CHANGE_SECONDS = 60


class Pools:
    """Changes pools as often as it takes: pools are refused while no webhook answers. Used by one thread."""

    lower = f"192.0.2.1-192.0.2.{SIZE // 2}"
    upper = f"192.0.2.{SIZE // 2 + 1}-192.0.2.{SIZE}"

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster

    def widen(self) -> None:
        """Give the first pool all addresses."""
        self._ranges(self.lower, self.upper)

    def narrow(self) -> None:
        """Leave the first pool the lower half; what is in use of the upper half stays with its Services."""
        self._ranges(self.lower)

    def add(self, name: str, addresses: str) -> None:
        """Create a pool."""
        body = pool(name, addresses, reuseDelaySeconds=1, shrinkPolicy="Drain")

        def create() -> None:
            with suppress(AlreadyExists):
                self._cluster.create(IP_ADDRESS_POOLS, body, DEFAULT_NAMESPACE)

        self._insist(create, f"pool {name} is created")

    def remove(self, name: str) -> None:
        """Delete a pool; what is in use of it stays with its Services."""

        def delete() -> None:
            with suppress(NotFound):
                self._cluster.delete(IP_ADDRESS_POOLS, name, DEFAULT_NAMESPACE)

        self._insist(delete, f"pool {name} is deleted")

    def set_quota(self, quota: str | None) -> None:
        """Set or lift the quota of the clients' namespace."""
        change = {"metadata": {"annotations": {QUOTA_ANNOTATION: quota}}}
        self._insist(lambda: self._cluster.patch(NAMESPACES, NAMESPACE, change), f"the quota is {quota}")

    def _ranges(self, *ranges: str) -> None:
        change = {"spec": {"addresses": list(ranges), "shrinkPolicy": "Drain"}}
        self._insist(
            lambda: self._cluster.patch(IP_ADDRESS_POOLS, NAME, change, DEFAULT_NAMESPACE), f"the pool has {ranges}"
        )

    @staticmethod
    def _insist(act: Callable[[], object], what: str) -> None:
        def done() -> bool:
            act()
            return True

        wait_until(done, _CHANGE_SECONDS, what, interval_seconds=0.1, retry_on=(ApiError,))

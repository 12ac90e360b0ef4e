"""What the rules of our kinds need to know of a cluster: live in the webhook, replayed in `lint` and `plan`."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Protocol

from allocator.core.addresses import AddressRange
from allocator.core.claims import Claim
from allocator.core.pool_selection import PoolSelection
from allocator.core.pools import Pool
from allocator.kube.resource import Resource
from allocator.objects.document import Document

ServiceKey = tuple[str, str]
"""A Service's namespace and name."""


class ClusterContext(Protocol):
    """What an object is checked against. Each part is asked for where an answer depends on it, and not otherwise."""

    def pools(self) -> Sequence[Pool]:
        """Return all valid pools, the one under review as stored included."""

    def namespaces(self) -> Mapping[str, Mapping[str, str]]:
        """Return the labels of every namespace by name."""

    def namespace_labels(self, name: str) -> Mapping[str, str]:
        """Return the labels of one namespace."""

    def claims_within(self, owned: AddressRange) -> Iterable[Claim]:
        """Return the claims on addresses of the range."""

    def claims_recorded_for(self, pool: str) -> Iterable[Claim]:
        """Return the claims that name the pool as their address's."""

    def service_labels(self, services: Collection[ServiceKey]) -> Mapping[ServiceKey, Mapping[str, str]]:
        """Return the labels of those of the Services that exist."""

    def selections(self) -> Sequence[PoolSelection]:
        """Return which pools each advertisement selects."""

    def foreign(self) -> Sequence[tuple[str, AddressRange]]:
        """Return what else uses addresses (`node-1's address`, `the Service CIDR`), for warnings."""

    def objects(self, kind: Resource) -> Sequence[Document]:
        """Return the stored objects of a kind that is read in one namespace, the one under review as stored."""

    def expected(self, kind: Resource) -> Sequence[Document]:
        """Return those objects, and the ones that come later in the same input."""

    def nodes(self) -> Mapping[str, Mapping[str, str]]:
        """Return the labels of every node by name; nothing where no node is known."""

    def lacks_secret(self, name: str) -> bool:
        """Return whether it is certain that the install namespace has no Secret of that name."""

"""What objects of a replay are checked against."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from allocator.core.addresses import AddressRange
from allocator.core.claims import Claim
from allocator.core.pool_selection import PoolSelection
from allocator.core.pools import Pool
from allocator.kube.resource import Resource
from allocator.objects.document import Document
from allocator.rules.cluster_context import ClusterContext

if TYPE_CHECKING:
    from allocator.offline.replay import Replay
    from allocator.offline.simulated_services import Key


@dataclass(frozen=True, slots=True)
class ReplayedContext(ClusterContext):
    """The replay as far as it got. Secrets are not asked for."""

    replay: Replay

    def pools(self) -> list[Pool]:
        return self.replay.stored_pools()

    def namespaces(self) -> dict[str, Mapping[str, str]]:
        return self.replay.namespaces()

    def namespace_labels(self, name: str) -> Mapping[str, str]:
        return self.replay.namespace_labels(name)

    def claims_within(self, owned: AddressRange) -> list[Claim]:
        return self.replay.services.ledger.within(owned)

    def claims_recorded_for(self, pool: str) -> list[Claim]:
        return self.replay.services.ledger.recorded_for(pool)

    def service_labels(self, services: Collection[Key]) -> dict[Key, Mapping[str, str]]:
        return self.replay.services.labels(services)

    def selections(self) -> Sequence[PoolSelection]:
        return self.replay.selections()

    def foreign(self) -> Sequence[tuple[str, AddressRange]]:
        return ()

    def objects(self, kind: Resource) -> list[Document]:
        return self.replay.objects(kind)

    def expected(self, kind: Resource) -> list[Document]:
        return self.replay.expected(kind)

    def nodes(self) -> Mapping[str, Mapping[str, str]]:
        return {name: node.labels for name, node in self.replay.nodes.items()}

    def lacks_secret(self, name: str) -> bool:  # noqa: ARG002  it may be made by other means than the input
        return False

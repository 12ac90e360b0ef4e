"""The cluster as the soak has made it, as a value: which addresses have a Service, and who may announce them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace

from tests.soak.bgp.expectation import Hop


@dataclass(frozen=True, slots=True)
class ServiceState:
    """A Service: its addresses, the nodes that have an endpoint, and its policy."""

    addresses: tuple[str, ...]
    endpoints: frozenset[str]
    local: bool = False


@dataclass(frozen=True, slots=True)
class PoolState:
    """A pool with its one advertisement; None chooses all nodes, or peers."""

    nodes: frozenset[str] | None = None
    peers: frozenset[str] | None = None
    services: dict[str, ServiceState] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ClusterState:
    """All of it; `peers` are the BGPPeers that run, by name: the router's address."""

    nodes: frozenset[str]
    peers: dict[str, str]
    pools: dict[str, PoolState] = field(default_factory=dict)
    leaving: frozenset[str] = frozenset()
    ipv4_only: frozenset[str] = frozenset()
    """Routers whose sessions have no IPv6."""

    def hops(self) -> Iterator[Hop]:
        """Yield what each router is to have."""
        for pool in self.pools.values():
            routers = {router for peer, router in self.peers.items() if pool.peers is None or peer in pool.peers}
            chosen = self.nodes if pool.nodes is None else pool.nodes
            for service in pool.services.values():
                if not service.endpoints:
                    continue
                serving = service.endpoints if service.local else self.nodes
                for node in (chosen & serving) - self.leaving:
                    for address in service.addresses:
                        to = routers - self.ipv4_only if ":" in address else routers
                        yield from (Hop(router, node, address) for router in to)

    def with_pool(self, name: str, pool: PoolState | None) -> ClusterState:
        """Return it with another pool, or without."""
        rest = {other: each for other, each in self.pools.items() if other != name}
        return replace(self, pools=rest if pool is None else {**rest, name: pool})

    def with_service(self, pool: str, name: str, service: ServiceState | None) -> ClusterState:
        """Return it with another Service, or without."""
        present = self.pools[pool]
        rest = {other: each for other, each in present.services.items() if other != name}
        services = rest if service is None else {**rest, name: service}
        return self.with_pool(pool, replace(present, services=services))

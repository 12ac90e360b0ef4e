"""Which nodes have an interface in the subnet of an address, as their speakers' Leases say."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from allocator.core.addresses import Address, AddressRange
from allocator.core.pools import Pool
from allocator.objects.document import Document, annotations_of
from allocator.objects.lease import subnets_by_node
from allocator.objects.names import RANKED_BY_SUBNET, SPEAKER_LEASE_PREFIX, SPEAKER_RANKING_ANNOTATION


@dataclass(frozen=True, slots=True)
class SpeakerSubnets:
    """The nodes that a speaker serves, and their subnets; where speakers do not rank by subnet, all are alike."""

    nodes: frozenset[str] = frozenset()
    by_subnet: bool = True
    _nodes_in: Mapping[AddressRange, frozenset[str]] = field(default_factory=dict)

    def inside(self, address: Address) -> frozenset[str]:
        """Return the nodes that have an interface in the address's subnet."""
        if not self.by_subnet:
            return self.nodes
        return frozenset().union(*(nodes for subnet, nodes in self._nodes_in.items() if address in subnet))

    def insides(self, ranges: Iterable[AddressRange]) -> frozenset[frozenset[str]]:
        """Return what `inside` has of the addresses of these ranges, each answer once."""
        return frozenset(self.inside(address) for each in ranges for address in self._one_of_each_part(each))

    def _one_of_each_part(self, part: AddressRange) -> Iterator[Address]:
        starts = {part.first}
        for subnet in self._nodes_in:
            if subnet.overlaps(part):
                starts.update(start for start in (subnet.first, subnet.last + 1) if part.first < start <= part.last)
        return (Address(part.family, start) for start in starts)


def speaker_subnets(leases: Iterable[Document]) -> SpeakerSubnets:
    """Read the Leases of the speakers that serve."""
    leases = list(leases)
    by_node = subnets_by_node(leases)
    nodes_in: dict[AddressRange, set[str]] = {}
    for node, subnets in by_node.items():
        for subnet in subnets:
            nodes_in.setdefault(subnet, set()).add(node)
    rankings = (
        annotations_of(lease).get(SPEAKER_RANKING_ANNOTATION, RANKED_BY_SUBNET)
        for lease in leases
        if lease["metadata"]["name"].removeprefix(SPEAKER_LEASE_PREFIX) in by_node
    )
    return SpeakerSubnets(
        nodes=frozenset(by_node),
        by_subnet=all(ranking == RANKED_BY_SUBNET for ranking in rankings),
        _nodes_in={subnet: frozenset(inside) for subnet, inside in nodes_in.items()},
    )


@dataclass(frozen=True, slots=True)
class PoolSubnets:
    """The nodes that a speaker serves, and by pool, for each part of it in the same subnets, those inside."""

    nodes: frozenset[str] = frozenset()
    inside: Mapping[str, frozenset[frozenset[str]]] = field(default_factory=dict)


def pool_subnets(pools: Iterable[Pool], subnets: SpeakerSubnets) -> PoolSubnets:
    """Return which nodes have an interface in the subnets of each pool's addresses."""
    return PoolSubnets(subnets.nodes, {pool.name: subnets.insides(pool.ranges) for pool in pools})

"""Nodes that announce the same to the same peers, so that it is found out once for all of them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from allocator.bgp.configured import Configured
from allocator.bgp.eligibility import node_reason
from allocator.bgp.inputs import LocalNode, Service


def alike(
    objects: Configured, nodes: Iterable[LocalNode], services: Mapping[str, Service]
) -> Iterator[tuple[LocalNode, list[str]]]:
    """Divide nodes into those for which the same follows: one of them, and the names of all."""
    local = [(key, service.endpoint_nodes) for key, service in services.items() if service.local]
    groups: dict[object, tuple[LocalNode, list[str]]] = {}
    for node in nodes:
        covering = frozenset(name for name, each in objects.advertisements.items() if each.covers_node(node.labels))
        selecting = frozenset(name for name, peer in objects.peers.items() if peer.selects(node.labels))
        served = frozenset(key for key, endpoints in local if node.name in endpoints)
        key = (covering, selecting, node_reason(node), served)
        groups.setdefault(key, (node, []))[1].append(node.name)
    yield from groups.values()

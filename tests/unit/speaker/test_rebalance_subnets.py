"""Nothing is to be moved to a node that speakers would rank behind the one that announces it."""

from __future__ import annotations

from typing import Any

import pytest

from allocator.kube.client import Object
from allocator.kube.resource import ENDPOINT_SLICES_V1, LEASES, NODES, SERVICES, Resource
from allocator.objects.names import IP_ADDRESS_POOLS, IP_ALLOCATIONS, L2_ADVERTISEMENTS
from speaker.rebalance.announcements import read_announcements
from tests.unit.speaker.objects import advertisement, endpoint, endpoint_slice, lease, metadata, node, pool, service


class Api:
    """A cluster of two LANs: node-a and node-b are in that of the addresses, node-c in another."""

    def __init__(self) -> None:
        lan, other = ["192.0.2.0/24"], ["198.51.100.0/24"]
        claims = [{"metadata": metadata("192.0.2.1"), "status": {"announcedBy": {"node": "node-a"}}}]
        self.objects: dict[str, list[Object]] = {
            SERVICES.plural: [service("192.0.2.1")],
            ENDPOINT_SLICES_V1.plural: [endpoint_slice(endpoint("node-a"))],
            NODES.plural: [node("node-a"), node("node-b"), node("node-c")],
            IP_ADDRESS_POOLS.plural: [pool()],
            L2_ADVERTISEMENTS.plural: [advertisement()],
            LEASES.plural: [
                lease("node-a", subnets=lan),
                lease("node-b", subnets=lan),
                lease("node-c", subnets=other),
            ],
            IP_ALLOCATIONS.plural: claims,
        }

    def serves(self, _: Resource) -> bool:
        return True

    def list(self, resource: Resource, _: str | None = None) -> Object:
        return {"items": self.objects[resource.plural]}


@pytest.mark.parametrize(
    ("by_subnet", "nodes"), [(True, {"node-a", "node-b"}), (False, {"node-a", "node-b", "node-c"})]
)
def test_a_node_without_the_addresss_subnet_is_none_of_the_best(by_subnet: bool, nodes: set[str]) -> None:
    api: Any = Api()
    (group,) = read_announcements(api, namespace="metallb-system", lb_class="", by_subnet=by_subnet).groups
    assert group.nodes == nodes

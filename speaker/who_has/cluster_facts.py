"""Asking the API about addresses, and about the nodes that may answer for them."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from contextlib import suppress

from allocator.commands.explanation import pools_from
from allocator.core.addresses import Address, AddressError
from allocator.core.pools import Pool
from allocator.kube.client import Cluster, NotFound, Object
from allocator.kube.resource import LEASES, NODES
from allocator.objects.ip_allocation import claim_from
from allocator.objects.names import IP_ADDRESS_POOLS, IP_ALLOCATIONS
from allocator.rules.unannounced import why_not_announced
from speaker.membership.lease import lease_from
from speaker.who_has.facts import ClusterFacts, Record


def read_facts(cluster: Cluster, addresses: Collection[Address], *, namespace: str) -> ClusterFacts:
    """Ask for these addresses and, where there are none, for the pools. Raises ApiError.

    It needs what a speaker may read: nodes, the installation's Leases and pools, IPAllocations.
    """
    pools: tuple[Pool, ...] = ()
    if not addresses:
        pools = tuple(pools_from(cluster.list(IP_ADDRESS_POOLS, namespace).get("items") or ()))
    return ClusterFacts(
        known=True,
        nodes=dict(_node_addresses(cluster, namespace)),
        records={address: found for address in addresses if (found := _record(cluster, address)) is not None},
        pools=pools,
    )


def _node_addresses(cluster: Cluster, namespace: str) -> Iterator[tuple[Address, str]]:
    """Each node's addresses by its Node, and by its speaker's Lease, which has those of every LAN it is on."""
    for node in cluster.list(NODES).get("items") or ():
        for entry in (node.get("status") or {}).get("addresses") or ():
            with suppress(AddressError):
                yield Address.parse(str(entry.get("address") or "")), node["metadata"]["name"]
    for document in cluster.list(LEASES, namespace).get("items") or ():
        lease = lease_from(document)
        if lease is not None and lease.serving:
            for text in lease.addresses:
                yield Address.parse(text), lease.node


def _record(cluster: Cluster, address: Address) -> Record | None:
    try:
        document: Object = cluster.get(IP_ALLOCATIONS, address.claim_name)
    except NotFound:
        return None
    claim = claim_from(document)
    announced = ((document.get("status") or {}).get("announcedBy") or {}).get("node") or ""
    return Record(
        services=tuple(holder.label for holder in claim.holders) if claim.in_use else (),
        pool=claim.pool,
        announced_by=announced,
        not_announced="" if announced else why_not_announced(document, claim, selections=None, pools={}),
    )

"""What is announced now and could be announced elsewhere as well, as the API has it."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass

from allocator.core.addresses import Address
from allocator.kube.client import Cluster
from allocator.kube.reflector import Change, Key
from allocator.kube.resource import (
    ENDPOINT_SLICES_V1,
    ENDPOINT_SLICES_V1BETA1,
    LEASES,
    NODES,
    SERVICES,
    Resource,
)
from allocator.objects.names import IP_ADDRESS_POOLS, IP_ALLOCATIONS, L2_ADVERTISEMENTS
from speaker.cluster.state import View
from speaker.election.groups import Groups
from speaker.election.inputs import Inputs
from speaker.election.live_candidates import LiveCandidates
from speaker.membership.liveness import Liveness
from speaker.rebalance.spread import Group


@dataclass(frozen=True, slots=True, kw_only=True)
class Announcements:
    """Every group that a node announces, and the Services of each address."""

    groups: tuple[Group, ...]
    services: dict[Address, tuple[Key, ...]]


def read_announcements(cluster: Cluster, *, namespace: str, lb_class: str, by_subnet: bool) -> Announcements:
    """Read the cluster and judge its nodes as its speakers do. Raises ApiError.

    Who is alive is known to the speakers alone: here it is who has a Lease with a speaker's name in it.
    """
    view = View(lb_class=lb_class)
    modern = cluster.serves(ENDPOINT_SLICES_V1)
    for resource, within in (
        (SERVICES, None),
        (ENDPOINT_SLICES_V1 if modern else ENDPOINT_SLICES_V1BETA1, None),
        (NODES, None),
        (IP_ADDRESS_POOLS, namespace),
        (L2_ADVERTISEMENTS, namespace),
        (LEASES, namespace),
    ):
        for change in _listed(cluster, resource, within):
            seen = view.read(change)
            if seen is not None:
                view.apply(seen)
    groups = Groups(view)
    groups.update(view.refresh())
    holders = {
        Address.from_claim_name(claim["metadata"]["name"]): announced["node"]
        for claim in cluster.list(IP_ALLOCATIONS).get("items") or ()
        if (announced := (claim.get("status") or {}).get("announcedBy"))
    }
    serving = view.nodes.serving()
    # All that is known here of a node's interfaces is in its Lease, as to a speaker that hears nobody.
    inputs = Inputs(liveness=Liveness(silent=serving), subnets_by_lease=view.nodes.subnets())
    found = []
    services: dict[Address, tuple[Key, ...]] = {}
    for group in groups.all():
        holding = {holders.get(address) for address in group.addresses}
        holder = holding.pop() if len(holding) == 1 else None
        if holder is None:
            continue
        live = LiveCandidates(group.eligible, group.addresses, None, node="")
        live.refresh(None, inputs, serving, by_subnet=by_subnet)
        best = min(live.order.values(), default=None)
        nodes = frozenset(node for node, merit in live.order.items() if merit == best)
        found.append(Group(addresses=group.addresses, holder=holder, nodes=nodes))
        for address in group.addresses:
            services[address] = tuple(key for key, one in group.services if one == address)
    return Announcements(groups=tuple(found), services=services)


def selected(groups: Collection[Group], *, addresses: Collection[Address], source: str | None) -> list[Group]:
    """Return the groups with one of the addresses, or all where none is named; only those that `source` announces."""
    return [
        group
        for group in groups
        if (not addresses or not set(addresses).isdisjoint(group.addresses)) and source in {None, group.holder}
    ]


def _listed(cluster: Cluster, resource: Resource, namespace: str | None) -> Iterator[Change]:
    for document in cluster.list(resource, namespace).get("items") or ():
        metadata = document["metadata"]
        key = (metadata.get("namespace") or "", metadata["name"])
        yield Change(resource, key, None, document, metadata["resourceVersion"])

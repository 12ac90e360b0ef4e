"""Whether only BGP announces an address, and which nodes are left out of announcing it, in a live cluster."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from allocator.commands.bgp_explanation import BgpFacts
from allocator.core.addresses import Address
from allocator.core.claims import Claim
from allocator.core.pools import Pool
from allocator.core.selectors import Selector
from allocator.objects.document import Document, Problems, labels_of
from allocator.objects.names import BGP_ADVERTISEMENTS
from allocator.objects.node import Node, node_from
from allocator.objects.selectors import selectors_from
from allocator.rules.announcement_coverage import covers_service
from allocator.rules.left_out import NO_SPEAKER, NO_SUBNET, NOT_READY, left_out, without_subnet
from allocator.rules.pool_coverage import selections_of
from allocator.rules.speaker_subnets import SpeakerSubnets, speaker_subnets
from allocator.rules.unannounced import is_covered, origin_of_claim


def only_by_bgp(
    claim: Claim, advertisements: Sequence[Document] | None, bgp: BgpFacts, pools: Mapping[str, Pool]
) -> bool:
    """Return whether BGPAdvertisements cover the address, and no L2Advertisement does."""
    by_bgp = selections_of(bgp.objects.get(BGP_ADVERTISEMENTS, ()))
    on_layer2 = selections_of(advertisements or ())
    return is_covered(claim, by_bgp, pools) and not is_covered(claim, on_layer2, pools)


def nodes_left_out(
    service: Document,
    claim: Claim,
    *,
    advertisements: Iterable[Document],
    pools: Mapping[str, Pool],
    nodes: Iterable[Document],
    leases: Iterable[Document],
    announcements: Iterable[Document],
) -> tuple[tuple[str, str], ...]:
    """Return the nodes that may not announce the address, or only after others, each with the reason.

    Of reasons that only a speaker knows, what its ServiceL2Status says: several nodes in one text.
    """
    origin = origin_of_claim(claim, pools)
    covering = [
        _selectors(one, "nodeSelectors") for one in advertisements if covers_service(one, origin, labels_of(service))
    ]
    if not covering:
        return ()
    read = [node_from(document) for document in nodes]
    found = left_out(read, covering)
    candidates = [node for node in read if node.name not in found]
    found.update(_handicapped(candidates, claim.address, speaker_subnets(leases)))
    reported = [
        (str(entry.get("nodes")), str(entry.get("reason")))
        for announcement in announcements
        for entry in (announcement.get("status") or {}).get("leftOut") or ()
    ]
    known = set(found.values())
    return (*sorted(found.items()), *(entry for entry in reported if entry[1] not in known))


def _handicapped(nodes: Sequence[Node], address: Address, subnets: SpeakerSubnets) -> dict[str, str]:
    """The nodes without a speaker, and those that come after others; not those that all others are like."""
    served = [node for node in nodes if node.name in subnets.nodes]
    outside = without_subnet({node.name for node in served}, subnets.inside(address))
    ready = {node.name for node in served if node.ready}
    reasons = {node.name: NO_SPEAKER for node in nodes if node.name not in subnets.nodes}
    for node in served:
        if node.name in outside:
            reasons[node.name] = NO_SUBNET
        elif ready and not node.ready:
            reasons[node.name] = NOT_READY
    return reasons


def _selectors(advertisement: Document, field: str) -> tuple[Selector, ...]:
    return selectors_from((advertisement.get("spec") or {}).get(field), f"spec.{field}", Problems())

"""Whether this node announces an address by BGP, and by which advertisements: MetalLB's rules in MetalLB's order."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from itertools import combinations

from allocator.bgp.communities import Community
from allocator.bgp.inputs import Advertisement, LocalNode, Service
from allocator.bgp.route_class import Attributes, Contribution
from allocator.core.addresses import Family
from allocator.objects.bgp_community import CommunityError, CommunityValue, resolved
from allocator.objects.names import EXCLUDE_FROM_LB_LABEL


class Reason(StrEnum):
    """Why a node does not announce an address: MetalLB's names (speaker/bgp_controller.go), and ours after them."""

    NOT_OWNER = "notOwner"
    NO_MATCHING_ADVERTISEMENT = "noMatchingAdvertisement"
    CONFLICTING_ADVERTISEMENTS = "conflictingAdvertisements"
    NODE_NETWORK_UNAVAILABLE = "nodeNetworkUnavailable"
    NODE_EXCLUDED = "nodeLabeledExcludeBalancers"
    NO_LOCAL_ENDPOINTS = "noLocalEndpoints"
    NO_ENDPOINTS = "noEndpoints"
    UNKNOWN_COMMUNITY = "unknownCommunity"
    NODE_LEAVING = "nodeLeaving"
    TOO_MANY_COMMUNITIES = "tooManyCommunities"


@dataclass(frozen=True, slots=True)
class Selection:
    """The advertisements that announce an address here as far as pools, labels and nodes decide."""

    advertisements: tuple[tuple[str, int], ...] = ()
    """Their names, and the length of the prefix that each makes of the address."""
    reason: Reason | None = None
    """Why there are none."""
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Readable:
    """An advertisement that covers this node, and what it says of prefixes: nothing yet where it `waits`."""

    advertisement: Advertisement
    contribution: Contribution

    @property
    def waits(self) -> bool:
        """Whether one of its communities is a name that no Community gives."""
        return self.contribution.attributes is None


def readable(advertisement: Advertisement, aliases: Mapping[str, CommunityValue]) -> Readable:
    """Resolve the communities of an advertisement.

    MetalLB freezes all its configuration while an alias is unknown. Here the one advertisement waits, and with it the
    prefixes that it covers, by whatever other advertisement: those that are announced stay as they are, for the name
    may come with the next object, and no other is announced, for without its communities it could go where
    `no-export` was to keep it from.
    """
    communities: set[Community] = set()
    for written in advertisement.communities:
        try:
            community = resolved(written, aliases)
        except CommunityError:
            community = None
        if community is None:
            return Readable(advertisement, Contribution(None, advertisement.peers))
        communities.add(community.parts)
    attributes = Attributes(
        communities=frozenset(communities),
        local_pref=advertisement.local_pref or None,
        med=advertisement.med,
        prepend=advertisement.prepend or None,
    )
    return Readable(advertisement, Contribution(attributes, advertisement.peers))


def selection(
    candidates: Iterable[Readable],
    *,
    family: Family,
    pools: tuple[str, ...],
    pool_labels: Mapping[str, Mapping[str, str]],
    service_labels: Mapping[str, str],
) -> Selection:
    """Choose among the advertisements that cover this node, in MetalLB's order of reasons.

    `pools` are the pools that the address is of; one that is gone has no labels, and only its name selects it.
    """
    of_pool = [each for each in candidates if covers_pools(each.advertisement, pools, pool_labels)]
    if not of_pool:
        return Selection(reason=Reason.NOT_OWNER)
    of_service = [each for each in of_pool if each.advertisement.covers_service(service_labels)]
    if not of_service:
        return Selection(reason=Reason.NO_MATCHING_ADVERTISEMENT)
    contradiction = first_conflict((each.advertisement for each in of_service if not each.waits), family)
    if contradiction is not None:
        one, other = contradiction
        return Selection(reason=Reason.CONFLICTING_ADVERTISEMENTS, detail=f"{one.name}, {other.name}")
    return Selection(
        tuple(sorted((each.advertisement.name, each.advertisement.aggregation(family)) for each in of_service))
    )


def first_conflict(
    advertisements: Iterable[Advertisement], family: Family
) -> tuple[Advertisement, Advertisement] | None:
    """Return two advertisements of one prefix that contradict one another, if there are any."""
    return next((pair for pair in combinations(advertisements, 2) if conflict(*pair, family)), None)


def conflict(one: Advertisement, other: Advertisement, family: Family) -> bool:
    """Return whether two advertisements of one prefix on one node give a peer two local preferences.

    MetalLB (internal/config/config.go BGPAdvertisementsHaveCompatibleLocalPref) compares the lengths of both
    families for a pool of two; each address is judged by its own family here, so that the other goes on.
    """
    if (one.local_pref or 0) == (other.local_pref or 0) or one.aggregation(family) != other.aggregation(family):
        return False
    return not (one.peers and other.peers and one.peers.isdisjoint(other.peers))


def node_reason(node: LocalNode) -> Reason | None:
    """Return what rules this node out for every address, if anything does."""
    if node.network_unavailable:
        return Reason.NODE_NETWORK_UNAVAILABLE
    if node.marked:
        return None
    if EXCLUDE_FROM_LB_LABEL in node.labels:
        return Reason.NODE_EXCLUDED
    return Reason.NODE_LEAVING if node.leaving else None


def endpoint_reason(service: Service, node: LocalNode) -> Reason | None:
    """Return what the endpoints of a Service rule out; one that terminates but still serves counts."""
    if service.local and node.name not in service.endpoint_nodes:
        return Reason.NO_LOCAL_ENDPOINTS
    return None if service.has_endpoints else Reason.NO_ENDPOINTS


def covers_pools(
    advertisement: Advertisement, pools: tuple[str, ...], pool_labels: Mapping[str, Mapping[str, str]]
) -> bool:
    """Return whether an advertisement announces addresses that are of these pools."""
    chosen = advertisement.pools
    for name in pools:
        labels = pool_labels.get(name)
        if labels is None:
            if chosen.everything or name in chosen.names:
                return True
        elif chosen.selects(name, labels):
            return True
    return False

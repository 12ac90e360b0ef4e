"""Why a peer does not get an address from a node: the first step on the way there that fails.

The steps are the ones that `DesiredState` takes, looked at one by one; a property test holds both to the same answer.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

from allocator.bgp.desired import DesiredState
from allocator.bgp.eligibility import (
    Readable,
    Reason,
    covers_pools,
    endpoint_reason,
    first_conflict,
    node_reason,
    readable,
)
from allocator.bgp.inputs import Inputs, Service
from allocator.bgp.routes import routes_of
from allocator.bgp.sessions import NoSession
from allocator.core.addresses import Address
from allocator.core.listing import listed
from allocator.objects.names import EXCLUDE_FROM_LB_LABEL, OUT_OF_SERVICE_TAINT


class Step(StrEnum):
    """The way of an address to a peer, as far as it is decided on the node; in order."""

    POOL = "pool"
    """A BGPAdvertisement selects its pool,"""
    SERVICE = "service"
    """the Service's labels,"""
    ADVERTISED_NODE = "advertised-node"
    """the node,"""
    COMMUNITIES = "communities"
    """all of its communities are known,"""
    CONFLICT = "conflict"
    """no two contradict one another,"""
    ADVERTISED_PEER = "advertised-peer"
    """and it names the peer, or none."""
    NODE = "node"
    """The node may announce,"""
    ENDPOINTS = "endpoints"
    """and has endpoints to serve with, or need not have."""
    SESSION = "session"
    """The node has a session with the peer,"""
    FAMILY = "family"
    """which carries the address's family."""
    TOO_MANY_COMMUNITIES = "too-many-communities"
    """The prefix has not too many communities."""


@dataclass(frozen=True, slots=True)
class Obstacle:
    """The step that fails, and why with the remedy in a clause without a subject."""

    step: str
    why: str


_NODE_REASONS: Mapping[Reason, str] = {
    Reason.NODE_NETWORK_UNAVAILABLE: "the node has the condition NetworkUnavailable",
    Reason.NODE_EXCLUDED: f"the node has the label {EXCLUDE_FROM_LB_LABEL}; remove it to announce from there",
    Reason.NODE_LEAVING: f"the node is leaving: it has the taint {OUT_OF_SERVICE_TAINT}, is being deleted or stops",
}


def obstacle(inputs: Inputs, state: DesiredState, service: str, address: Address, peer: str) -> Obstacle | None:
    """Return why a BGPPeer does not get an address of a Service; None where it does. `state` is that of `inputs`."""
    if any(route.address == address and route.peer == peer for route in routes_of(state, service)):
        # Also where an advertisement waits: what was announced before stays.
        return None
    its = inputs.services[service]
    return (
        _not_advertised(inputs, its, address, peer)
        or _not_eligible(inputs, its)
        or _no_session(inputs, state, peer)
        or _not_carried(inputs, state, service, address, peer)
    )


def reasons_everywhere(
    service: str, address: Address, states: Iterable[tuple[Inputs, DesiredState, Sequence[str]]]
) -> dict[str, tuple[str, ...]]:
    """Return what keeps an address from all peers, and on which nodes; nothing where it is not meant for BGP.

    `states` are those of nodes that are `alike`, with the names of all such.
    """
    found: dict[str, list[str]] = defaultdict(list)
    for inputs, state, nodes in states:
        for peer in inputs.peers:
            keeps = obstacle(inputs, state, service, address, peer)
            if keeps is not None and keeps.step != Step.POOL:
                found[f"to BGPPeer {peer}: {keeps.why}"] += nodes
    return {why: tuple(where) for why, where in found.items()}


def _not_advertised(inputs: Inputs, service: Service, address: Address, peer: str) -> Obstacle | None:
    pools = service.addresses[address]
    of_pool = [each for each in inputs.advertisements.values() if covers_pools(each, pools, inputs.pools)]
    if not of_pool:
        what = f"pool {listed(pools)}" if pools else "its address, which is in no pool"
        return Obstacle(Step.POOL, f"no BGPAdvertisement selects {what}")
    of_service = [each for each in of_pool if each.covers_service(service.labels)]
    if not of_service:
        names = _names(each.name for each in of_pool)
        return Obstacle(Step.SERVICE, f"serviceSelectors of {names} do not match the Service's labels")
    here = [each for each in of_service if each.covers_node(inputs.node.labels)]
    if not here:
        names = _names(each.name for each in of_service)
        return Obstacle(Step.ADVERTISED_NODE, f"nodeSelectors of {names} do not match the node's labels")
    return _not_told([readable(each, inputs.aliases) for each in here], address, peer)


def _not_told(here: Iterable[Readable], address: Address, peer: str) -> Obstacle | None:
    """Say why advertisements that select all but the peer do not reach it."""
    here = list(here)
    known = [each.advertisement for each in here if not each.waits]
    for_peer = [each for each in known if each.peers is None or peer in each.peers]
    waiting = [each.advertisement for each in here if each.waits and each.contribution.reaches(peer)]
    held = {each.aggregation(address.family) for each in waiting}
    if waiting and all(each.aggregation(address.family) in held for each in for_peer):
        return _waits(each.name for each in waiting)
    contradiction = first_conflict(known, address.family)
    if contradiction is not None:
        one, other = contradiction
        why = f"BGPAdvertisements {one.name} and {other.name} give one prefix two values of localPref; make them one"
        return Obstacle(Step.CONFLICT, why)
    if not for_peer:
        return Obstacle(Step.ADVERTISED_PEER, f"peers of {_names(each.name for each in known)} does not name it")
    return None


def _not_eligible(inputs: Inputs, service: Service) -> Obstacle | None:
    reason = node_reason(inputs.node)
    if reason is not None:
        return Obstacle(Step.NODE, _NODE_REASONS[reason])
    reason = endpoint_reason(service, inputs.node)
    if reason is None:
        return None
    if not service.has_endpoints:
        return Obstacle(Step.ENDPOINTS, "the Service has no endpoint that is ready or serving")
    why = "no endpoint of the Service on this node is ready or serving, which externalTrafficPolicy: Local asks for"
    return Obstacle(Step.ENDPOINTS, why)


def _no_session(inputs: Inputs, state: DesiredState, peer: str) -> Obstacle | None:
    if peer in state.sessions.running:
        return None
    refused = state.sessions.refused.get(peer)
    if refused is None or peer not in inputs.peers:
        return Obstacle(Step.SESSION, "there is no such BGPPeer that can be read")
    other = f" (BGPPeer {refused.other})" if refused.other else ""
    if refused.reason is NoSession.NOT_SELECTED:
        return Obstacle(Step.SESSION, "nodeSelectors of the BGPPeer do not match the node's labels")
    return Obstacle(Step.SESSION, f"{refused.reason}{other}")


def _not_carried(inputs: Inputs, state: DesiredState, service: str, address: Address, peer: str) -> Obstacle:
    if address.family not in inputs.peers[peer].families:
        why = f"the session carries no {address.family}; set dualStackAddressFamily, or add a peer of that family"
        return Obstacle(Step.FAMILY, why)
    if waiting := state.waiting_for(service, address, peer):
        return _waits(waiting)
    return Obstacle(Step.TOO_MANY_COMMUNITIES, "the prefix would have more than 63 communities; remove some")


def _waits(advertisements: Iterable[str]) -> Obstacle:
    why = (
        f"no Community gives a name that communities of {_names(advertisements)} use: until one does, the prefix "
        "stays as it is, announced with what it had before or not at all"
    )
    return Obstacle(Step.COMMUNITIES, why)


def _names(advertisements: Iterable[str]) -> str:
    return f"BGPAdvertisement {listed(sorted(advertisements))}"

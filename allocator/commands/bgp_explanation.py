"""Why each router has an address from each node, or has not: the chain from the Service to the router's table.

The first part is what nodes decide (`allocator.bgp.obstacles`), the second what they report of their sessions.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Any

from allocator.bgp.configured import Configured, configured
from allocator.bgp.desired import desired_state
from allocator.bgp.inputs import Inputs, Service
from allocator.bgp.object_values import node_value
from allocator.bgp.obstacles import Obstacle, Step, obstacle
from allocator.bgp.route_class import Prefix, prefix_of
from allocator.bgp.routes import Route, routes_of
from allocator.bgp.served_services import services_of
from allocator.core.addresses import Address, Family
from allocator.core.pools import Pool
from allocator.kube.resource import Resource
from allocator.objects.bgp_node_status import BgpNodeStatus, SessionEntry, SessionStatus, node_status_from
from allocator.objects.document import Document
from allocator.objects.node import node_from


class LiveStep(StrEnum):
    """The way of a prefix from what a node decides to the router; in order, after `allocator.bgp.obstacles.Step`."""

    SPEAKER = "speaker"
    """The node's speaker reports,"""
    FRR = "frr"
    """FRR has the session,"""
    ESTABLISHED = "established"
    """it is up,"""
    AGREED = "agreed"
    """the router has agreed on the family,"""
    SENT = "sent"
    """and was sent all that it is to have."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BgpFacts:
    """What the cluster holds that bears on announcing a Service by BGP.

    `services` and `slices` are those of Services that may be in one prefix with it, its own included.
    """

    objects: Mapping[Resource, Sequence[Document]]
    """By kind, those in `names.BGP_KINDS`."""
    statuses: Sequence[Document] = ()
    """The BGPNodeStatuses."""
    services: Sequence[Document] = ()
    slices: Sequence[Document] = ()
    silent_since: Mapping[str, str] = field(default_factory=dict)
    """Since when the speakers of these nodes have not renewed their Leases."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BgpOutcome:
    """What becomes of an address from a node to a BGPPeer: `route` where it is announced, else the step that fails.

    Of a route `obstacle` is what keeps it from the router, if anything does. Advertisements of several lengths make
    several routes, each with an outcome of its own.
    """

    node: str
    peer: str
    address: Address
    route: Route | None = None
    obstacle: Obstacle | None = None
    since: str = field(default="", compare=False)
    """Since when the session is up."""
    silent_since: str = ""
    """Since when the node's speaker is not heard of: what it reported is of then. Empty while it is."""

    @property
    def reaches(self) -> bool:
        """Whether the router has it, as far as the node knows."""
        return self.obstacle is None

    def as_json(self) -> dict[str, Any]:
        """Return the JSON output."""
        route = self.route.as_json() if self.route is not None else {}
        told = {name: value for name, value in route.items() if name not in ("service", "ip", "peer")}
        return {
            "node": self.node,
            "peer": self.peer,
            "advertised": self.reaches,
            "step": str(self.obstacle.step) if self.obstacle is not None else "",
            "why": self.obstacle.why if self.obstacle is not None else "",
            "since": self.since,
            "silentSince": self.silent_since,
            **told,
        }


def bgp_outcomes(
    service: Document, facts: BgpFacts, *, pools: Mapping[str, Pool], nodes: Sequence[Document], lb_class: str = ""
) -> list[BgpOutcome]:
    """Return, for each address, node and BGPPeer, what becomes of it; nothing where there is no BGPPeer."""
    objects = configured(facts.objects, pools.values())
    services = services_of([service, *facts.services], facts.slices, pools, lb_class)
    metadata = service["metadata"]
    key = f"{metadata['namespace']}/{metadata['name']}"
    if key not in services or not objects.peers:
        return []
    beside = _beside(key, services, objects)
    statuses = {one.node: one for one in map(node_status_from, facts.statuses)}
    return [
        replace(outcome, silent_since=facts.silent_since.get(node.name, ""))
        for node in map(node_from, nodes)
        for outcome in on_node(objects.on(node_value(node), beside), key, statuses)
    ]


def live_obstacle(status: BgpNodeStatus | None, peer: str, family: Family) -> Obstacle | None:
    """Return what keeps a prefix that a node announces from a router, by what the node's speaker reports."""
    if status is None:
        why = "the node's speaker reports no BGP: it does not run, or runs without --frr-sockets"
        return Obstacle(LiveStep.SPEAKER, why)
    entry = status.session(peer)
    if entry is None:
        return Obstacle(LiveStep.FRR, f"FRR does not have the session yet{_remark(status.message)}")
    if not entry.up:
        return _not_up(entry, status)
    if not entry.wanted and status.message:
        # What only the speaker knows: it leaves when cordoned, or waits for kube-proxy before it comes back.
        return Obstacle(Step.NODE, f"the node announces nothing to it{_remark(status.message)}")
    if entry.families and family.value not in entry.families:
        return Obstacle(LiveStep.AGREED, f"the router has not agreed on {family}; activate that family there")
    if entry.sent < entry.wanted:
        why = f"{entry.sent} of {entry.wanted} prefixes were sent{_remark(status.message)}"
        return Obstacle(LiveStep.SENT, why)
    return None


def _not_up(entry: SessionEntry, status: BgpNodeStatus) -> Obstacle:
    match entry.state:
        case SessionStatus.SHUTDOWN:
            return Obstacle(LiveStep.FRR, "spec.shutdown of the BGPPeer keeps the session from being made")
        case SessionStatus.REFUSED | SessionStatus.IN_USE:
            return Obstacle(LiveStep.FRR, entry.message or "there is no session")
        case _:
            bfd = f"; its BFD session is {entry.bfd}" if entry.bfd and entry.bfd.lower() != "up" else ""
            since = f" since {entry.since}" if entry.since else ""
            why = f"{entry.message or 'not connected'}{since}{bfd}{_remark(status.message)}"
            return Obstacle(LiveStep.FRR if entry.rejected else LiveStep.ESTABLISHED, why)


def _remark(message: str) -> str:
    return f" ({message})" if message else ""


def on_node(inputs: Inputs, key: str, statuses: Mapping[str, BgpNodeStatus]) -> Iterator[BgpOutcome]:
    """Yield what becomes of the addresses of a Service of these inputs on their node, peer by peer."""
    state = desired_state(inputs)
    routes: dict[tuple[Address, str], list[Route]] = {}
    for route in routes_of(state, key):
        routes.setdefault((route.address, route.peer), []).append(route)
    status = statuses.get(inputs.node.name)
    for address in inputs.services[key].addresses:
        for peer in inputs.peers:
            entry = status.session(peer) if status is not None else None
            outcome = BgpOutcome(
                node=inputs.node.name,
                peer=peer,
                address=address,
                obstacle=obstacle(inputs, state, key, address, peer) or live_obstacle(status, peer, address.family),
                since=entry.since if entry is not None and entry.up else "",
            )
            for each in routes.get((address, peer), (None,)):
                yield replace(outcome, route=each)


def _beside(key: str, services: Mapping[str, Service], objects: Configured) -> dict[str, Service]:
    """Return the Services that may be in one prefix with it: what others say of a prefix counts for all in it."""
    lengths = {
        family: min((each.aggregation(family) for each in objects.advertisements.values()), default=family.bits)
        for family in Family
    }

    def widest(service: Service) -> set[Prefix]:
        return {prefix_of(address, lengths[address.family]) for address in service.addresses}

    mine = widest(services[key])
    return {name: service for name, service in services.items() if not mine.isdisjoint(widest(service))}

"""What BGP makes of a replay: which prefixes each peer gets from which nodes, and which sessions a change resets.

All by the functions that the speaker calls. Where a plan cannot know better, endpoints are ready on every node and
Secrets are there.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from allocator.bgp.alike import alike
from allocator.bgp.changes import changes
from allocator.bgp.configured import Configured, configured
from allocator.bgp.desired import Desired, desired_state
from allocator.bgp.inputs import LocalNode, Peer, Service
from allocator.bgp.object_values import node_value, service_value
from allocator.bgp.obstacles import reasons_everywhere
from allocator.bgp.rendering import render
from allocator.bgp.routes import Route, routes_of
from allocator.bgp.sessions import sessions
from allocator.core.addresses import Address
from allocator.objects import names
from allocator.objects.announced_service import service_from
from allocator.objects.endpoint_slice import Serving
from allocator.offline.replay import Replay
from allocator.offline.sample_nodes import sample_nodes

Nodes = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class ReplayedBgp:
    """What of a replay bears on BGP, as it was at one moment. `nodes` is empty where the input has none."""

    objects: Configured
    services: Mapping[str, Service]
    nodes: tuple[LocalNode, ...]


@dataclass(frozen=True, slots=True)
class NotAnnounced:
    """An address whose pool an advertisement selects and that no peer gets, and why, by what keeps it."""

    service: str
    address: Address
    reasons: Mapping[str, Nodes]

    def as_json(self) -> dict[str, Any]:
        """Return the JSON output."""
        reasons = [{"reason": reason, "nodes": list(nodes)} for reason, nodes in self.reasons.items()]
        return {"service": self.service, "ip": str(self.address), "reasons": reasons}


@dataclass(frozen=True, slots=True)
class SessionChange:
    """What becomes of the sessions with a peer on some nodes: `new`, `reset` or `removed`, and why."""

    peer: str
    change: str
    reason: str
    nodes: Nodes

    def as_json(self) -> dict[str, Any]:
        """Return the JSON output."""
        return {"peer": self.peer, "change": self.change, "reason": self.reason, "nodes": list(self.nodes)}


@dataclass(frozen=True, slots=True, kw_only=True)
class BgpPlan:
    """What all nodes announce. Nodes are named by their labels where `nodes_known` is false."""

    nodes_known: bool
    routes: Mapping[Route, Nodes]
    not_announced: tuple[NotAnnounced, ...]


def replayed_bgp(replay: Replay, *, lb_class: str) -> ReplayedBgp:
    """Return what bears on BGP now; the replay may go on."""
    pools = {pool.name: pool for pool in replay.pools()}
    everywhere = Serving(True, frozenset(replay.nodes))
    services = {}
    for (namespace, name), state in replay.services:
        service = service_from(state.stored, lb_class=lb_class) if state.stored is not None else None
        if service is not None:
            services[f"{namespace}/{name}"] = service_value(service, pools=pools, serving=everywhere)
    return ReplayedBgp(
        configured({kind: replay.objects(kind) for kind in names.BGP_KINDS}, pools.values()),
        services,
        tuple(map(node_value, replay.nodes.values())),
    )


def bgp_plan(replayed: ReplayedBgp, nodes: Sequence[LocalNode]) -> BgpPlan:
    """Return what these nodes announce, which are the replay's, or `sample_nodes` where it has none."""
    on_nodes: dict[Route, list[str]] = defaultdict(list)
    states = []
    for node, group in alike(replayed.objects, nodes, {}):
        inputs = replayed.objects.on(node, _served_on(node, replayed.services))
        state = desired_state(inputs)
        states.append((inputs, state, group))
        for key in inputs.services:
            for route in routes_of(state, key):
                on_nodes[route] += group
    announced = {(route.service, route.address) for route in on_nodes}
    lacking = [
        (key, address)
        for key, service in replayed.services.items()
        for address in service.addresses
        if (key, address) not in announced
    ]
    return BgpPlan(
        nodes_known=bool(replayed.nodes),
        routes={route: tuple(found) for route, found in on_nodes.items()},
        not_announced=tuple(
            NotAnnounced(key, address, reasons)
            for key, address in lacking
            if (reasons := reasons_everywhere(key, address, states))
        ),
    )


def session_changes(before: Configured, after: Configured, nodes: Iterable[LocalNode]) -> list[SessionChange]:
    """Return what becomes of the sessions on these nodes, by the commands that FRR would be sent."""
    found: dict[tuple[str, str, str], list[str]] = defaultdict(list)
    for node in nodes:
        for change in _changed_on(before, after, node):
            found[change].append(node.name)
    return [SessionChange(*change, tuple(where)) for change, where in sorted(found.items())]


def route_changes(before: BgpPlan, after: BgpPlan) -> Iterator[tuple[str, Route, Nodes]]:
    """Yield what routers get anew (`added`) and lose (`removed`); another attribute is one of each."""
    for change, one, other in (("removed", after, before), ("added", before, after)):
        for route, nodes in other.routes.items():
            there = set(one.routes.get(route, ()))
            if differ := tuple(node for node in nodes if node not in there):
                yield change, route, differ


def nodes_for(*replayed: ReplayedBgp) -> list[LocalNode]:
    """Return the nodes to plan for."""
    known = {node.name: node for each in replayed for node in each.nodes}
    return list(known.values()) or sample_nodes(*(each.objects for each in replayed))


def _served_on(node: LocalNode, services: Mapping[str, Service]) -> Mapping[str, Service]:
    """Of a node that was made up the Services do not know that they are served there."""
    if all(node.name in service.endpoint_nodes for service in services.values()):
        return services
    return {key: replace(service, endpoint_nodes=frozenset({node.name})) for key, service in services.items()}


def _changed_on(before: Configured, after: Configured, node: LocalNode) -> Iterator[tuple[str, str, str]]:
    """Yield peer, change and reason."""
    present, wanted = (sessions(each.peers.values(), node).running for each in (before, after))
    if present == wanted and before.profiles == after.profiles:
        return
    old, new = _by_neighbor(present), _by_neighbor(wanted)
    commands = changes(render(Desired(present, before.profiles)), render(Desired(wanted, after.profiles)))
    for reset in dict.fromkeys(reset for command in commands for reset in command.resets):
        neighbor = (reset.vrf, reset.neighbor)
        change = "reset" if neighbor in new else "removed"
        reason = reset.reason if change == "reset" else ""
        yield old[neighbor].name, change, reason
    for neighbor in new.keys() - old.keys():
        yield new[neighbor].name, "new", ""


def _by_neighbor(running: Mapping[str, Peer]) -> dict[tuple[str, str], Peer]:
    return {(peer.vrf, peer.id): peer for peer in running.values()}

"""Does every router have what it is to have, from every node that may announce it?"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import islice

from allocator.bgp.alike import alike
from allocator.bgp.configured import configured
from allocator.bgp.desired import DesiredState, desired_state
from allocator.bgp.inputs import Inputs, Service
from allocator.bgp.object_values import node_value
from allocator.bgp.obstacles import reasons_everywhere
from allocator.bgp.routes import routes_of
from allocator.bgp.served_services import services_of
from allocator.core.addresses import Address
from allocator.core.listing import listed
from allocator.doctor.facts import Facts
from allocator.doctor.finding import Finding, error, warning
from allocator.kube.resource import ENDPOINT_SLICES_V1, NODES, SERVICES
from allocator.objects import names
from allocator.objects.bgp_node_status import BgpNodeStatus, SessionEntry, SessionStatus, node_status_from
from allocator.objects.node import node_from
from allocator.rules import configuration

_MOST_KINDS = 20
"""Of nodes that announce differently, as each does with `externalTrafficPolicy: Local`, so many are looked at."""

_States = Sequence[tuple[Inputs, DesiredState, Sequence[str]]]


def check_bgp_routes(facts: Facts) -> Iterator[Finding]:
    """Find addresses that no router gets, nodes that announce otherwise than objects say, and prefixes not sent."""
    statuses = {status.node: status for status in map(node_status_from, facts.installed(names.BGP_NODE_STATUSES))}
    if not statuses:
        return
    pools = configuration.read(facts.installed(names.IP_ADDRESS_POOLS), {}).sound_pools()
    objects = configured({kind: facts.installed(kind) for kind in names.BGP_KINDS}, pools.values())
    services = services_of(facts.all(SERVICES), facts.all(ENDPOINT_SLICES_V1), pools, facts.lb_class)
    nodes = [node_value(node_from(one)) for one in facts.all(NODES)]
    groups = list(alike(objects, nodes, services))
    states = [
        (inputs, desired_state(inputs), group)
        for inputs, group in ((objects.on(node, services), group) for node, group in islice(groups, _MOST_KINDS))
    ]
    yield from _differing(states, statuses)
    if len(states) == len(groups):
        yield from _unannounced(states, services)


def _differing(states: _States, statuses: Mapping[str, BgpNodeStatus]) -> Iterator[Finding]:
    behind: dict[tuple[str, str], list[str]] = {}
    for _, state, group in states:
        wanted = _wanted(state)
        for node in group:
            status = statuses.get(node)
            # What keeps a node from having all is found by the check of the sessions.
            for entry in status.sessions if status is not None and not status.message else ():
                for why in _lacks(entry, wanted.get(entry.peer)):
                    behind.setdefault((entry.peer, why), []).append(node)
    for (peer, why), on in sorted(behind.items()):
        yield warning(
            f"BGPPeer {peer}",
            f"{why}, on {listed(sorted(on))}; if it stays so",
            "kubectl admitlb explain NAMESPACE/NAME",
        )


def _lacks(entry: SessionEntry, wanted: int | None) -> Iterator[str]:
    none = (SessionStatus.REFUSED, SessionStatus.IN_USE, SessionStatus.SHUTDOWN)
    if wanted is None or entry.state in none or entry.rejected:
        return
    if entry.wanted != wanted:
        yield f"its speakers announce {entry.wanted} prefixes, and the cluster's objects come to {wanted}"
    elif entry.up and entry.sent < entry.wanted:
        yield f"{entry.sent} of {entry.wanted} prefixes were sent"


def _wanted(state: DesiredState) -> dict[str, int]:
    """Return, for each session, how many prefixes it is to carry."""
    return {
        name: sum(
            prefix.family in peer.families and route_class.for_peer(name) is not None
            for prefix, route_class in state.prefixes.items()
        )
        for name, peer in state.sessions.running.items()
    }


def _unannounced(states: _States, services: Mapping[str, Service]) -> Iterator[Finding]:
    announced: set[tuple[str, Address]] = set()
    for _, state, _ in states:
        announced |= {(key, route.address) for key in services for route in routes_of(state, key)}
    for key, service in services.items():
        # Without endpoints there is nothing to announce, which is for the Service's owner to fix.
        for address in service.addresses if service.has_endpoints else ():
            if (key, address) in announced:
                continue
            if reasons := reasons_everywhere(key, address, states):
                why_not = "; ".join(
                    f"{why}, on {listed(sorted(on))}" for why, on in islice(sorted(reasons.items()), 2)
                )
                yield error(
                    f"Service {key}", f"{address} goes to no router: {why_not}", f"kubectl admitlb explain {key}"
                )

"""`admitlb bgp`: the sessions of all nodes as they report them, and the prefixes that each router gets."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import click

from allocator.bgp.alike import alike
from allocator.bgp.configured import Configured
from allocator.bgp.desired import desired_state
from allocator.bgp.inputs import LocalNode, Service
from allocator.bgp.route_class import Attributes, Prefix
from allocator.bgp.routes import attributes_text, routes_of
from allocator.commands.bgp_explanation import live_obstacle
from allocator.commands.live import age
from allocator.commands.printable import printable
from allocator.commands.tables import print_table
from allocator.core.listing import listed
from allocator.objects.bgp_node_status import BgpNodeStatus, SessionEntry, SessionStatus

if TYPE_CHECKING:
    from allocator.bgp.obstacles import Obstacle

_STYLES = {SessionStatus.ESTABLISHED: "green", SessionStatus.SHUTDOWN: "dim"}


@dataclass(frozen=True, slots=True)
class LiveRoute:
    """One prefix to one peer with these attributes, for which Services, and the nodes it comes from.

    `held_up` are the nodes that announce it and from which it does not get there, each with the reason.
    """

    prefix: Prefix
    peer: str
    attributes: Attributes
    services: tuple[str, ...]
    nodes: tuple[str, ...]
    held_up: tuple[tuple[str, Obstacle], ...]

    def as_json(self) -> dict[str, Any]:
        """Return the JSON output."""
        return {
            "prefix": str(self.prefix),
            "peer": self.peer,
            "attributes": attributes_text(self.attributes),
            "services": list(self.services),
            "nodes": list(self.nodes),
            "heldUp": [{"node": node, "step": str(why.step), "why": why.why} for node, why in self.held_up],
        }


def live_routes(
    objects: Configured,
    services: Mapping[str, Service],
    nodes: Sequence[LocalNode],
    statuses: Mapping[str, BgpNodeStatus],
) -> list[LiveRoute]:
    """Return what all nodes announce, in order of prefix and peer."""
    users: dict[tuple[Prefix, str, Attributes], set[str]] = defaultdict(set)
    announcing: dict[tuple[Prefix, str, Attributes], set[str]] = defaultdict(set)
    for node, names in alike(objects, nodes, services):
        state = desired_state(objects.on(node, services))
        for key in services:
            for route in routes_of(state, key):
                what = (route.prefix, route.peer, route.attributes)
                users[what].add(key)
                announcing[what].update(names)
    found = []
    for what in sorted(users, key=lambda one: (one[0], one[1], attributes_text(one[2]))):
        prefix, peer, attributes = what
        obstacles = {
            node: live_obstacle(statuses.get(node), peer, prefix.family) for node in sorted(announcing[what])
        }
        found.append(
            LiveRoute(
                prefix,
                peer,
                attributes,
                tuple(sorted(users[what])),
                tuple(node for node, obstacle in obstacles.items() if obstacle is None),
                tuple((node, obstacle) for node, obstacle in obstacles.items() if obstacle is not None),
            )
        )
    return found


def show(
    statuses: Sequence[BgpNodeStatus],
    routes: Sequence[LiveRoute] | None,
    *,
    output: str,
    peer: str,
    silent: Mapping[str, str] = MappingProxyType({}),
) -> None:
    """Print it: of one peer alone where `peer` names one; routes where they were asked for.

    `silent` has the nodes whose speakers have stopped renewing their Leases, and since when.
    """
    sessions = [(status, entry) for status in statuses for entry in status.sessions if peer in ("", entry.peer)]
    if output == "json":
        answer: dict[str, Any] = {
            "nodes": [
                {
                    "node": one.node,
                    "frr": one.frr_version,
                    "established": one.established,
                    "prefixes": one.prefixes,
                    "message": one.message,
                    "silentSince": silent.get(one.node, ""),
                }
                for one in statuses
            ],
            "sessions": [{"node": status.node, **entry.as_document()} for status, entry in sessions],
        }
        if routes is not None:
            answer["routes"] = [each.as_json() for each in routes if peer in ("", each.peer)]
        click.echo(json.dumps(answer, indent=2))
        return
    rows = [_session_row(status.node, entry) for status, entry in sessions]
    header = ("NODE", "PEER", "NEIGHBOR", "STATE", "FOR", "FAMILIES", "BFD", "SENT", "MESSAGE")
    print_table(header, rows, [_style(entry.state) for _, entry in sessions], styled=(3,))
    for line in _remarks(statuses, silent):
        click.echo(printable(line))
    if routes is not None:
        click.echo()
        _print_routes([each for each in routes if peer in ("", each.peer)])


def _session_row(node: str, entry: SessionEntry) -> tuple[str, ...]:
    vrf = f"{entry.neighbor}@{entry.vrf}" if entry.vrf else entry.neighbor
    return (
        node,
        entry.peer,
        vrf or "-",
        entry.state,
        age(entry.since) or "-",
        ",".join(entry.families) or "-",
        entry.bfd or "-",
        f"{entry.sent}/{entry.wanted}",
        entry.message or "-",
    )


def _style(state: str) -> str:
    return next((style for known, style in _STYLES.items() if known == state), "yellow")


def _remarks(statuses: Iterable[BgpNodeStatus], silent: Mapping[str, str]) -> Iterator[str]:
    for status in statuses:
        if status.node in silent:
            yield f"{status.node}: as reported before {silent[status.node]}: its speaker is silent since"
        if status.message:
            yield f"{status.node}: {status.message}"


def _print_routes(routes: Sequence[LiveRoute]) -> None:
    if not routes:
        click.echo("No node announces a prefix.")
        return
    rows = [
        (
            str(each.prefix),
            each.peer,
            listed(each.nodes) or "-",
            listed(f"{node} ({why.step})" for node, why in each.held_up) or "-",
            attributes_text(each.attributes) or "-",
            listed(each.services),
        )
        for each in routes
    ]
    styles = ["yellow" if each.held_up else "green" for each in routes]
    print_table(("PREFIX", "PEER", "FROM", "HELD UP", "ATTRIBUTES", "SERVICES"), rows, styles, styled=(2, 3))

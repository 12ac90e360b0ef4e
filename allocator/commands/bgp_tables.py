"""A plan of BGP in print: as JSON, and as tables."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import click

from allocator.bgp.routes import Route, attributes_text
from allocator.commands.printable import printable
from allocator.commands.tables import print_table
from allocator.core.listing import listed
from allocator.offline.bgp_plan import BgpPlan, Nodes, SessionChange

_SIGNS = {"added": "+", "removed": "-"}
_STYLES = {"added": "green", "removed": "red", "new": "green", "reset": "yellow"}
_ANY = "any"
"""How a node without labels is called that was made up."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BgpChanges:
    """What is different from an earlier state."""

    routes: Sequence[tuple[str, Route, Nodes]]
    sessions: Sequence[SessionChange]


def bgp_as_json(plan: BgpPlan, changes: BgpChanges | None) -> dict[str, Any]:
    """Return the `bgp` of the JSON output; `changes` are in it where there is something to compare with."""
    answer: dict[str, Any] = {
        "nodesKnown": plan.nodes_known,
        "routes": [{**route.as_json(), "nodes": list(nodes)} for route, nodes in plan.routes.items()],
        "notAnnounced": [each.as_json() for each in plan.not_announced],
    }
    if changes is not None:
        answer["changes"] = [
            {"change": change, **route.as_json(), "nodes": list(nodes)} for change, route, nodes in changes.routes
        ]
        answer["sessions"] = [each.as_json() for each in changes.sessions]
    return answer


def print_bgp(plan: BgpPlan, changes: BgpChanges | None) -> None:
    """Print what peers get, or with `changes` what becomes different; nothing where there is nothing of it."""
    if changes is None:
        _section("Routes", _route_rows(("", route, nodes) for route, nodes in plan.routes.items()), plan)
    else:
        _section("Routes that change", _route_rows(changes.routes), plan)
        sessions = [(each.change, each.peer, _where(each.nodes), each.reason) for each in changes.sessions]
        if sessions:
            click.echo("\nSessions that change:")
            styles = [_STYLES.get(each.change, "red") for each in changes.sessions]
            print_table(("CHANGE", "PEER", "NODES", "WHY"), sessions, styles, styled=(0,))
    for lacking in plan.not_announced:
        click.echo(f"\n{printable(lacking.service)}: {lacking.address} is announced to no BGPPeer:")
        for reason, nodes in lacking.reasons.items():
            click.echo(f"  {printable(f'{_where(nodes)}: {reason}')}")


def _section(title: str, rows: list[tuple[str, ...]], plan: BgpPlan) -> None:
    if not rows:
        return
    assumed = "" if plan.nodes_known else "; no Node is in the input, so that nodes are named by labels asked for"
    click.echo(f"\n{title} (endpoints on every node{assumed}):")
    styles = [next((style for change, style in _STYLES.items() if _SIGNS.get(change) == row[0]), "") for row in rows]
    print_table(("", "SERVICE", "PREFIX", "PEER", "NODES", "ATTRIBUTES"), rows, styles, styled=(0, 2))


def _route_rows(routes: Iterable[tuple[str, Route, Nodes]]) -> list[tuple[str, ...]]:
    return [
        (
            _SIGNS.get(change, ""),
            route.service,
            str(route.prefix),
            route.peer,
            _where(nodes),
            attributes_text(route.attributes) or "-",
        )
        for change, route, nodes in routes
    ]


def _where(nodes: Iterable[str]) -> str:
    return listed([node or _ANY for node in nodes])

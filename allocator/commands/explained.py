"""An explanation on a terminal: one table an aspect, the state in its colour, nothing that need be read twice."""

from __future__ import annotations

from typing import TYPE_CHECKING

from allocator.commands.bgp_lines import grouped_outcomes
from allocator.commands.explanation import Explanation, HeldAddress, last_seen
from allocator.commands.live import age
from allocator.offline.plan_result import State
from allocator.rules.left_out import summary

if TYPE_CHECKING:
    from rich.console import Console, Group
    from rich.table import Table

_STATES = {State.ASSIGNED: "bold green", State.PENDING: "bold yellow", State.IGNORED: "dim"}
_CONDITIONS = {"True": "green", "False": "yellow"}
_NOBODY = "nobody, as far as the API shows"


def show(found: Explanation, console: Console) -> None:
    """Print the explanation on a terminal."""
    from rich.panel import Panel  # noqa: PLC0415
    from rich.text import Text  # noqa: PLC0415

    state = Text(str(found.state), style=_STATES.get(found.state, ""))
    title = Text.assemble((f"{found.namespace}/{found.name}", "bold"), "  ", state)
    console.print(Panel(_body(found), title=title, title_align="left", border_style="dim", expand=False))


def _body(found: Explanation) -> Group:
    from rich.console import Group  # noqa: PLC0415
    from rich.text import Text  # noqa: PLC0415

    parts: list[Text | Table] = [Text(found.message, style=_STATES[State.PENDING])] if found.message else []
    for table in (
        _addresses(found),
        _bgp(found),
        _left_out(found),
        _considered(found),
        _conditions(found),
        _events(found),
    ):
        if table.row_count:
            parts += [Text(""), table] if parts else [table]
    return Group(*parts)


def _addresses(found: Explanation) -> Table:
    from rich.text import Text  # noqa: PLC0415

    table = _table("ADDRESS", "POOL", "STATE", "FOR", "ANNOUNCED BY", "ON", "FOR", "SHARED WITH")
    for held in found.addresses:
        node, style = (held.node, "green") if held.node else (held.not_announced or _NOBODY, "yellow")
        if not held.layer2:
            node, style = "by BGP only", ""
        cells = (*_announced(held), ", ".join(held.sharers))
        table.add_row(held.ip, held.pool, held.state, age(held.since), Text(node, style=style), *cells)
    return table


def _announced(held: HeldAddress) -> tuple[str, str]:
    return (", ".join(held.interfaces) or "all interfaces", age(held.announced_since)) if held.node else ("", "")


def _bgp(found: Explanation) -> Table:
    from rich.text import Text  # noqa: PLC0415

    table = _table("ADDRESS", "NODES", "BGPPEER", "BGP")
    for held in found.addresses:
        for reaches, (nodes, peer, what) in grouped_outcomes(held.bgp):
            table.add_row(held.ip, nodes, peer, Text(what, style="green" if reaches else "yellow"))
    return table


def _left_out(found: Explanation) -> Table:
    from rich.text import Text  # noqa: PLC0415

    table = _table("ADDRESS", "LEFT OUT")
    for held in found.addresses:
        if held.left_out:
            table.add_row(held.ip, Text(summary(dict(held.left_out))))
    return table


def _considered(found: Explanation) -> Table:
    from rich.text import Text  # noqa: PLC0415

    table = _table("POOL CONSIDERED", "OUTCOME")
    for pool, reason in found.considered:
        table.add_row(pool, Text(reason))
    return table


def _conditions(found: Explanation) -> Table:
    from rich.text import Text  # noqa: PLC0415

    table = _table("CONDITION", "STATUS", "REASON", "MESSAGE")
    for one in found.conditions:
        status = str(one.get("status", ""))
        shown = Text(status, style=_CONDITIONS.get(status, ""))
        table.add_row(str(one.get("type", "")), shown, str(one.get("reason", "")), Text(str(one.get("message", ""))))
    return table


def _events(found: Explanation) -> Table:
    from rich.text import Text  # noqa: PLC0415

    table = _table("AGO", "EVENT", "MESSAGE")
    for one in found.events:
        reason = Text(str(one.get("reason", "")), style="yellow" if one.get("type") == "Warning" else "")
        table.add_row(age(last_seen(one)), reason, Text(str(one.get("message", ""))))
    return table


def _table(*titles: str) -> Table:
    from rich.table import Table  # noqa: PLC0415

    table = Table(box=None, pad_edge=False, header_style="dim")
    for title in titles:
        table.add_column(title, overflow="fold", no_wrap=title in ("ADDRESS", "POOL", "STATE", "AGO", "FOR"))
    return table

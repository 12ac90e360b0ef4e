"""An explanation on a terminal: one table an aspect, the state in its colour, nothing that need be read twice."""

from __future__ import annotations

from typing import TYPE_CHECKING

from allocator.commands.bgp_lines import grouped_outcomes
from allocator.commands.explanation import Explanation, HeldAddress, last_seen
from allocator.commands.live import age
from allocator.commands.printable import printable
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
    title = Text.assemble((printable(f"{found.namespace}/{found.name}"), "bold"), "  ", state)
    console.print(Panel(_body(found), title=title, title_align="left", border_style="dim", expand=False))


def _body(found: Explanation) -> Group:
    from rich.console import Group  # noqa: PLC0415
    from rich.text import Text  # noqa: PLC0415

    parts: list[Text | Table] = (
        [Text(printable(found.message), style=_STATES[State.PENDING])] if found.message else []
    )
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
    table = _table("ADDRESS", "POOL", "STATE", "FOR", "ANNOUNCED BY", "ON", "FOR", "SHARED WITH")
    for held in found.addresses:
        node, style = (held.node, "green") if held.node else (held.not_announced or _NOBODY, "yellow")
        if not held.layer2:
            node, style = "by BGP only", ""
        cells = (*_announced(held), ", ".join(held.sharers))
        _add_row(table, held.ip, held.pool, held.state, age(held.since), (node, style), *cells)
    return table


def _announced(held: HeldAddress) -> tuple[str, str]:
    return (", ".join(held.interfaces) or "all interfaces", age(held.announced_since)) if held.node else ("", "")


def _bgp(found: Explanation) -> Table:
    table = _table("ADDRESS", "NODES", "BGPPEER", "BGP")
    for held in found.addresses:
        for reaches, (nodes, peer, what) in grouped_outcomes(held.bgp):
            _add_row(table, held.ip, nodes, peer, (what, "green" if reaches else "yellow"))
    return table


def _left_out(found: Explanation) -> Table:
    table = _table("ADDRESS", "LEFT OUT")
    for held in found.addresses:
        if held.left_out:
            _add_row(table, held.ip, summary(dict(held.left_out)))
    return table


def _considered(found: Explanation) -> Table:
    table = _table("POOL CONSIDERED", "OUTCOME")
    for pool, reason in found.considered:
        _add_row(table, pool, reason)
    return table


def _conditions(found: Explanation) -> Table:
    table = _table("CONDITION", "STATUS", "REASON", "MESSAGE")
    for one in found.conditions:
        status = str(one.get("status", ""))
        shown = (status, _CONDITIONS.get(status, ""))
        _add_row(table, str(one.get("type", "")), shown, str(one.get("reason", "")), str(one.get("message", "")))
    return table


def _events(found: Explanation) -> Table:
    table = _table("AGO", "EVENT", "MESSAGE")
    for one in found.events:
        reason = (str(one.get("reason", "")), "yellow" if one.get("type") == "Warning" else "")
        _add_row(table, age(last_seen(one)), reason, str(one.get("message", "")))
    return table


def _add_row(table: Table, *cells: str | tuple[str, str]) -> None:
    """Add cells, each a text or a text with its style: whatever a text holds is neither markup nor a control code."""
    from rich.text import Text  # noqa: PLC0415

    pairs = [(cell, "") if isinstance(cell, str) else cell for cell in cells]
    table.add_row(*(Text(printable(text), style=style) for text, style in pairs))


def _table(*titles: str) -> Table:
    from rich.table import Table  # noqa: PLC0415

    table = Table(box=None, pad_edge=False, header_style="dim")
    for title in titles:
        table.add_column(title, overflow="fold", no_wrap=title in ("ADDRESS", "POOL", "STATE", "AGO", "FOR"))
    return table

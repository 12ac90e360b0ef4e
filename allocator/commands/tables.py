"""Tables: coloured and framed on a terminal, aligned columns of plain text everywhere else."""

from __future__ import annotations

import sys
from collections.abc import Collection, Sequence

import click

from allocator.commands.live import age
from allocator.commands.printable import printable
from allocator.core.claims import Claim
from allocator.offline.change_effects import HARMFUL, ChangeEffects
from allocator.offline.plan_result import PoolResult, ServiceResult, State
from allocator.process.standard_output import writes

_BAR = 20
_BLOCKS, _ASCII_BLOCKS = ("█", "░"), ("#", "-")
_STYLES = {
    State.ASSIGNED: "green",
    State.PENDING: "yellow",
    State.DENIED: "red",
    State.IGNORED: "dim",
}
_WRAPPED, _LEAST_WRAPPED, _GAP = frozenset({"MESSAGE", "ADDRESSES"}), 24, 2
_NEARLY_FULL, _FULL = 0.85, 1.0

Row = Sequence[str]


def print_services(services: Sequence[ServiceResult]) -> None:
    """Print one line a Service."""
    rows = [
        (f"{one.namespace}/{one.name}", str(one.state), ", ".join(one.ips) or "-", one.pool or "-", _message(one))
        for one in services
    ]
    styles = [_STYLES[one.state] for one in services]
    print_table(("SERVICE", "STATE", "ADDRESSES", "POOL", "MESSAGE"), rows, styles)


def print_effects(change: ChangeEffects) -> None:
    """Print one line a Service that a change does something to, and how many it leaves as they are."""
    rows = [
        (
            f"{one.namespace}/{one.name}",
            str(one.effect),
            ", ".join(one.before) or "-",
            ", ".join(one.after) or "-",
            " -> ".join(dict.fromkeys(filter(None, (one.pool_before, one.pool)))) or "-",
            one.message,
        )
        for one in change.effects
    ]
    styles = ["red" if one.effect in HARMFUL else "green" for one in change.effects]
    print_table(("SERVICE", "EFFECT", "BEFORE", "AFTER", "POOL", "MESSAGE"), rows, styles)
    if not rows:
        click.echo("Nothing changes for any Service.")
    click.echo(f"Unchanged: {change.unchanged}")


def _message(service: ServiceResult) -> str:
    """The message without the Service's name, which the line begins with."""
    return service.message.removeprefix(f"{service.namespace}/{service.name}: ")


def print_pools(pools: Sequence[PoolResult]) -> None:
    """Print one line a pool and family, with a bar of its use."""
    rows, styles = [], []
    for pool in pools:
        by_family = (
            ("IPv4", pool.assigned_ipv4, pool.available_ipv4),
            ("IPv6", pool.assigned_ipv6, pool.available_ipv6),
        )
        for family, assigned, available in by_family:
            if assigned or available:
                share = assigned / (assigned + available)
                rows.append((pool.name, family, str(assigned), str(available), _bar(share), f"{share:.0%}"))
                styles.append("red" if share >= _FULL else "yellow" if share >= _NEARLY_FULL else "green")
        if not any(assigned or available for _, assigned, available in by_family):
            rows.append((pool.name, "-", "0", "0", _bar(0), "-"))
            styles.append("dim")
    print_table(("POOL", "FAMILY", "ASSIGNED", "AVAILABLE", "USE", ""), rows, styles)


def print_conflicts(claims: Sequence[Claim]) -> None:
    """Print one line an address that another host answers for."""
    rows = [
        (str(claim.address), claim.pool, host.mac, host.node or "-", host.interface or "-", age(claim.conflicted_at))
        for claim in claims
        if (host := claim.foreign_host) is not None
    ]
    print_table(("ADDRESS", "POOL", "HOST", "HEARD BY", "ON", "FOR"), rows, ["yellow"] * len(rows))


def _bar(share: float) -> str:
    # Somebody is there as soon as one address is used, and room is left until the last one is.
    filled = max(round(share * _BAR), 1) if share else 0
    filled = min(filled, _BAR - 1) if share < 1 else _BAR
    full, empty = _BLOCKS if writes("".join(_BLOCKS)) else _ASCII_BLOCKS
    return full * filled + empty * (_BAR - filled)


def print_table(header: Row, rows: Sequence[Row], styles: Sequence[str], *, styled: Collection[int] = (1, 4)) -> None:
    """Print rows below a header; a row's style is that of its `styled` columns. Cells may hold any text."""
    if rows:
        shown = [[printable(cell) for cell in row] for row in rows]
        if sys.stdout.isatty():
            _framed(header, shown, styles, styled)
        else:
            _plain(header, shown)


def _plain(header: Row, rows: Sequence[Row]) -> None:
    widths = [max(len(row[column]) for row in (header, *rows)) for column in range(len(header))]
    for row in (header, *rows):
        click.echo("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())


def _framed(header: Row, rows: Sequence[Row], styles: Sequence[str], styled: Collection[int]) -> None:
    # Only on a terminal: rich takes longer to import than the rest of a command to run.
    from rich.console import Console  # noqa: PLC0415
    from rich.table import Table  # noqa: PLC0415
    from rich.text import Text  # noqa: PLC0415

    table = Table(box=None, pad_edge=False, header_style="bold")
    for title in header:
        table.add_column(title, no_wrap=title not in _WRAPPED, overflow="fold")
    for row, style in zip(rows, styles, strict=True):
        table.add_row(*(Text(cell, style=style if column in styled else "") for column, cell in enumerate(row)))
    console = Console()
    # A terminal continues a line that is too long for it; rich would leave out whole columns.
    console.width = max(console.width, _least_width(header, rows))
    console.print(table)


def _least_width(header: Row, rows: Sequence[Row]) -> int:
    """The width at which each column has room: for all of its cells where it is not wrapped, for some words else."""
    from rich.cells import cell_len  # noqa: PLC0415

    longest = [max(cell_len(row[column]) for row in (header, *rows)) for column in range(len(header))]
    least = [
        min(width, _LEAST_WRAPPED) if title in _WRAPPED else width
        for title, width in zip(header, longest, strict=True)
    ]
    return sum(least) + _GAP * (len(least) - 1)

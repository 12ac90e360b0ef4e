"""The picture as one HTML page: no script, no outside asset, every text from the cluster escaped."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from html import escape
from typing import Final

from allocator.core.addresses import Family
from allocator.kube.timestamps import read_time
from allocator.status_page.moves import Announcement
from allocator.status_page.picture import AddressLine, FamilyUse, Picture, PoolLine, WaitingLine

REFRESH_SECONDS = 10
SHOWN = 500
"""How many addresses, and how many waiting Services, a page lists; the filter finds the others."""

_PLENTY = 1_000_000_000
_UNITS = (("d", 86_400), ("h", 3_600), ("m", 60), ("s", 1))

STYLE: Final = """\
:root { color-scheme: light dark; --line: #8884; --dim: #777; --bad: #b3261e; --good: #1b7f3b; }
body { font: 15px/1.45 system-ui, sans-serif; margin: 1.5rem auto; max-width: 70rem; padding: 0 1rem; }
h1 { font-size: 1.35rem; margin: 0; } h2 { font-size: 1.05rem; margin: 1.6rem 0 .4rem; }
header { display: flex; flex-wrap: wrap; gap: .3rem 1.2rem; align-items: baseline; justify-content: space-between; }
table { border-collapse: collapse; width: 100%; } th { text-align: left; font-weight: 600; color: var(--dim); }
th, td { padding: .25rem .8rem .25rem 0; border-bottom: 1px solid var(--line); vertical-align: top; }
code { font-size: .93em; } code, .use { white-space: nowrap; font-variant-numeric: tabular-nums; }
meter { width: 9rem; height: .9rem; vertical-align: -.1rem; } .dim { color: var(--dim); }
.bad { color: var(--bad); } .good { color: var(--good); } form { margin: .4rem 0; } input { font: inherit; }
"""

STYLE_HASH: Final = base64.b64encode(hashlib.sha256(STYLE.encode()).digest()).decode()
"""What a Content-Security-Policy names to let exactly this style through."""


def render(picture: Picture, *, wanted: str = "") -> str:
    """Return the page; `wanted` keeps only addresses and Services in which the text occurs."""
    addresses = [line for line in picture.addresses if _fits(_words(line), wanted)]
    waiting = [line for line in picture.waiting if _fits((line.service, line.message), wanted)]
    return "".join(
        (
            '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">',
            f'<meta http-equiv="refresh" content="{REFRESH_SECONDS}">',
            '<meta name="viewport" content="width=device-width, initial-scale=1">',
            f"<title>AdmitLB</title><style>{STYLE}</style></head><body>",
            _header(picture),
            _problems(picture.problems),
            _pools(picture.pools),
            _filter(wanted),
            _waiting_table(waiting, picture.at),
            _address_table(addresses, picture.at),
            _moves_table(picture),
            "</body></html>\n",
        )
    )


def _header(picture: Picture) -> str:
    role = "this replica leads" if picture.leading else "this replica stands by"
    seen = picture.at.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
    sums = f"{len(picture.pools)} pools, {len(picture.addresses)} addresses, {len(picture.waiting)} waiting"
    return f'<header><h1>AdmitLB</h1><span>{sums}</span><span class="dim">{role}, {seen}</span></header>'


def _problems(problems: Sequence[str]) -> str:
    return "".join(f'<p class="bad" role="alert">{escape(problem)}</p>' for problem in problems)


def _pools(pools: Sequence[PoolLine]) -> str:
    rows = [
        (f"<b>{escape(pool.name)}</b>", _ranges(pool, use), *_use(use), _trouble(pool))
        for pool in pools
        for use in pool.uses or (None,)
    ]
    return _table(
        "Pools", ("Pool", "Addresses", "Family", "Held", "Free", "Use", "State"), rows, "There are no pools."
    )


def _ranges(pool: PoolLine, use: FamilyUse | None) -> str:
    """The ranges that the row counts: those of its family, or all where the pool cannot be read."""
    shown = [entry for entry in pool.addresses if use is None or (":" in entry) == (use.family is Family.IPV6)]
    return "<br>".join(f"<code>{escape(entry)}</code>" for entry in shown)


def _use(use: FamilyUse | None) -> tuple[str, str, str, str]:
    if use is None:
        return "", "0", "0", ""
    meter = f'<meter min="0" max="1" low="0.75" high="0.95" optimum="0" value="{use.share:.3f}"></meter>'
    share = f'<span class="use">{meter} {use.share:.0%}</span>'
    return escape(use.family), f"{use.assigned:,}", _count(use.available), share


def _count(number: int) -> str:
    """A number for people: of an IPv6 network nobody reads more than that there are plenty."""
    return f"{number:,}" if number < _PLENTY else "over a billion"


def _trouble(pool: PoolLine) -> str:
    return f'<span class="bad">{escape(pool.trouble)}</span>' if pool.trouble else '<span class="good">serves</span>'


def _filter(wanted: str) -> str:
    return (
        '<h2>Find</h2><form method="get"><label>address, Service, pool or node: '
        f'<input name="q" value="{escape(wanted)}"></label> <button>show</button></form>'
    )


def _waiting_table(lines: Sequence[WaitingLine], at: datetime) -> str:
    if not lines:
        return ""
    rows = [
        (escape(line.service), _ago(line.since, at), escape(line.message.removeprefix(f"{line.service}: ")))
        for line in lines[:SHOWN]
    ]
    return _table("Waiting", ("Service", "For", "Why"), rows, "") + _rest(len(lines), "kubectl get services -A")


def _address_table(lines: Sequence[AddressLine], at: datetime) -> str:
    rows = [
        (
            f"<code>{escape(line.ip)}</code>",
            escape(line.holders),
            escape(line.pool),
            escape(line.state),
            _ago(line.since, at),
            _announced(line.announcement, at),
        )
        for line in lines[:SHOWN]
    ]
    header = ("Address", "Service", "Pool", "State", "Since", "Announced by")
    return _table("Addresses", header, rows, "No address is held.") + _rest(len(lines), "kubectl get ipallocations")


def _announced(told: Announcement, at: datetime) -> str:
    if not told.node:
        return '<span class="dim">nobody</span>'
    where = f" on {escape(', '.join(told.interfaces))}" if told.interfaces else ""
    return f'{escape(told.node)}{where} <span class="dim">{_ago(told.since, at)}</span>'


def _moves_table(picture: Picture) -> str:
    rows = [
        (_ago(move.at.isoformat(), picture.at), f"<code>{escape(move.ip)}</code>", escape(move.what))
        for move in picture.moves
    ]
    return _table("Recent moves", ("Ago", "Address", "What"), rows, "None since this replica started.")


def _table(title: str, header: Iterable[str], rows: Sequence[Sequence[str]], nothing: str) -> str:
    if not rows:
        return f'<h2>{title}</h2><p class="dim">{nothing}</p>'
    head = "".join(f"<th>{cell}</th>" for cell in header)
    body = "".join(f"<tr>{''.join(f'<td>{cell}</td>' for cell in row)}</tr>" for row in rows)
    return f"<h2>{title}</h2><table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"


def _rest(count: int, command: str) -> str:
    return f'<p class="dim">and {count - SHOWN} more: <code>{command}</code></p>' if count > SHOWN else ""


def _words(line: AddressLine) -> tuple[str, ...]:
    return line.ip, line.holders, line.pool, line.state, line.announcement.node


def _fits(words: Iterable[str], wanted: str) -> bool:
    return not wanted or any(wanted.casefold() in word.casefold() for word in words)


def _ago(moment: str, at: datetime) -> str:
    if not moment:
        return ""
    try:
        seconds = max(int((at - read_time(moment)).total_seconds()), 0)
    except ValueError:
        return escape(moment)
    unit, size = next(((unit, size) for unit, size in _UNITS if seconds >= size), _UNITS[-1])
    return f'<time datetime="{escape(moment)}" title="{escape(moment)}">{seconds // size}{unit}</time>'

"""The picture as one HTML page: no script, no outside asset, every text from the cluster escaped by the template."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterable
from datetime import UTC
from functools import cache
from typing import TYPE_CHECKING, Final

from allocator.core.addresses import Family
from allocator.kube.timestamps import age_text
from allocator.status_page.picture import AddressLine, FamilyUse, Picture, PoolLine

if TYPE_CHECKING:
    from jinja2 import Template

REFRESH_SECONDS = 10
SHOWN = 500
"""How many addresses, waiting Services and BGP sessions a page lists; the filter finds the others."""

_PLENTY = 1_000_000_000

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
    return _page().render(
        picture=picture,
        wanted=wanted,
        addresses=[line for line in picture.addresses if _fits(_words(line), wanted)],
        waiting=[line for line in picture.waiting if _fits((line.service, line.message), wanted)],
        sessions=[line for line in picture.sessions if _fits((line.node, line.session.peer), wanted)],
        seen=picture.at.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S UTC"),
    )


@cache
def _page() -> Template:
    # Only a replica that serves the page needs it: 3 MB.
    from jinja2 import Environment, PackageLoader, StrictUndefined  # noqa: PLC0415
    from markupsafe import Markup  # noqa: PLC0415

    environment = Environment(
        loader=PackageLoader("allocator", "status_page"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
    )
    environment.filters |= {"age": age_text, "count": _count, "ranges": _ranges}
    # Ours, and named by its hash: nothing in it may be escaped.
    style = Markup(STYLE)  # noqa: S704
    environment.globals |= {"style": style, "refresh_seconds": REFRESH_SECONDS, "shown": SHOWN}
    return environment.get_template("page.html")


def _ranges(pool: PoolLine, use: FamilyUse | None) -> list[str]:
    """The ranges that the row counts: those of its family, or all where the pool cannot be read."""
    return [entry for entry in pool.addresses if use is None or (":" in entry) == (use.family is Family.IPV6)]


def _count(number: int) -> str:
    """A number for people: of an IPv6 network nobody reads more than that there are plenty."""
    return f"{number:,}" if number < _PLENTY else "over a billion"


def _words(line: AddressLine) -> tuple[str, ...]:
    return line.ip, line.holders, line.pool, line.state, line.announcement.node


def _fits(words: Iterable[str], wanted: str) -> bool:
    return not wanted or any(wanted.casefold() in word.casefold() for word in words)

"""The picture as one HTML page: no script, no outside asset, every text from the cluster escaped by the template."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC
from functools import cache
from typing import TYPE_CHECKING

from allocator.core.addresses import Family
from allocator.kube.timestamps import age_text
from allocator.status_page.picture import AddressLine, FamilyUse, Picture, PoolLine
from allocator.status_page.style import STYLE

if TYPE_CHECKING:
    from jinja2 import Template

RELOAD_SECONDS = 10
SHOWN = 500
"""How many addresses, waiting Services, nodes and BGP sessions a page lists; the filter finds the others."""
ALARMS = 20
"""How many of the addresses that nobody announces are listed above everything else."""

_PLENTY = 1_000_000_000


def render(picture: Picture, *, wanted: str = "", reload: bool = False) -> str:
    """Return the page; `wanted` keeps only addresses, Services, nodes and sessions in which the text occurs.

    A page that reloads itself has no input field, so that nothing is lost which somebody types.
    """
    return _page().render(
        picture=picture,
        wanted=wanted,
        reload=RELOAD_SECONDS if reload else 0,
        addresses=[line for line in picture.addresses if _fits(_words(line), wanted)],
        waiting=[line for line in picture.waiting if _fits((line.service, line.message), wanted)],
        nodes=[line for line in picture.nodes if _fits((line.name, line.remark), wanted)],
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
    environment.globals |= {"style": style, "reload_seconds": RELOAD_SECONDS, "shown": SHOWN, "alarms": ALARMS}
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

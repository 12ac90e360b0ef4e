"""BGP communities as values, and the Community objects that give them names.

MetalLB internal/bgp/community/community.go; RFC 1997, RFC 8092 (large ones), IANA's list of well-known ones.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from allocator.core.addresses import quoted
from allocator.objects.document import Document, InvalidDocument, Problems, name_of

FORM: Final = "write it like 64512:100 or large:64512:100:200"
_STANDARD_LIMIT: Final = 1 << 16
_LARGE_LIMIT: Final = 1 << 32
_LARGE: Final = "large"
_DIGITS: Final = 20


@dataclass(frozen=True, slots=True, order=True)
class CommunityValue:
    """A standard community (two numbers) or a large one (three)."""

    parts: tuple[int, ...]

    @property
    def is_large(self) -> bool:
        """Whether it is one of RFC 8092."""
        return len(self.parts) == 3

    def __str__(self) -> str:
        return ":".join([*([_LARGE] if self.is_large else ()), *map(str, self.parts)])


def _well_known(low: int) -> CommunityValue:
    return CommunityValue((_STANDARD_LIMIT - 1, low))


WELL_KNOWN: Final[Mapping[str, CommunityValue]] = {
    "graceful-shutdown": _well_known(0),
    "accept-own": _well_known(1),
    "route-filter-translated-v4": _well_known(2),
    "route-filter-v4": _well_known(3),
    "route-filter-translated-v6": _well_known(4),
    "route-filter-v6": _well_known(5),
    "llgr-stale": _well_known(6),
    "no-llgr": _well_known(7),
    "accept-own-nexthop": _well_known(8),
    "blackhole": _well_known(666),
    "no-export": _well_known(65281),
    "no-advertise": _well_known(65282),
    "local-as": _well_known(65283),
    "no-peer": _well_known(65284),
}
"""By the names that FRR has for them, in lower case (https://www.iana.org/assignments/bgp-well-known-communities)."""


class CommunityError(ValueError):
    """Text that is no community; the message says why and how to write one."""


def community_from(text: str) -> CommunityValue:
    """Read a community as numbers. Raises CommunityError."""
    parts = text.split(":")
    if len(parts) == 4 and parts[0] == _LARGE:
        return CommunityValue(_numbers(text, parts[1:], _LARGE_LIMIT))
    if len(parts) == 2:
        return CommunityValue(_numbers(text, parts, _STANDARD_LIMIT))
    raise CommunityError(f"{quoted(text)} is no community; {FORM}")


def resolved(text: str, aliases: Mapping[str, CommunityValue]) -> CommunityValue | None:
    """Return what an advertisement's community means: an alias first, then numbers, then a well-known name.

    None for what may be an alias that is not there. Raises CommunityError for what cannot mean anything.
    """
    alias = aliases.get(text)
    if alias is not None:
        return alias
    if ":" in text:
        return community_from(text)
    return WELL_KNOWN.get(text.lower())


def aliases_from(document: Document) -> dict[str, CommunityValue]:
    """Read the names that a Community gives. Raises InvalidDocument."""
    problems = Problems()
    found: dict[str, CommunityValue] = {}
    for index, entry in enumerate((document.get("spec") or {}).get("communities") or ()):
        here = f"spec.communities[{index}]"
        name = entry.get("name") or ""
        if not name:
            problems.add(f"{here}.name", "is missing; write what advertisements call the community")
        elif name in found:
            problems.add(f"{here}.name", f"{quoted(name)} is given twice; remove one")
        try:
            found[name] = community_from(entry.get("value") or "")
        except CommunityError as error:
            problems.add(f"{here}.value", str(error))
    problems.raise_if_any()
    return found


def alias_owners(documents: Iterable[Document]) -> dict[str, str]:
    """Return the first Community that gives each name, of those that can be read."""
    owners: dict[str, str] = {}
    for document in documents:
        for alias in _readable(document):
            owners.setdefault(alias, name_of(document))
    return owners


def all_aliases(documents: Iterable[Document]) -> dict[str, CommunityValue]:
    """Return every name that the Communities give, of those that can be read; the first one counts."""
    found: dict[str, CommunityValue] = {}
    for document in documents:
        found = {**_readable(document), **found}
    return found


def _readable(document: Document) -> dict[str, CommunityValue]:
    try:
        return aliases_from(document)
    except InvalidDocument:
        return {}


def _numbers(text: str, parts: Iterable[str], limit: int) -> tuple[int, ...]:
    numbers = []
    for part in parts:
        if not (part.isascii() and part.isdigit() and len(part) <= _DIGITS):
            raise CommunityError(f"{quoted(text)} is no community; {FORM}")
        if int(part) >= limit:
            raise CommunityError(f"{quoted(text)} has a number over {limit - 1}; {FORM}")
        numbers.append(int(part))
    return tuple(numbers)

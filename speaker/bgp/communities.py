"""BGP communities (RFC 1997, RFC 8092): from text to numbers and back, as FRR reads and prints them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

Community = tuple[int, ...]
"""Two numbers of 16 bits, or three of 32 (a large community)."""

WELL_KNOWN: Mapping[str, Community] = {
    "internet": (0, 0),
    "graceful-shutdown": (65535, 0),
    "accept-own": (65535, 1),
    "route-filter-translated-v4": (65535, 2),
    "route-filter-v4": (65535, 3),
    "route-filter-translated-v6": (65535, 4),
    "route-filter-v6": (65535, 5),
    "llgr-stale": (65535, 6),
    "no-llgr": (65535, 7),
    "accept-own-nexthop": (65535, 8),
    "blackhole": (65535, 666),
    "no-export": (65535, 65281),
    "no-advertise": (65535, 65282),
    "local-AS": (65535, 65283),
    "no-peer": (65535, 65284),
}
"""As FRR's lib/bgp community.c names them."""

MAXIMUM_PER_PREFIX = 63
"""MetalLB internal/bgp/frr/frr.go."""

_STANDARD_BITS, _LARGE_BITS = 16, 32


def parse(text: str) -> Community | None:
    """Read `A:B`, `large:A:B:C` or a well-known name; None for anything else, which may be an alias."""
    if (known := WELL_KNOWN.get(text)) is not None:
        return known
    first, *rest = text.split(":")
    if len(rest) == 1:
        return _numbers([first, *rest], _STANDARD_BITS)
    if first == "large" and len(rest) == 3:
        return _numbers(rest, _LARGE_BITS)
    return None


def resolve(written: str, aliases: Mapping[str, str]) -> Community | None:
    """Read a community of an advertisement, where an alias comes before a literal of the same form (MetalLB)."""
    return parse(aliases.get(written, written))


def standard(communities: Iterable[Community]) -> list[Community]:
    """Return those of RFC 1997 in the order FRR prints them."""
    return sorted(each for each in communities if len(each) == 2)


def large(communities: Iterable[Community]) -> list[Community]:
    """Return the large ones in the order FRR prints them."""
    return sorted(each for each in communities if len(each) == 3)


def text_of(community: Community) -> str:
    """Return the numbers as FRR reads them; whether it is a large one is the command's to say."""
    return ":".join(map(str, community))


def _numbers(parts: list[str], bits: int) -> Community | None:
    if not all(part.isascii() and part.isdigit() for part in parts):
        return None
    numbers = tuple(map(int, parts))
    return numbers if all(number < 1 << bits for number in numbers) else None

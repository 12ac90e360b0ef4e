"""BGP communities (RFC 1997, RFC 8092) as FRR reads and prints them."""

from __future__ import annotations

from collections.abc import Iterable

from allocator.objects.bgp_community import WELL_KNOWN

Community = tuple[int, ...]
"""Two numbers of 16 bits, or three of 32 (a large community)."""

MAXIMUM_PER_PREFIX = 63
"""MetalLB internal/bgp/frr/frr.go."""


def read(word: str) -> Community:
    """Read a community as FRR prints it: numbers, or the name of a well-known one."""
    known = WELL_KNOWN.get(word.lower())
    if known is not None:
        return known.parts
    return _INTERNET if word == "internet" else tuple(map(int, word.split(":")))


_INTERNET = (0, 0)


def standard(communities: Iterable[Community]) -> list[Community]:
    """Return those of RFC 1997 in the order FRR prints them."""
    return sorted(each for each in communities if len(each) == 2)


def large(communities: Iterable[Community]) -> list[Community]:
    """Return the large ones in the order FRR prints them."""
    return sorted(each for each in communities if len(each) == 3)


def text_of(community: Community) -> str:
    """Return the numbers as FRR reads them; whether it is a large one is the command's to say."""
    return ":".join(map(str, community))

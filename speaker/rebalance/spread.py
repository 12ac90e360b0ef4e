"""Which addresses to hand to which node so that every node announces as many as another. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable
from dataclasses import dataclass

from allocator.core.addresses import Address


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """Addresses that one node announces together, and the nodes that would do so as well as any.

    `nodes` are alive and have the best weight and handicap there is: an address is never moved to a lesser one.
    """

    addresses: tuple[Address, ...]
    holder: str
    nodes: frozenset[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Move:
    """The addresses go from one node to another."""

    addresses: tuple[Address, ...]
    source: str
    target: str


def spread_evenly(groups: Iterable[Group], *, movable: Collection[Group]) -> tuple[Move, ...]:
    """Return the moves after which no single further one would make the spread more even.

    `groups` is everything that is announced, `movable` what may be moved of it. A group is moved once at most, from a
    node that announces more to the one that announces least of those that may.
    """
    counts = Counter[str]()
    for group in groups:
        counts[group.holder] += len(group.addresses)
        for node in group.nodes:
            counts.setdefault(node, 0)
    place = {group: group.holder for group in movable}
    improving = True
    while improving:
        improving = False
        # From the fullest nodes first, so that as few addresses move as can be.
        for group in sorted(place, key=lambda one: (-counts[place[one]], one.addresses)):
            best = min(group.nodes, key=lambda node: (counts[node], node), default=place[group])
            size = len(group.addresses)
            if counts[place[group]] - counts[best] > size:
                counts[place[group]] -= size
                counts[best] += size
                place[group] = best
                improving = True
    return tuple(
        Move(addresses=group.addresses, source=group.holder, target=target)
        for group, target in sorted(place.items(), key=lambda item: item[0].addresses)
        if target != group.holder
    )


def all_to(target: str, groups: Iterable[Group]) -> tuple[Move, ...]:
    """Return the moves that bring every group to the node that it may be on and is not."""
    return tuple(
        Move(addresses=group.addresses, source=group.holder, target=target)
        for group in groups
        if target in group.nodes and group.holder != target
    )


def skew(counts: Iterable[int]) -> int:
    """Return by how many addresses the fullest node exceeds the emptiest."""
    known = tuple(counts)
    return max(known, default=0) - min(known, default=0)

"""Who exchanges frequent heartbeats with whom: every node with a few others, however many there are."""

from __future__ import annotations

import hashlib
from collections.abc import Collection
from functools import lru_cache

NEIGHBOURS_EACH_WAY = 4
EVERYONE_UP_TO = 24
"""Up to so many peers all are neighbours: beyond, heartbeats would cost more than what else a speaker does."""


class Ring:
    """The nodes in the order of a hash of their names; those next to each other, on both sides, are neighbours.

    Nodes that know of the same members agree on who is whose neighbour. Where they do not, one that hears nothing
    asks (`Heartbeat.probe`), and is answered.
    """

    def __init__(self, members: Collection[str], *, everyone_up_to: int = EVERYONE_UP_TO) -> None:
        """Where a node has so many others at most, all are its neighbours."""
        self._everyone_up_to = everyone_up_to
        self._order = sorted(members, key=_place)
        self._place = {node: index for index, node in enumerate(self._order)}

    def neighbours_of(self, node: str) -> frozenset[str]:
        """Return those with which the node exchanges frequent heartbeats."""
        if node not in self._place:
            return frozenset()
        if len(self._order) - 1 <= self._everyone_up_to:
            return frozenset(self._order) - {node}
        place = self._place[node]
        steps = (step * way for step in range(1, NEIGHBOURS_EACH_WAY + 1) for way in (1, -1))
        return frozenset(self._order[(place + step) % len(self._order)] for step in steps)


@lru_cache(maxsize=4096)
def _place(node: str) -> bytes:
    return hashlib.sha256(node.encode()).digest()

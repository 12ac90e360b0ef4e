"""Who watches whom: every node is watched closely by a few others, however many there are."""

from __future__ import annotations

import hashlib
from collections.abc import Collection
from functools import lru_cache

WATCHERS = 4
EVERYONE_UP_TO = 8
"""Up to so many peers everybody watches everybody."""


class Ring:
    """The nodes in the order of a hash of their names; each is watched by the ones that follow it.

    Nodes that know of the same members agree on who watches whom. Where they do not, a watcher that hears nothing
    asks (`Heartbeat.probe`), and is answered.
    """

    def __init__(self, members: Collection[str]) -> None:
        self._order = sorted(members, key=_place)
        self._place = {node: index for index, node in enumerate(self._order)}
        self._all = len(self._order) - 1 <= EVERYONE_UP_TO

    def watchers_of(self, node: str) -> tuple[str, ...]:
        """Return who expects frequent heartbeats from the node."""
        if node not in self._place:
            return ()
        return self._following(node, 1)

    def watched_by(self, node: str) -> tuple[str, ...]:
        """Return whose frequent heartbeats the node expects."""
        if node not in self._place:
            return ()
        return self._following(node, -1)

    def _following(self, node: str, step: int) -> tuple[str, ...]:
        others = len(self._order) - 1
        place = self._place[node]
        count = others if self._all else min(WATCHERS, others)
        return tuple(self._order[(place + step * (1 + index)) % len(self._order)] for index in range(count))


@lru_cache(maxsize=4096)
def _place(node: str) -> bytes:
    return hashlib.sha256(node.encode()).digest()

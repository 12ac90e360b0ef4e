"""How large this node's side is, as far as that counts where two sides meet."""

from __future__ import annotations

from collections.abc import Collection

SETTLE_SECONDS = 5.0
"""How long a node has to be on this side without a break before it is counted. Until then a side that has just been
joined to another counts as it did during the cut, and the claims of both can be compared."""


class Side:
    """Remembers since when each node is on this node's side. Owned by one thread."""

    def __init__(self) -> None:
        self._since: dict[str, float] = {}
        self._blank_until = 0.0

    def become(self, nodes: Collection[str], now: float) -> None:
        """These are on the side now, besides this node."""
        self._since = {node: self._since.get(node, now) for node in nodes}

    def forget(self, now: float) -> None:
        """This node paused for so long that others may have taken what it claims: it counts for nothing.

        Not even its own vote counts until the others' have had the time to be compared.
        """
        self._since = dict.fromkeys(self._since, now)
        self._blank_until = now + SETTLE_SECONDS

    def size(self, now: float) -> int:
        """Return how many nodes count, this one included."""
        if now < self._blank_until:
            return 0
        return 1 + sum(1 for since in self._since.values() if now - since >= SETTLE_SECONDS)

    def steady(self, seconds: float, now: float) -> frozenset[str]:
        """Return the nodes that have been on the side for so long."""
        return frozenset(node for node, since in self._since.items() if now - since >= seconds)

    def arriving(self, seconds: float, now: float) -> frozenset[str]:
        """Return the nodes that have been on the side for less."""
        return frozenset(node for node, since in self._since.items() if now - since < seconds)

    def next_change(self, now: float, *periods: float) -> float | None:
        """Return when one of the answers for these periods, or the size, next changes by itself."""
        ends = [since + period for since in self._since.values() for period in (SETTLE_SECONDS, *periods)]
        return min((end for end in (*ends, self._blank_until) if end > now), default=None)

"""Which addresses this node leaves to another to report, of what all nodes know of them."""

from __future__ import annotations

from collections.abc import Set as AbstractSet

from allocator.core.addresses import Address
from speaker.election.election import Ranking


class Predecessors:
    """Whether this node is the first by rank (`election.rank`) of those heard: then it reports for all of them.

    To know that it is not, one node that comes before it is enough. A few comparisons find one, which is relied upon
    until it is not heard any more; whoever else comes or goes changes nothing. Each address begins the search at
    another node: of N addresses and M nodes about N/M rely on each. Guarded by its owner's lock.
    """

    def __init__(self, *, node: str) -> None:
        self._node = node
        self._heard: AbstractSet[str] = frozenset({node})
        self._others: tuple[str, ...] = ()
        self._of: dict[Address, str] = {}
        self._relying_on: dict[str, set[Address]] = {}

    def hear(self, heard: AbstractSet[str]) -> None:
        """These nodes are heard from now on; this one counts always."""
        self._heard = heard
        self._others = tuple(sorted(heard - {self._node}))

    def is_first(self, address: Address) -> bool:
        """Return whether this node reports the address; where not, `take_left` returns it once it may."""
        known = self._of.get(address)
        if known is not None and known in self._heard:
            return False
        found = self._search(address)
        if found is None:
            # What `take_left` has not returned yet it still will.
            return True
        self.forget(address)
        self._of[address] = found
        self._relying_on.setdefault(found, set()).add(address)
        return False

    def take_left(self) -> list[Address]:
        """Return the addresses left to nodes that are not heard any more, each once: this node may be the first."""
        gone = [node for node in self._relying_on if node not in self._heard]
        left = [address for node in gone for address in self._relying_on.pop(node)]
        for address in left:
            del self._of[address]
        return left

    def forget(self, address: Address) -> None:
        """Nothing is to be reported of the address."""
        known = self._of.pop(address, None)
        if known is not None:
            relying = self._relying_on[known]
            relying.discard(address)
            if not relying:
                del self._relying_on[known]

    def _search(self, address: Address) -> str | None:
        """Return a node that comes before this one; None where none does."""
        ranking = Ranking(address)
        own = ranking.of(self._node)
        count = len(self._others)
        # Unlike its first bytes, the last do not bear on how many come before this node.
        start = int.from_bytes(own[-8:], "big")
        order = (self._others[(start + step) % count] for step in range(count))
        return next((other for other in order if ranking.of(other) < own), None)

"""Which nodes a BGPPeer or BGPAdvertisement is for, and whether two of them meet on one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from allocator.core.selectors import Selector, exclude_each_other, matches_any

Labels = Mapping[str, Mapping[str, str]]
"""Labels by the name of their object."""


class Nodes:
    """The nodes there are, by their labels; empty where none is known.

    Two hundred advertisements are compared with one another: what each list of selectors chooses is found once.
    Belongs to one thread.
    """

    def __init__(self, labels: Labels) -> None:
        self._labels = dict(labels)
        self._chosen: dict[tuple[Selector, ...], frozenset[str]] = {}

    def __bool__(self) -> bool:
        return bool(self._labels)

    def chosen(self, selectors: Sequence[Selector]) -> frozenset[str]:
        """Return the names of the nodes that the selectors choose: all of them where there are no selectors."""
        key = tuple(selectors)
        found = self._chosen.get(key)
        if found is None:
            labels = self._labels.items()
            found = frozenset(name for name, its in labels if not key or matches_any(key, its))
            self._chosen[key] = found
        return found

    def shared(self, one: Sequence[Selector], other: Sequence[Selector]) -> str | None:
        """Return a node that both choose, the first by name; None where there is none.

        Where no node is known it is the empty name: they may share one (MetalLB internal/config/validation.go
        peersShareNode), unless no labels match both.
        """
        if self:
            return min(self.chosen(one) & self.chosen(other), default=None)
        apart = one and other and all(exclude_each_other(mine, its) for mine in one for its in other)
        return None if apart else ""


def on_node(name: str) -> str:
    """Say on which node two objects meet."""
    return f"on node {name}" if name else "on a node that both may choose"

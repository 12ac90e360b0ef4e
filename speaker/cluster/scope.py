"""On which of a node's interfaces an address is announced."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Scope:
    """Interfaces by name; None means every interface that can announce."""

    interfaces: frozenset[str] | None = None

    def includes(self, interface_name: str) -> bool:
        """Return whether the address is announced on the interface."""
        return self.interfaces is None or interface_name in self.interfaces

    def __str__(self) -> str:
        return "all" if self.interfaces is None else ",".join(sorted(self.interfaces))


EVERYWHERE = Scope()


def union(first: Scope, *others: Scope) -> Scope:
    """Return the scope that includes what any of them includes."""
    interfaces: frozenset[str] = frozenset()
    for scope in (first, *others):
        if scope.interfaces is None:
            return EVERYWHERE
        interfaces |= scope.interfaces
    return Scope(interfaces)

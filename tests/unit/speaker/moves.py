"""Who answers for which address in a simulated cluster, and whether that changes."""

from __future__ import annotations

from collections.abc import Iterable

from allocator.core.addresses import Address
from tests.unit.speaker.simulated import Cluster


def holders_of(cluster: Cluster, addresses: Iterable[Address]) -> dict[Address, set[str]]:
    """Who answers for each address now."""
    return {address: cluster.holders(address) for address in addresses}


def changes_of(cluster: Cluster, addresses: Iterable[Address], seconds: float) -> list[float]:
    """Let time pass; return when any address was answered by others than at the beginning."""
    watched = tuple(addresses)
    before, found = holders_of(cluster, watched), []

    def look() -> None:
        if holders_of(cluster, watched) != before:
            found.append(cluster.now)

    cluster.watch = look
    cluster.run(seconds)
    cluster.watch = lambda: None
    return found

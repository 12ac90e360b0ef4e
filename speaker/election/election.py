"""In which order nodes are candidates for an address, and which of two claims on it holds: pure functions."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass

from allocator.core.addresses import Address


def rank(*, address: Address, candidates: Iterable[str]) -> tuple[str, ...]:
    """Order nodes by `sha256(node + "#" + address)` ascending, byte by byte (MetalLB speaker/layer2_controller.go).

    The order of two nodes depends on nothing but the two and the address: whatever other node comes or goes, they
    keep it.
    """
    suffix = f"#{address}".encode()
    return tuple(sorted(set(candidates), key=lambda node: hashlib.sha256(node.encode() + suffix).digest()))


class Ranking:
    """The rank of one node after the other for one address: of two nodes the one with the lesser comes first."""

    __slots__ = ("_known", "_suffix")

    def __init__(self, address: Address) -> None:
        self._suffix = f"#{address}".encode()
        self._known: dict[str, bytes] = {}

    def of(self, node: str) -> bytes:
        """Return what a node is ranked by."""
        found = self._known.get(node)
        if found is None:
            found = self._known[node] = hashlib.sha256(node.encode() + self._suffix).digest()
        return found


@dataclass(frozen=True, slots=True, kw_only=True, order=True)
class Precedence:
    """Which of several claims on an address holds: the least. All of it is advertised, so all see the same.

    Fewer things that speak against the node come first (`handicap`); then a claim that is not made `apart`; then one
    that is not `offered`; then that of the larger side during the cut (`lesser_side` is its negative); then the node
    preferred more (`lesser_weight`, the same); then the lower `term`: of two claims one of which was made when the
    other's holder was not heard, that is the holder before the cut, and otherwise the one that has changed hands less
    often. Last comes the rank (`Ranking.of`).
    """

    handicap: int
    apart: bool
    offered: bool
    lesser_side: int
    lesser_weight: int
    term: int
    rank: bytes

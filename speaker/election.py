"""Which node announces an address: a pure function that every speaker evaluates for itself."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterable, Mapping

from allocator.core.addresses import Address

_NO_WEIGHTS: Mapping[str, int] = {}


def rank(*, address: Address, candidates: Iterable[str], weights: Mapping[str, int] = _NO_WEIGHTS) -> tuple[str, ...]:
    """Order the candidate nodes for an address, best first.

    Highest weight first (a node without one has 0), then `sha256(node + "#" + address)` ascending, byte by byte,
    as MetalLB (speaker/layer2_controller.go ShouldAnnounce). The order of two nodes depends on nothing but the
    two and the address: whatever other node comes or goes, they keep it.
    """

    def place(node: str) -> tuple[int, bytes]:
        return -weights.get(node, 0), hashlib.sha256(f"{node}#{address}".encode()).digest()

    return tuple(sorted(set(candidates), key=place))


def first_alive(
    ranking: Iterable[str],
    alive: Collection[str],
    *,
    holder: str | None = None,
    weights: Mapping[str, int] = _NO_WEIGHTS,
) -> str | None:
    """Return the node that announces, given the ranking and who is alive; None when nobody can.

    `holder`, the node announcing so far, stays while it is alive, ranked and nobody alive outweighs it.
    """
    living = [node for node in ranking if node in alive]
    if not living:
        return None
    best = living[0]
    stays = holder in living and weights.get(holder or "", 0) == weights.get(best, 0)
    return holder if stays else best


def elect(
    *,
    address: Address,
    candidates: Collection[str],
    weights: Mapping[str, int] = _NO_WEIGHTS,
    holder: str | None = None,
) -> str | None:
    """Return the one node among `candidates` (eligible and alive) that announces `address`.

    Invariant: speakers that agree on the arguments agree on the answer, whatever order they learned them in; and
    a candidate that was not elected can leave without the answer changing, so one lost node moves only the
    addresses it announced.
    """
    ranking = rank(address=address, candidates=candidates, weights=weights)
    return first_alive(ranking, candidates, holder=holder, weights=weights)

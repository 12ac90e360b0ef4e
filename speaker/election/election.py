"""Which node announces an address: a pure function that every speaker evaluates for itself."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass

from allocator.core.addresses import Address


@dataclass(frozen=True, slots=True, kw_only=True)
class Contender:
    """A node that may announce an address and whose speaker is alive.

    `handicap` says how much speaks against the node (0: nothing), `weight` how much its administrators prefer it.
    `term` is that of its claim, 0 where it does not announce the address now.
    """

    node: str
    handicap: int = 0
    weight: int = 0
    term: int = 0


def rank(*, address: Address, candidates: Iterable[str]) -> tuple[str, ...]:
    """Order nodes by `sha256(node + "#" + address)` ascending, byte by byte (MetalLB speaker/layer2_controller.go).

    The order of two nodes depends on nothing but the two and the address: whatever other node comes or goes, they
    keep it.
    """
    return tuple(sorted(set(candidates), key=lambda node: hashlib.sha256(f"{node}#{address}".encode()).digest()))


def elect(ranked: Iterable[Contender]) -> Contender | None:
    """Return the one that announces, given the contenders in the order of `rank`; None when there is none.

    The least handicap wins, then the highest weight, then the highest term (who announces already stays, and of two
    that do the later taker), then the rank.

    Invariants, given that who takes an address claims it with a term above every term it has heard of, and tells:
    - speakers that agree on the contenders agree on the answer, whatever order they learned them in;
    - the elected stays elected when others come, unless they outdo it in handicap or weight, or it has no term yet
      (it claims provisionally): a node that returns takes nothing back;
    - a contender that was not elected can go without the answer changing: a lost node moves only what it announced;
    - of several that announce, all but one see, as soon as they hear of each other, that they must stop, and the
      one sees that it must not: views that have exchanged their claims have exactly one holder.
    """
    return min(ranked, key=lambda each: (each.handicap, -each.weight, -each.term), default=None)

"""How much of every pool is in use, derived from the claims."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from allocator.core.addresses import Family
from allocator.core.claims import Claim
from allocator.core.pools import Pool, owning_pool


@dataclass(slots=True)
class Usage:
    """One pool's part in the claims: what is assigned, and how much of that counts against its capacity."""

    assigned: dict[Family, int] = field(default_factory=lambda: dict.fromkeys(Family, 0))
    inside: dict[Family, int] = field(default_factory=lambda: dict.fromkeys(Family, 0))
    """Assigned addresses that the pool would assign again; those it was narrowed or excluded from are not."""
    strays: list[Claim] = field(default_factory=list)
    """Claims in use whose address the pool would not assign again."""

    def available(self, pool: Pool, family: Family) -> int:
        """Count what Services could still be given; a cooling address is available."""
        return max(pool.capacity(family) - self.inside[family], 0)


def usage_of(pools: Mapping[str, Pool], claims: Iterable[Claim]) -> dict[str, Usage]:
    """Count every claim in use for the pool its address lies in, else for the pool it was taken from."""
    usage = {name: Usage() for name in pools}
    for claim in claims:
        if not claim.in_use:
            continue
        pool = pools.get(claim.pool)
        if pool is None or not pool.spans(claim.address):
            pool = owning_pool(claim.address, pools.values(), recorded=claim.pool)
        counted = usage.setdefault(pool.name if pool is not None else claim.pool, Usage())
        counted.assigned[claim.address.family] += 1
        if pool is not None and pool.contains(claim.address):
            counted.inside[claim.address.family] += 1
        else:
            counted.strays.append(claim)
    return usage

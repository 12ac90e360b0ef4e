"""How much of every pool is in use, derived from the claims."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from allocator.core.addresses import Address, Family
from allocator.core.claims import Claim
from allocator.core.pools import Pool, disjoint, owning_pool


@dataclass(slots=True)
class Usage:
    """One pool's part in the claims: what is assigned, and how much of that counts against its capacity."""

    assigned: dict[Family, int] = field(default_factory=lambda: dict.fromkeys(Family, 0))
    inside: dict[Family, int] = field(default_factory=lambda: dict.fromkeys(Family, 0))
    """Assigned addresses that count against the pool's capacity: that it would assign again without being asked."""
    strays: dict[Address, Claim] = field(default_factory=dict)
    """Claims in use whose address the pool would not assign again."""

    def copy(self) -> Usage:
        """Return one that does not change with this."""
        return Usage(dict(self.assigned), dict(self.inside), dict(self.strays))

    def available(self, pool: Pool, family: Family) -> int:
        """Count what Services could still be given; a cooling address is available."""
        return max(pool.capacity(family) - self.inside[family], 0)


class UsageIndex:
    """The usage of every pool, kept while claims and pools change at the cost of what changes. Not locked: its owner
    serialises access.
    """

    def __init__(self, pools: Mapping[str, Pool] = MappingProxyType({})) -> None:
        self._pools = dict(pools)
        self._usage: dict[str, Usage] = {name: Usage() for name in pools}
        self._counted: dict[Address, tuple[str, bool, bool]] = {}
        """For each claim in use: the pool it is counted for, whether against its capacity, and whether as a stray."""

    def put(self, claim: Claim) -> None:
        """Count the claim instead of what stood at its address."""
        pool, name = self._counted_for(claim)
        inside = pool is not None and pool.offers(claim.address)
        stray = pool is None or not pool.contains(claim.address)
        if self._counted.get(claim.address) != (name, inside, stray):
            self.discard(claim.address)
            if not name:
                return
            counted = self._usage.get(name)
            if counted is None:
                counted = self._usage[name] = Usage()
            counted.assigned[claim.address.family] += 1
            if inside:
                counted.inside[claim.address.family] += 1
            self._counted[claim.address] = (name, inside, stray)
        if stray:
            self._usage[name].strays[claim.address] = claim

    def _counted_for(self, claim: Claim) -> tuple[Pool | None, str]:
        """Return the pool that a claim in use counts for, if it is there, and its name, which is empty for none."""
        if not claim.in_use:
            return None, ""
        pool = self._pools.get(claim.pool)
        if pool is None or not pool.spans(claim.address):
            pool = owning_pool(claim.address, self._pools.values(), recorded=claim.pool)
        return pool, pool.name if pool is not None else claim.pool

    def discard(self, address: Address) -> None:
        """Count what stands at an address no more."""
        if address not in self._counted:
            return
        name, inside, stray = self._counted.pop(address)
        counted = self._usage[name]
        counted.assigned[address.family] -= 1
        if inside:
            counted.inside[address.family] -= 1
        if stray:
            del counted.strays[address]
        if name not in self._pools and not any(counted.assigned.values()):
            del self._usage[name]

    def change_pools(
        self, pools: Mapping[str, Pool], concerning: Callable[[str, Pool | None], Iterable[Claim]]
    ) -> None:
        """Count by these pools from now on; `concerning` finds the claims that name a pool or lie in its ranges."""
        before, self._pools = self._pools, dict(pools)
        # Where pools overlap, which owns an address hangs on their order, too.
        anew = not disjoint(pools.values())
        changed = [name for name in before.keys() | pools.keys() if anew or before.get(name) != pools.get(name)]
        for name in changed:
            if name in pools:
                self._usage.setdefault(name, Usage())
        for name in changed:
            for pool in (before.get(name), pools.get(name)):
                for claim in list(concerning(name, pool)):
                    self.put(claim)
            if name not in pools and not any(self.of(name).assigned.values()):
                self._usage.pop(name, None)

    def of(self, name: str) -> Usage:
        """Return a copy of one pool's usage."""
        return self._usage.get(name, Usage()).copy()

    def all(self) -> dict[str, Usage]:
        """Return a copy of everything."""
        return {name: usage.copy() for name, usage in self._usage.items()}


def usage_of(pools: Mapping[str, Pool], claims: Iterable[Claim]) -> dict[str, Usage]:
    """Count every claim in use for the pool its address lies in, else for the pool it was taken from."""
    index = UsageIndex(pools)
    for claim in claims:
        index.put(claim)
    return index.all()

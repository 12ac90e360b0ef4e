"""How much of every pool is in use, derived from the claims."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from enum import Enum, auto
from types import MappingProxyType

from allocator.core.addresses import Address, Family
from allocator.core.claims import Claim, ClaimState
from allocator.core.pools import Pool, disjoint, owning_pool


@dataclass(slots=True)
class Usage:
    """One pool's part in the claims: what is assigned, and how much of that counts against its capacity."""

    assigned: dict[Family, int] = field(default_factory=lambda: dict.fromkeys(Family, 0))
    inside: dict[Family, int] = field(default_factory=lambda: dict.fromkeys(Family, 0))
    """Assigned addresses that count against the pool's capacity: that it would assign again without being asked."""
    strays: dict[Address, Claim] = field(default_factory=dict)
    """Claims in use whose address the pool would not assign again."""
    conflicted: dict[Address, Claim] = field(default_factory=dict)
    """Claims on addresses that the pool does not assign because other hosts answer for them."""
    changes: int = field(default=0, compare=False)
    """How often any claim of the pool has changed, cooling ones included."""

    def copy(self) -> Usage:
        """Return one that does not change with this."""
        return Usage(dict(self.assigned), dict(self.inside), dict(self.strays), dict(self.conflicted), self.changes)

    def available(self, pool: Pool, family: Family) -> int:
        """Count what Services could still be given; a cooling address is available."""
        return max(pool.capacity(family) - self.inside[family] - self.conflicts(family), 0)

    def conflicts(self, family: Family) -> int:
        """Count the addresses of a family that other hosts answer for."""
        return sum(address.family is family for address in self.conflicted)

    @property
    def is_empty(self) -> bool:
        """Whether nothing of the pool is counted."""
        return not (any(self.assigned.values()) or self.conflicted)


class _Count(Enum):
    """What one claim counts as."""

    OFFERED = auto()
    """Assigned, and one that the pool gives without being asked for it."""
    ON_REQUEST = auto()
    STRAY = auto()
    CONFLICTED = auto()
    AVAILABLE = auto()


def _add(usage: Usage, family: Family, count: _Count, by: int) -> None:
    usage.changes += 1
    if count in (_Count.OFFERED, _Count.ON_REQUEST, _Count.STRAY):
        usage.assigned[family] += by
    if count is _Count.OFFERED:
        usage.inside[family] += by


class UsageIndex:
    """The usage of every pool, kept while claims and pools change at the cost of what changes. Not locked: its owner
    serialises access.
    """

    def __init__(self, pools: Mapping[str, Pool] = MappingProxyType({})) -> None:
        self._pools = dict(pools)
        self._usage: dict[str, Usage] = {name: Usage() for name in pools}
        self._counted: dict[Address, tuple[str, _Count]] = {}
        """For each claim: the pool it is counted for, and as what."""

    def put(self, claim: Claim) -> None:
        """Count the claim instead of what was at its address."""
        address = claim.address
        name, count = self._counted_for(claim)
        if self._counted.get(address) != (name, count):
            self.discard(address)
            if not name:
                return
            usage = self._usage.setdefault(name, Usage())
            _add(usage, address.family, count, 1)
            self._counted[address] = (name, count)
        if count is _Count.STRAY:
            self._usage[name].strays[address] = claim
        elif count is _Count.CONFLICTED:
            self._usage[name].conflicted[address] = claim

    def _counted_for(self, claim: Claim) -> tuple[str, _Count]:
        """Return the name of the pool that a claim counts for, which is empty for none, and what it counts as."""
        pool = self._pools.get(claim.pool)
        if pool is None or not pool.spans(claim.address):
            pool = owning_pool(claim.address, self._pools.values(), recorded=claim.pool)
        offered = pool is not None and pool.offers(claim.address)
        if not claim.in_use:
            conflicted = offered and claim.state is ClaimState.CONFLICTED
            return pool.name if pool is not None else "", _Count.CONFLICTED if conflicted else _Count.AVAILABLE
        if pool is None or not pool.contains(claim.address):
            return pool.name if pool is not None else claim.pool, _Count.STRAY
        return pool.name, _Count.OFFERED if offered else _Count.ON_REQUEST

    def discard(self, address: Address) -> None:
        """Count what is at an address no more."""
        if address not in self._counted:
            return
        name, count = self._counted.pop(address)
        usage = self._usage.get(name)
        if usage is None:
            return
        _add(usage, address.family, count, -1)
        usage.strays.pop(address, None)
        usage.conflicted.pop(address, None)
        if name not in self._pools and usage.is_empty:
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
            if name not in pools and self.of(name).is_empty:
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

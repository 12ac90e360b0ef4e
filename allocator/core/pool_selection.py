"""Which pools an advertisement selects, and of which pools an address is."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from allocator.core.addresses import Address
from allocator.core.pools import Pool, owning_pool
from allocator.core.selectors import Selector, matches_any


@dataclass(frozen=True, slots=True)
class Origin:
    """The pools that an assigned address is of: the one that contains it now and the one it was given from."""

    pools: tuple[Pool, ...] = ()
    gone: frozenset[str] = frozenset()
    """Names of pools it was given from that are gone."""

    def __bool__(self) -> bool:
        return bool(self.pools or self.gone)


def origin_of(address: Address, pools: Mapping[str, Pool], *, recorded: Iterable[str]) -> Origin:
    """Return the pools an address is of; `recorded` names those it was given from, the present one first.

    An address that nobody recorded is of the pool that contains it, if any.
    """
    names = list(dict.fromkeys(recorded))
    named = [pools[name] for name in names if name in pools]
    if not any(pool.spans(address) for pool in named):
        owner = owning_pool(address, pools.values(), recorded="")
        named += [owner] if owner is not None else []
    return Origin(tuple(named), frozenset(name for name in names if name not in pools))


@dataclass(frozen=True, slots=True, kw_only=True)
class PoolSelection:
    """The pools an advertisement names or selects by label; all pools, where it does neither.

    A name of no pool and a selector that matches none select nothing (MetalLB internal/config/config.go
    setL2AdvertisementsToPools).
    """

    names: frozenset[str] = frozenset()
    selectors: tuple[Selector, ...] = ()

    @property
    def everything(self) -> bool:
        """Whether all pools are selected."""
        return not self.names and not self.selectors

    def covers(self, pool: Pool) -> bool:
        """Return whether the pool is selected."""
        return self.selects(pool.name, pool.labels)

    def selects(self, name: str, labels: Mapping[str, str]) -> bool:
        """Return whether a pool of that name and these labels is selected."""
        return self.everything or name in self.names or matches_any(self.selectors, labels)

    def covers_origin(self, origin: Origin) -> bool:
        """Return whether an address of that origin is announced.

        An assigned address is announced until it is released, whatever becomes of its pool: of one that is gone,
        where no label is known any more, its name still selects it.
        """
        if any(self.covers(pool) for pool in origin.pools):
            return True
        return bool(origin.gone) and (self.everything or not self.names.isdisjoint(origin.gone))


ALL_POOLS = PoolSelection()

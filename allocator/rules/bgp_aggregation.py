"""Prefixes of BGPAdvertisements against the ranges of pools: none may reach beyond what the pool has.

MetalLB internal/config/config.go validateBGPAdvPerPool, which looks when an advertisement changes and not when a pool
does. A range that is no CIDR counts as its widest block.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Iterator

from allocator.core.addresses import AddressRange
from allocator.core.pools import Pool
from allocator.objects.bgp_advertisement import LENGTH_FIELDS, Advertisement
from allocator.objects.document import Problem


def too_wide_for(advertisement: Advertisement, pools: Iterable[Pool]) -> list[Problem]:
    """List the lengths that are too short for a pool that the advertisement selects, once for each family."""
    found: dict[str, Problem] = {}
    for pool in pools:
        if not advertisement.aggregates or not advertisement.pools.covers(pool):
            continue
        for owned, least in _narrow_ranges(pool, advertisement):
            field = LENGTH_FIELDS[owned.family]
            length = advertisement.length(owned.family)
            why = f"{length} reaches beyond {owned} of pool {pool.name}; write {least} or more"
            found.setdefault(field, Problem(f"spec.{field}", why))
    return list(found.values())


def too_narrow_for(pool: Pool, advertisements: Iterable[Advertisement]) -> list[Problem]:
    """List the ranges of the pool that prefixes of an advertisement reach beyond."""
    found = []
    for advertisement in advertisements:
        if not advertisement.aggregates or not advertisement.pools.covers(pool):
            continue
        for owned, least in _narrow_ranges(pool, advertisement):
            length = advertisement.length(owned.family)
            why = (
                f"{owned} is narrower than the /{length} that BGPAdvertisement {advertisement.name} makes of it; "
                f"write a wider range, or {LENGTH_FIELDS[owned.family]} {least} or more there first"
            )
            found.append(Problem(f"spec.addresses[{pool.ranges.index(owned)}]", why))
    return found


def _narrow_ranges(pool: Pool, advertisement: Advertisement) -> Iterator[tuple[AddressRange, int]]:
    """The ranges that the advertisement's prefixes reach beyond, each with the shortest length that does not."""
    for owned in pool.ranges:
        least = _widest_block(owned)
        if advertisement.length(owned.family) < least:
            yield owned, least


def _widest_block(owned: AddressRange) -> int:
    version = ipaddress.IPv4Address if owned.family.bits == ipaddress.IPV4LENGTH else ipaddress.IPv6Address
    blocks = ipaddress.summarize_address_range(version(owned.first), version(owned.last))
    return min(block.prefixlen for block in blocks)

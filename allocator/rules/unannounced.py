"""Why no node announces an address: no advertisement covers it, or what a speaker reports on its IPAllocation."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from allocator.core.claims import Claim
from allocator.core.pool_selection import Origin, PoolSelection, origin_of
from allocator.core.pools import Pool
from allocator.objects.document import Document
from allocator.rules.conditions import READY
from allocator.rules.pool_coverage import not_announced

_PREFIX = "announced by no node: "


def why_not_announced(
    allocation: Document, claim: Claim, *, selections: Sequence[PoolSelection] | None, pools: Mapping[str, Pool]
) -> str:
    """Say that no advertisement covers the address, or else what a speaker reports on its IPAllocation.

    Empty where it is announced, or nothing is known. `selections` is None where no advertisements were read.
    """
    if selections is not None and not is_covered(claim, selections, pools):
        pool = pools.get(claim.pool)
        missing = not_announced(pool, selections) if pool is not None else ""
        return missing or f"no L2Advertisement covers pool {claim.pool}"
    for one in (allocation.get("status") or {}).get("conditions") or ():
        if one.get("type") == READY and one.get("status") == "False":
            return str(one.get("message") or "").removeprefix(_PREFIX)
    return ""


def is_covered(claim: Claim, selections: Iterable[PoolSelection], pools: Mapping[str, Pool]) -> bool:
    """Return whether an advertisement covers the address."""
    origin = origin_of_claim(claim, pools)
    return any(selection.covers_origin(origin) for selection in selections)


def origin_of_claim(claim: Claim, pools: Mapping[str, Pool]) -> Origin:
    """Return what the address is of: the pool that has it now, and the one it was given from."""
    recorded = [name for name in (claim.pool, claim.original_pool) if name]
    return origin_of(claim.address, pools, recorded=recorded)

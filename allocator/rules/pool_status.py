"""What IPAddressPool.status says: counters, and whether the pool works."""

from __future__ import annotations

from collections.abc import Collection

from allocator.core.addresses import Family
from allocator.core.claims import Claim
from allocator.core.listing import listed
from allocator.core.pools import Pool, ShrinkPolicy
from allocator.core.usage import Usage
from allocator.rules.conditions import Condition, ready, reconciling, stalled
from allocator.rules.configuration import Fault

_INT64_MAX = (1 << 63) - 1


def counters(pool: Pool | None, usage: Usage) -> dict[str, int]:
    """Say what is assigned and what is still available; nothing is where the pool cannot be read (None).

    What does not fit an int64 (an IPv6 /64) is written as the largest that does, never as a negative number.
    """
    counts: dict[str, int] = {}
    for family in Family:
        available = usage.available(pool, family) if pool is not None else 0
        counts[f"assigned{family}"] = usage.assigned[family]
        counts[f"available{family}"] = min(available, _INT64_MAX)
    return counts


def conditions(
    pool: Pool | None, fault: Fault | None, usage: Usage, *, not_announced: str = ""
) -> tuple[Condition, ...]:
    """Say whether the pool works, and what of it is on the move; `not_announced` that no advertisement covers it.

    That is no fault of the pool: it is Ready, its addresses are assigned, and an advertisement may come.
    """
    if fault is not None:
        return stalled(fault.reason, fault.message)
    if pool is not None and usage.strays:
        strays = _listed(usage.strays.values()) + (f"; {not_announced}" if not_announced else "")
        if pool.shrink_policy is ShrinkPolicy.REASSIGN:
            return reconciling("Reassigning", f"Services still hold addresses taken out of the pool: {strays}")
        return ready("Draining", f"in use until released, though taken out of the pool: {strays}")
    if not_announced:
        return ready("NotAnnounced", f"addresses of the pool are assigned, but {not_announced}")
    return ready("Valid", "addresses of the pool are assigned")


def _listed(strays: Collection[Claim]) -> str:
    ordered = sorted(strays, key=lambda claim: claim.address)
    return listed(f"{claim.address} ({', '.join(one.label for one in claim.holders)})" for claim in ordered)

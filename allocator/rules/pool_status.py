"""What IPAddressPool.status says: counters, and whether the pool works."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping

from allocator.core.addresses import Address, Family
from allocator.core.claims import Claim
from allocator.core.conflicts import ADDRESSES_OF_ONE_HOST, MARKED_AT_MOST, Judgement
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


def conflict_counters(usage: Usage) -> dict[str, int]:
    """Say how many addresses are not handed out because other hosts answer for them."""
    return {f"conflicted{family}": usage.conflicts(family) for family in Family}


def conditions(
    pool: Pool | None,
    fault: Fault | None,
    usage: Usage,
    *,
    awaited: str = "",
    not_announced: str = "",
    lan: Judgement | None = None,
) -> tuple[Condition, ...]:
    """Say whether the pool works, and what of it is on the move; `not_announced` that no advertisement covers it.

    `awaited` names what other pools have yet to give up to it.
    That is no fault of the pool: it is Ready, its addresses are assigned, and an advertisement may come. Nor is what
    other hosts answer for, of which `lan` knows more than the claims.
    """
    if fault is not None:
        return stalled(fault.reason, fault.message)
    if awaited:
        # Ready all the same: a tool that waits for Ready before it prunes would never prune the other pool.
        return ready("AddressesAwaited", f"the other addresses of the pool are assigned, but {awaited}")
    conflicts = _conflicts(usage.conflicted, lan or Judgement())
    if pool is not None and usage.strays:
        strays = "; ".join(said for said in (_listed(usage.strays.values()), not_announced, conflicts) if said)
        if pool.shrink_policy is ShrinkPolicy.REASSIGN:
            return reconciling("Reassigning", f"Services still hold addresses taken out of the pool: {strays}")
        return ready("Draining", f"in use until released, though taken out of the pool: {strays}")
    if not_announced:
        return ready("NotAnnounced", f"addresses of the pool are assigned, but {not_announced}")
    if conflicts:
        return ready("AddressConflict", f"addresses of the pool are assigned, but {conflicts}")
    return ready("Valid", "addresses of the pool are assigned")


def conflict_text(claim: Claim) -> str:
    """Say that an address is not handed out, and why."""
    return (
        f"{claim.address} is answered for by another host, {claim.foreign_host or 'unknown'}, and not handed out "
        "until that is gone; take the address off the host, or out of the pool with spec.excludeAddresses"
    )


def proxy_text(hosts: Iterable[str]) -> str:
    """Say that nothing follows from a host's answers, and why."""
    return (
        f"{listed(hosts)} answers for more than {ADDRESSES_OF_ONE_HOST} free addresses, as a router with proxy ARP "
        "does, so that no address is taken for its own; turn that off on the router, or run the speakers with "
        "--no-probe"
    )


def _conflicts(conflicted: Mapping[Address, Claim], lan: Judgement) -> str:
    parts = []
    if conflicted:
        more = len(conflicted) - 1
        counted = f"{more} more like it (kubectl get ipallocations lists all); " if more else ""
        parts.append(counted + conflict_text(conflicted[min(conflicted)]))
    if lan.unmarked:
        parts.append(
            f"other hosts answer for {listed(lan.unmarked)} too, and no more than {MARKED_AT_MOST} addresses are "
            "kept from use; list their ranges in spec.excludeAddresses"
        )
    if lan.proxies:
        parts.append(proxy_text(lan.proxies))
    return "; ".join(parts)


def _listed(strays: Collection[Claim]) -> str:
    ordered = sorted(strays, key=lambda claim: claim.address)
    return listed(f"{claim.address} ({', '.join(one.label for one in claim.holders)})" for claim in ordered)

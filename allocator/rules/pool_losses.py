"""Who loses an address, or its announcement, by the change or the deletion of a pool."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import replace

from allocator.core.claims import Claim, ClaimState, Holder
from allocator.core.pool_selection import origin_of
from allocator.core.pools import Applicant, Pool, ServiceAllocation, owning_pool, taken_out
from allocator.core.selectors import Selector
from allocator.rules.cluster_context import ClusterContext

Affected = tuple[Claim, Holder]
"""Somebody who would lose an address."""


def affected_by_change(name: str, before: Pool | None, after: Pool, context: ClusterContext) -> list[Affected]:
    """List who would lose an address that was theirs to keep; `before` is None where it could not be read.

    Who drains already loses nothing more. Addresses count by where they lie, whatever pool their claims name. What
    lies in another pool as well, which came in while nothing checked it, is not lost: it is that one's then.
    """
    if before is None:
        claims = [claim for claim in context.claims_recorded_for(name) if not after.contains(claim.address)]
    else:
        found = {claim.address: claim for lost in taken_out(before, after) for claim in context.claims_within(lost)}
        claims = [
            claim for claim in found.values() if before.contains(claim.address) and not after.contains(claim.address)
        ]
        claims = _in_no_other(claims, before, context)
    affected = [(claim, holder) for claim in claims if claim.in_use for holder in claim.holders]
    return affected + (_shut_out(before, after, context) if before is not None else [])


def affected_by_deletion(pool: Pool, context: ClusterContext) -> list[Affected]:
    """List who has an address of the pool: one that lies in it, or lay there, and lies in no other now."""
    within = {claim.address: claim for owned in pool.ranges for claim in context.claims_within(owned)}
    drained = [claim for claim in context.claims_recorded_for(pool.name) if claim.address not in within]
    found = {claim.address: claim for claim in _in_no_other(within.values(), pool, context)}
    if drained:
        others = [other for other in context.pools() if other.name != pool.name]
        found |= {
            claim.address: claim
            for claim in drained
            if owning_pool(claim.address, others, recorded=pool.name) is None
        }
    return [(claim, holder) for claim in found.values() if claim.in_use for holder in claim.holders]


def passed_on_by_deletion(pool: Pool, context: ClusterContext) -> list[Affected]:
    """List who has an address of the pool that lies in another pool as well, which has it then."""
    claims = [claim for owned in pool.ranges for claim in context.claims_within(owned) if claim.in_use]
    kept = {claim.address for claim in _in_no_other(claims, pool, context)}
    return [(claim, holder) for claim in claims if claim.address not in kept for holder in claim.holders]


def _in_no_other(claims: Collection[Claim], pool: Pool, context: ClusterContext) -> list[Claim]:
    """Of claims on addresses of the pool, return those that no other pool has, too."""
    if not claims:
        return []
    overlapping = [
        other
        for other in context.pools()
        if other.name != pool.name and any(mine.overlaps(its) for mine in pool.ranges for its in other.ranges)
    ]
    return [claim for claim in claims if not any(other.spans(claim.address) for other in overlapping)]


def silenced_by_deletion(pool: Pool, affected: Iterable[Affected], context: ClusterContext) -> list[Affected]:
    """List those whose address an advertisement covers now, and none once the pool is gone with its labels."""
    selections = context.selections()
    if any(selection.everything or pool.name in selection.names for selection in selections):
        return []
    stored = {one.name: one for one in context.pools()}
    left = {one.name: one for one in stored.values() if one.name != pool.name}

    def covered(claim: Claim, pools: Mapping[str, Pool]) -> bool:
        recorded = [name for name in (claim.pool, claim.original_pool) if name]
        origin = origin_of(claim.address, pools, recorded=recorded)
        return any(selection.covers_origin(origin) for selection in selections)

    return [one for one in affected if covered(one[0], stored) and not covered(one[0], left)]


def _shut_out(before: Pool, after: Pool, context: ClusterContext) -> list[Affected]:
    """Who was let in by the old serviceAllocation and is not by the new one; reservations without a Service are not
    counted, their request is judged again once it is stored."""
    if _restrictions(before) == _restrictions(after):
        return []
    suspects = [
        (claim, holder)
        for owned in before.ranges
        for claim in context.claims_within(owned)
        if claim.in_use and before.contains(claim.address) and after.contains(claim.address)
        if _is_of(claim, before, context)
        for holder in claim.holders
        if holder.uid is not None or claim.state is not ClaimState.TENTATIVE
    ]
    namespaces = {holder.namespace for _, holder in suspects}
    applicants = {name: Applicant(name, context.namespace_labels(name), {}) for name in namespaces}
    if not _selectors(after) or _selectors(before) == _selectors(after):
        # No label of a Service can shut it out that did not before.
        closed = {
            name
            for name, anyone in applicants.items()
            if _open_to_all_labels(before).refuses(anyone) is None
            and _open_to_all_labels(after).refuses(anyone) is not None
        }
        suspects = [(claim, holder) for claim, holder in suspects if holder.namespace in closed]
    if not suspects or not (_selectors(before) or _selectors(after)):
        return suspects
    labels = context.service_labels({(holder.namespace, holder.name) for _, holder in suspects})
    affected = []
    for claim, holder in suspects:
        own = labels.get((holder.namespace, holder.name))
        # One that is not there was deleted, and is about to be released.
        if own is not None:
            applicant = replace(applicants[holder.namespace], service_labels=own)
            if before.refuses(applicant) is None and after.refuses(applicant) is not None:
                affected.append((claim, holder))
    return affected


def _is_of(claim: Claim, pool: Pool, context: ClusterContext) -> bool:
    """Whether the address is the pool's, and not that of another that has it, too."""
    if claim.pool == pool.name:
        return True
    owner = owning_pool(claim.address, context.pools(), recorded=claim.pool)
    return owner is None or owner.name == pool.name


def _selectors(pool: Pool) -> tuple[Selector, ...]:
    return pool.allocation.service_selectors if pool.allocation is not None else ()


def _restrictions(pool: Pool) -> ServiceAllocation | None:
    """Whom the pool is open to; None where to everybody."""
    return replace(pool.allocation, priority=0) if pool.allocation is not None else None


def _open_to_all_labels(pool: Pool) -> Pool:
    if pool.allocation is None:
        return pool
    return replace(pool, allocation=replace(pool.allocation, service_selectors=()))

"""What admission answers for an IPAddressPool: form, overlaps, and which Services prevent a change."""

from __future__ import annotations

from collections.abc import Iterable

from allocator.core.addresses import Family
from allocator.core.listing import listed
from allocator.core.pools import Pool, PriorityOrder, ShrinkPolicy, in_order_of_trial, overlaps, shared_namespaces
from allocator.objects.document import Document, InvalidDocument
from allocator.objects.pool import (
    SELECTORS,
    not_yet_given_up,
    pool_from,
    pool_overlaps,
    wider_than_written,
)
from allocator.objects.selectors import repeated_in
from allocator.rules.bgp_pool import broken_advertisements
from allocator.rules.cluster_context import ClusterContext
from allocator.rules.foreign_ranges import overlaps as foreign_overlaps
from allocator.rules.pool_losses import (
    Affected,
    affected_by_change,
    affected_by_deletion,
    passed_on_by_deletion,
    silenced_by_deletion,
)
from allocator.rules.verdict import Rules, Verdict, denied

_LISTED = 20


def review_pool(new: Document, old: Document | None, *, context: ClusterContext, rules: Rules) -> Verdict:
    """Answer the creation (`old` is None) or change of a pool.

    Costs what the change takes away: a change of priority alone reads nothing of the cluster.
    """
    name = new["metadata"]["name"]
    before = _stored(old)
    remedy = ""
    try:
        pool = pool_from(new)
        repeated_in(new, SELECTORS).raise_if_any()
        moved = before is None or _area(before) != _area(pool)
        others = _not_named(pool, context.pools()) if moved else []
        problems = pool_overlaps(pool, others) if moved else []
        remedy = _how_to_take_over(pool, others) if problems else ""
        if before is None or moved or before.labels != pool.labels:
            problems += broken_advertisements(before, pool, context)
        if problems:
            raise InvalidDocument(problems)
    except InvalidDocument as error:
        return denied(422, f"IPAddressPool {name}: {error}{remedy}")
    if old is not None and pool.shrink_policy is ShrinkPolicy.REJECT:
        affected = affected_by_change(name, before, pool, context)
        if affected:
            return denied(409, f"IPAddressPool {name}: the change takes away {_listed(affected)}; {_REMEDY}")
    competes = before is None or moved or before.allocation != pool.allocation
    warnings = _competition(pool, context, rules) if competes else []
    awaited = _awaited(before, pool, context)
    if moved:
        warnings += [f"IPAddressPool {name}: {problem}" for problem in wider_than_written(new)]
        if not any(pool.capacity(family) for family in Family):
            warnings.append(
                f"IPAddressPool {name}: excludeAddresses or avoidBuggyIPs leave out every address of the pool: "
                "none can be assigned; write more addresses, or leave out fewer"
            )
        warnings += _foreign(pool, context)
    return Verdict(warnings=(*warnings, *awaited))


def review_pool_deletion(old: Document, *, context: ClusterContext) -> Verdict:
    """Answer the deletion of a pool: refused while it is in use, unless its shrinkPolicy says otherwise."""
    name = old["metadata"]["name"]
    pool = _stored(old)
    if pool is None:
        # What was never valid was never used.
        return Verdict()
    affected = affected_by_deletion(pool, context)
    if affected and pool.shrink_policy is ShrinkPolicy.REJECT:
        remedy = f"{_REMEDY}; to rename the pool, create the new one with spec.addressesFrom: [{name}] first"
        return denied(409, f"IPAddressPool {name}: its deletion takes away {_listed(affected)}; {remedy}")
    holders = [*affected, *passed_on_by_deletion(pool, context)]
    silent = silenced_by_deletion(pool, holders, context) if holders else []
    if not silent:
        return Verdict()
    warning = (
        f"IPAddressPool {name}: nobody announces {_listed(silent)} any more, as L2Advertisements select the pool by "
        "label, and with it its labels go; name it in spec.ipAddressPools of one"
    )
    return Verdict(warnings=(warning,))


_REMEDY = "release them first, or set spec.shrinkPolicy to Drain (they keep it until released) or Reassign"


def _area(pool: Pool) -> tuple[object, ...]:
    return pool.ranges, pool.excluded, pool.addresses_from


def _not_named(pool: Pool, others: Iterable[Pool]) -> list[Pool]:
    return [other for other in others if other.name not in pool.addresses_from]


def _how_to_take_over(pool: Pool, others: Iterable[Pool]) -> str:
    found = sorted({one.other_pool for one in overlaps(pool, others)} - {pool.name})
    return (
        f"; to take them over from {listed(found)}, write spec.addressesFrom: [{', '.join(found)}]" if found else ""
    )


def _awaited(before: Pool | None, pool: Pool, context: ClusterContext) -> list[str]:
    """Warn of what other pools have yet to give up; of two that name each other the older one waits for nothing."""
    others = context.pools() if pool.addresses_from else ()
    waits = not_yet_given_up(
        pool, [other for other in others if before is None or pool.name not in other.addresses_from]
    )
    return [f"IPAddressPool {pool.name}: {waits}"] if waits else []


def _stored(document: Document | None) -> Pool | None:
    try:
        return pool_from(document) if document is not None else None
    except InvalidDocument:
        # It came in while nothing checked it.
        return None


def _listed(affected: Iterable[Affected]) -> str:
    lines = sorted((claim.address, holder.label) for claim, holder in affected)
    more = f" and {len(lines) - _LISTED} more (kubectl get ipallocations lists all)" if len(lines) > _LISTED else ""
    return ", ".join(f"{address} ({label})" for address, label in lines[:_LISTED]) + more


def _competition(pool: Pool, context: ClusterContext, rules: Rules) -> list[str]:
    """Warn of pools whose priority competes with this one's, since which number wins is easily got wrong."""
    if pool.allocation is None or not pool.auto_assign:
        return []
    warnings = []
    for other in context.pools():
        if other.name == pool.name or other.allocation is None or not other.auto_assign:
            continue
        if pool.allocation.priority == other.allocation.priority or not _common_family(pool, other):
            continue
        shared = shared_namespaces(pool, other, context.namespaces())
        if shared is not None and not shared:
            continue
        first, last = in_order_of_trial([pool, other], order=rules.order)
        where = "all namespaces" if shared is None else f"namespace {listed(sorted(shared))}"
        rule = "lower" if rules.order is PriorityOrder.LOWEST_FIRST else "higher"
        warnings.append(
            f"IPAddressPool {pool.name}: {first.name} ({_priority(first)}) is tried before {last.name} "
            f"({_priority(last)}) in {where}: the {rule} number goes first, 0 or none last"
        )
    return warnings


def _priority(pool: Pool) -> str:
    priority = pool.allocation.priority if pool.allocation else 0
    return f"priority {priority}" if priority else "no priority"


def _common_family(one: Pool, two: Pool) -> bool:
    return any(one.has_family(family) and two.has_family(family) for family in Family)


def _foreign(pool: Pool, context: ClusterContext) -> list[str]:
    return [f"IPAddressPool {pool.name}: {overlap}" for overlap in foreign_overlaps(pool, context.foreign())]

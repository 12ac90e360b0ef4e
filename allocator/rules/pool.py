"""What admission answers for an IPAddressPool: form, overlaps, and who stands in the way of a change."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from allocator.core.addresses import AddressRange, Family
from allocator.core.claims import Claim, Holder
from allocator.core.pools import Applicant, Pool, PriorityOrder, ShrinkPolicy, in_order_of_trial, shared_namespaces
from allocator.objects.document import Document, InvalidDocument
from allocator.objects.pool import SELECTORS, pool_from, pool_overlaps
from allocator.objects.selectors import repeated_in
from allocator.rules.verdict import Rules, Verdict, denied

_LISTED = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class ClusterContext:
    """What a pool is checked against. `applicant` tells who a holder is now, None when it is not there."""

    pools: Sequence[Pool]
    """All valid pools, the one under review as stored included."""
    claims: Iterable[Claim] = ()
    applicant: Callable[[Holder], Applicant | None] = lambda _: None
    namespaces: Mapping[str, Mapping[str, str]]
    """Labels by name."""
    foreign: Sequence[tuple[str, AddressRange]] = ()
    """What else uses addresses (`node-1's address`, `the Service CIDR`), for warnings."""


def review_pool(new: Document, old: Document | None, *, context: ClusterContext, rules: Rules) -> Verdict:
    """Answer the creation (`old` is None) or change of a pool."""
    name = new["metadata"]["name"]
    try:
        pool = pool_from(new)
        repeated_in(new, SELECTORS).raise_if_any()
        problems = pool_overlaps(pool, context.pools)
        if problems:
            raise InvalidDocument(problems)
    except InvalidDocument as error:
        return denied(422, f"IPAddressPool {name}: {error}")
    if old is not None and pool.shrink_policy is ShrinkPolicy.REJECT:
        affected = _affected(pool.name, pool, context)
        if affected:
            return denied(409, f"IPAddressPool {name}: the change takes away {_listed(affected)}; {_REMEDY}")
    return Verdict(warnings=(*_competition(pool, context, rules), *_foreign(pool, context)))


def review_pool_deletion(old: Document, *, context: ClusterContext) -> Verdict:
    """Answer the deletion of a pool: refused while it is in use, unless its shrinkPolicy says otherwise."""
    name = old["metadata"]["name"]
    try:
        policy = pool_from(old).shrink_policy
    except InvalidDocument:
        # What was never valid was never used.
        return Verdict()
    affected = _affected(name, None, context) if policy is ShrinkPolicy.REJECT else []
    if affected:
        return denied(409, f"IPAddressPool {name}: its deletion takes away {_listed(affected)}; {_REMEDY}")
    return Verdict()


_REMEDY = "release them first, or set spec.shrinkPolicy to Drain (they keep it until released) or Reassign"


def _affected(name: str, pool: Pool | None, context: ClusterContext) -> list[str]:
    """List `address (holder)` for everyone who would lose an address; `pool` is None for a deletion."""
    affected = []
    for claim in context.claims:
        if not claim.in_use or claim.pool != name:
            continue
        for holder in claim.holders:
            applicant = context.applicant(holder)
            if pool is not None and (
                pool.contains(claim.address) if applicant is None else not pool.takes_away(claim.address, applicant)
            ):
                continue
            affected.append(f"{claim.address} ({holder.namespace}/{holder.name or holder.generate_name + '*'})")
    return sorted(affected)


def _listed(affected: list[str]) -> str:
    more = f" and {len(affected) - _LISTED} more" if len(affected) > _LISTED else ""
    return ", ".join(affected[:_LISTED]) + more


def _competition(pool: Pool, context: ClusterContext, rules: Rules) -> list[str]:
    """Warn of pools whose priority competes with this one's, since which number wins is easily got wrong."""
    if pool.allocation is None or not pool.auto_assign:
        return []
    warnings = []
    for other in context.pools:
        if other.name == pool.name or other.allocation is None or not other.auto_assign:
            continue
        if pool.allocation.priority == other.allocation.priority or not _common_family(pool, other):
            continue
        shared = shared_namespaces(pool, other, context.namespaces)
        if shared is not None and not shared:
            continue
        first, last = in_order_of_trial([pool, other], order=rules.order)
        where = "all namespaces" if shared is None else f"namespace {', '.join(sorted(shared))}"
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
    return [
        f"IPAddressPool {pool.name}: {owned} overlaps {used}, {what}; leave it out with spec.excludeAddresses"
        for owned in pool.ranges
        for what, used in context.foreign
        if owned.overlaps(used) and not any(_covers(hole, owned, used) for hole in pool.excluded)
    ]


def _covers(hole: AddressRange, owned: AddressRange, used: AddressRange) -> bool:
    """Whether an excluded range takes all that the two have in common out of the pool."""
    return (
        hole.family is used.family
        and hole.first <= max(owned.first, used.first)
        and min(owned.last, used.last) <= hole.last
    )

"""What admission answers for an IPAddressPool: form, overlaps, and who stands in the way of a change."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Protocol

from allocator.core.addresses import AddressRange, Family
from allocator.core.claims import Claim, ClaimState, Holder
from allocator.core.listing import listed
from allocator.core.pools import (
    Applicant,
    Pool,
    PriorityOrder,
    ServiceAllocation,
    ShrinkPolicy,
    in_order_of_trial,
    owning_pool,
    shared_namespaces,
    taken_out,
)
from allocator.core.selectors import Selector
from allocator.objects.document import Document, InvalidDocument
from allocator.objects.pool import SELECTORS, pool_from, pool_overlaps
from allocator.objects.selectors import repeated_in
from allocator.rules.verdict import Rules, Verdict, denied

_LISTED = 20

ServiceKey = tuple[str, str]
"""A Service's namespace and name."""


class ClusterContext(Protocol):
    """What a pool is checked against. Each part is asked for where an answer depends on it, and not otherwise."""

    def pools(self) -> Sequence[Pool]:
        """Return all valid pools, the one under review as stored included."""

    def namespaces(self) -> Mapping[str, Mapping[str, str]]:
        """Return the labels of every namespace by name."""

    def namespace_labels(self, name: str) -> Mapping[str, str]:
        """Return the labels of one namespace."""

    def claims_within(self, owned: AddressRange) -> Iterable[Claim]:
        """Return the claims on addresses of the range."""

    def claims_recorded_for(self, pool: str) -> Iterable[Claim]:
        """Return the claims that name the pool as their address's."""

    def service_labels(self, services: Collection[ServiceKey]) -> Mapping[ServiceKey, Mapping[str, str]]:
        """Return the labels of those of the Services that exist."""

    def foreign(self) -> Sequence[tuple[str, AddressRange]]:
        """Return what else uses addresses (`node-1's address`, `the Service CIDR`), for warnings."""


def review_pool(new: Document, old: Document | None, *, context: ClusterContext, rules: Rules) -> Verdict:
    """Answer the creation (`old` is None) or change of a pool.

    Costs what the change takes away: a change of labels alone reads nothing of the cluster.
    """
    name = new["metadata"]["name"]
    before = _stored(old)
    try:
        pool = pool_from(new)
        repeated_in(new, SELECTORS).raise_if_any()
        moved = before is None or _area(before) != _area(pool)
        problems = pool_overlaps(pool, context.pools()) if moved else []
        if problems:
            raise InvalidDocument(problems)
    except InvalidDocument as error:
        return denied(422, f"IPAddressPool {name}: {error}")
    if old is not None and pool.shrink_policy is ShrinkPolicy.REJECT:
        affected = affected_by_change(name, before, pool, context)
        if affected:
            return denied(409, f"IPAddressPool {name}: the change takes away {_listed(affected)}; {_REMEDY}")
    competes = before is None or moved or before.allocation != pool.allocation
    warnings = _competition(pool, context, rules) if competes else []
    return Verdict(warnings=(*warnings, *(_foreign(pool, context) if moved else ())))


def review_pool_deletion(old: Document, *, context: ClusterContext) -> Verdict:
    """Answer the deletion of a pool: refused while it is in use, unless its shrinkPolicy says otherwise."""
    name = old["metadata"]["name"]
    pool = _stored(old)
    # What was never valid was never used.
    affected = affected_by_deletion(pool, context) if pool and pool.shrink_policy is ShrinkPolicy.REJECT else []
    if affected:
        return denied(409, f"IPAddressPool {name}: its deletion takes away {_listed(affected)}; {_REMEDY}")
    return Verdict()


_REMEDY = "release them first, or set spec.shrinkPolicy to Drain (they keep it until released) or Reassign"

Affected = tuple[Claim, Holder]
"""Somebody who would lose an address."""


def affected_by_change(name: str, before: Pool | None, after: Pool, context: ClusterContext) -> list[Affected]:
    """List who would lose an address that was theirs to keep; `before` is None where it could not be read.

    Who drains already loses nothing more. Addresses count by where they lie, whatever pool their claims name.
    """
    if before is None:
        claims = [claim for claim in context.claims_recorded_for(name) if not after.contains(claim.address)]
    else:
        found = {claim.address: claim for lost in taken_out(before, after) for claim in context.claims_within(lost)}
        claims = [
            claim for claim in found.values() if before.contains(claim.address) and not after.contains(claim.address)
        ]
    affected = [(claim, holder) for claim in claims if claim.in_use for holder in claim.holders]
    return affected + (_shut_out(before, after, context) if before is not None else [])


def affected_by_deletion(pool: Pool, context: ClusterContext) -> list[Affected]:
    """List who has an address of the pool: one that lies in it, or lay there and lies in no other now."""
    found = {claim.address: claim for owned in pool.ranges for claim in context.claims_within(owned)}
    drained = [claim for claim in context.claims_recorded_for(pool.name) if claim.address not in found]
    if drained:
        others = [other for other in context.pools() if other.name != pool.name]
        found |= {
            claim.address: claim
            for claim in drained
            if owning_pool(claim.address, others, recorded=pool.name) is None
        }
    return [(claim, holder) for claim in found.values() if claim.in_use for holder in claim.holders]


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


def _selectors(pool: Pool) -> tuple[Selector, ...]:
    return pool.allocation.service_selectors if pool.allocation is not None else ()


def _restrictions(pool: Pool) -> ServiceAllocation | None:
    """Whom the pool is open to; None where to everybody."""
    return replace(pool.allocation, priority=0) if pool.allocation is not None else None


def _open_to_all_labels(pool: Pool) -> Pool:
    if pool.allocation is None:
        return pool
    return replace(pool, allocation=replace(pool.allocation, service_selectors=()))


def _area(pool: Pool) -> tuple[object, ...]:
    return pool.ranges, pool.excluded


def _stored(document: Document | None) -> Pool | None:
    try:
        return pool_from(document) if document is not None else None
    except InvalidDocument:
        # It came in while nothing checked it.
        return None


def _listed(affected: Iterable[Affected]) -> str:
    lines = sorted(
        (claim.address, holder.namespace, holder.name or holder.generate_name + "*") for claim, holder in affected
    )
    more = f" and {len(lines) - _LISTED} more (kubectl get ipallocations lists all)" if len(lines) > _LISTED else ""
    return ", ".join(f"{address} ({namespace}/{name})" for address, namespace, name in lines[:_LISTED]) + more


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
    return [
        f"IPAddressPool {pool.name}: {owned} overlaps {used}, {what}; leave it out with spec.excludeAddresses"
        for owned in pool.ranges
        for what, used in context.foreign()
        if owned.overlaps(used) and not any(_covers(hole, owned, used) for hole in pool.excluded)
    ]


def _covers(hole: AddressRange, owned: AddressRange, used: AddressRange) -> bool:
    """Whether an excluded range takes all that the two have in common out of the pool."""
    return (
        hole.family is used.family
        and hole.first <= max(owned.first, used.first)
        and min(owned.last, used.last) <= hole.last
    )

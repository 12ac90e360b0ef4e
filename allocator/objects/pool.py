"""IPAddressPools as the core's pools."""

from __future__ import annotations

from collections.abc import Iterable

from allocator.core.addresses import Address, AddressRange, quoted, unusable_part
from allocator.core.pools import DEFAULT_REUSE_DELAY_SECONDS, Overlap, Pool, ServiceAllocation, ShrinkPolicy, overlaps
from allocator.objects.document import Document, Problem, Problems, labels_of, names_from
from allocator.objects.selectors import selectors_from

_LARGEST_PRIORITY = (1 << 63) - 1
_LONGEST_DELAY_SECONDS = (1 << 31) - 1
SELECTORS = ("serviceAllocation.namespaceSelectors", "serviceAllocation.serviceSelectors")


def pool_from(document: Document) -> Pool:
    """Read an IPAddressPool by itself; see `pool_overlaps` for what it may not share. Raises InvalidDocument."""
    problems = Problems()
    spec = document.get("spec") or {}
    ranges = _ranges_from(spec.get("addresses"), "spec.addresses", problems, assigned=True)
    if not spec.get("addresses"):
        problems.add("spec.addresses", "the pool has no addresses; list a CIDR, a range or an address")
    excluded = _ranges_from(spec.get("excludeAddresses"), "spec.excludeAddresses", problems)
    allocation = _allocation_from(spec.get("serviceAllocation"), problems)
    name = document["metadata"]["name"]
    sources = names_from(spec.get("addressesFrom"), "spec.addressesFrom", problems)
    if name in sources:
        problems.add(f"spec.addressesFrom[{sources.index(name)}]", f"{name} is this pool; name another")
    policy = spec.get("shrinkPolicy", str(ShrinkPolicy.REJECT))
    delay = spec.get("reuseDelaySeconds", DEFAULT_REUSE_DELAY_SECONDS)
    if not 0 <= delay <= _LONGEST_DELAY_SECONDS:
        problems.add("spec.reuseDelaySeconds", f"is out of range; use 0 to {_LONGEST_DELAY_SECONDS}")
    if policy not in list(ShrinkPolicy):
        problems.add("spec.shrinkPolicy", f"{policy!r} is unknown; use one of {', '.join(ShrinkPolicy)}")
    problems.raise_if_any()
    return Pool(
        name=name,
        ranges=ranges,
        excluded=excluded,
        auto_assign=spec.get("autoAssign", True),
        avoid_buggy_ips=spec.get("avoidBuggyIPs", False),
        allocation=allocation,
        reuse_delay_seconds=delay,
        allow_cross_namespace_sharing=spec.get("allowCrossNamespaceSharing"),
        shrink_policy=ShrinkPolicy(policy),
        addresses_from=frozenset(sources),
        labels=labels_of(document),
    )


def wider_than_written(document: Document) -> list[Problem]:
    """List the CIDRs of a sound pool that are written by an address within: they hold the addresses before it too."""
    spec, found = document.get("spec") or {}, []
    for field in ("addresses", "excludeAddresses"):
        for index, text in enumerate(spec.get(field) or ()):
            base, slash, _ = text.partition("/")
            owned = AddressRange.parse(text)
            first, last = (Address(owned.family, value) for value in (owned.first, owned.last))
            if slash and (written := Address.parse(base)) != first:
                meant = f"write {owned}, or {written}-{last}"
                why = f"{quoted(text)} is {first}-{last}, which begins before {written}; {meant}"
                found.append(Problem(f"spec.{field}[{index}]", why))
    return found


def ranges_of(document: Document | None) -> tuple[AddressRange, ...]:
    """Return those ranges of a pool that can be read; none of one that is gone (None)."""
    spec = (document or {}).get("spec") or {}
    return _ranges_from(spec.get("addresses"), "spec.addresses", Problems())


def _ranges_from(
    texts: Iterable[str] | None, path: str, problems: Problems, *, assigned: bool = False
) -> tuple[AddressRange, ...]:
    """Read entries; where they are to be assigned, those that no host can use are a problem as well."""
    ranges = []
    for index, text in enumerate(texts or ()):
        here = f"{path}[{index}]"
        owned = problems.read(here, lambda text=text: AddressRange.parse(text))  # type: ignore[misc]
        unfit = unusable_part(owned) if owned is not None and assigned else None
        if unfit is not None:
            problems.add(here, f"{quoted(text)} holds {unfit[0]} addresses; {unfit[1]}")
        elif owned is not None:
            ranges.append(owned)
    return tuple(ranges)


def _allocation_from(document: Document | None, problems: Problems) -> ServiceAllocation | None:
    if document is None:
        return None
    path = "spec.serviceAllocation"
    priority = document.get("priority", 0)
    if priority < 0:
        problems.add(f"{path}.priority", f"{priority} is negative; use 0 (last) or a positive number (lowest first)")
    elif priority > _LARGEST_PRIORITY:
        problems.add(f"{path}.priority", f"is too large; use {_LARGEST_PRIORITY} or less")
    return ServiceAllocation(
        priority=priority,
        namespaces=frozenset(names_from(document.get("namespaces"), f"{path}.namespaces", problems)),
        namespace_selectors=selectors_from(
            document.get("namespaceSelectors"), f"{path}.namespaceSelectors", problems
        ),
        service_selectors=selectors_from(document.get("serviceSelectors"), f"{path}.serviceSelectors", problems),
    )


def pool_overlaps(pool: Pool, others: Iterable[Pool]) -> list[Problem]:
    """List what a pool's ranges share with one another or with other pools' ranges."""
    return [
        Problem(f"spec.addresses[{found.mine_index}]", _overlap_text(pool, found)) for found in overlaps(pool, others)
    ]


def not_yet_given_up(pool: Pool, others: Iterable[Pool]) -> str:
    """Say which of its ranges other pools have that it takes addresses from; empty where none has any more."""
    sources = [other for other in others if other.name in pool.addresses_from]
    found = [one for one in overlaps(pool, sources) if one.other_pool != pool.name]
    listed = "; ".join(f"{one.mine} overlaps {one.other} of pool {one.other_pool}" for one in found)
    return f"{listed}, which has them until it is narrowed or deleted (spec.addressesFrom)" if found else ""


def _overlap_text(pool: Pool, found: Overlap) -> str:
    where = "of the same pool" if found.other_pool == pool.name else f"of pool {found.other_pool}"
    return f"{found.mine} overlaps {found.other} {where}; every address belongs to one range of one pool"

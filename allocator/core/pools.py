"""Pools: which addresses there are and who may have them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from itertools import pairwise

from allocator.core.addresses import Address, AddressRange, Family
from allocator.core.listing import cut
from allocator.core.selectors import Selector, matches_any

DEFAULT_REUSE_DELAY_SECONDS = 60
_SELECTORS_CHARACTERS = 200


class PriorityOrder(StrEnum):
    """Which of two priorities is tried first; MetalLB's is the lower number, 0 or absent last."""

    LOWEST_FIRST = "lowest-first"
    HIGHEST_FIRST = "highest-first"


class ShrinkPolicy(StrEnum):
    """What becomes of addresses in use that a change takes out of the pool."""

    REJECT = "Reject"
    """The change is refused while Services are in its way."""
    DRAIN = "Drain"
    """They stay with their Services until released; nothing new is assigned there."""
    REASSIGN = "Reassign"
    """Their Services move at once where another address is free."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceAllocation:
    """Who may have addresses of the pool. A restriction that is None was not written; one that matches
    nobody admits nobody."""

    priority: int = 0
    namespaces: frozenset[str] = frozenset()
    namespace_selectors: tuple[Selector, ...] = ()
    service_selectors: tuple[Selector, ...] = ()


@dataclass(frozen=True, slots=True)
class Applicant:
    """Who asks: the Service's namespace with its labels and quota, and the Service's own labels."""

    namespace: str
    namespace_labels: Mapping[str, str]
    service_labels: Mapping[str, str]
    quota: int | None = None
    """How many addresses the namespace may hold, shared ones counted once; None where nobody limits it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Pool:
    """One IPAddressPool. Ranges are used in the order listed, lowest address first."""

    name: str
    ranges: tuple[AddressRange, ...]
    excluded: tuple[AddressRange, ...] = ()
    auto_assign: bool = True
    avoid_buggy_ips: bool = False
    allocation: ServiceAllocation | None = None
    reuse_delay_seconds: int = DEFAULT_REUSE_DELAY_SECONDS
    allow_cross_namespace_sharing: bool | None = None
    """Whether Services of several namespaces may share one address; None where it does not say."""
    shrink_policy: ShrinkPolicy = ShrinkPolicy.REJECT
    addresses_from: frozenset[str] = frozenset()
    """Pools whose addresses this one is to have: it may overlap them, and has not what they still have."""
    awaited: tuple[AddressRange, ...] = ()
    """What those pools still have of this one's addresses: none of it is in `ranges`."""
    labels: Mapping[str, str] = field(default_factory=dict)

    @property
    def reassigns(self) -> bool:
        """Whether Services move away from what is taken out of the pool."""
        return self.shrink_policy is ShrinkPolicy.REASSIGN

    def contains(self, address: Address) -> bool:
        """Return whether the address lies in the pool and may be assigned (excluded and buggy ones may not)."""
        return any(address in owned for owned in self.ranges) and self.blocked_until(address) is None

    def offers(self, address: Address) -> bool:
        """Return whether the address may be assigned without being asked for: the subnet-router anycast may not."""
        within = any(address in owned and address.value != owned.anycast for owned in self.ranges)
        return within and self.blocked_until(address) is None

    def spans(self, address: Address) -> bool:
        """Return whether the address lies in one of the pool's ranges, assignable or not."""
        return any(address in owned for owned in self.ranges)

    def takes_away(self, address: Address, applicant: Applicant) -> str | None:
        """Say why the applicant could not be given this address of the pool now, or None when it could."""
        if not self.spans(address):
            return f"{address} is not in pool {self.name}"
        if self.blocked_until(address) is not None:
            return f"pool {self.name} keeps {address} out of use"
        closed = self.refuses(applicant)
        return f"pool {self.name} is {closed}" if closed is not None else None

    def blocked_until(self, address: Address) -> int | None:
        """Return the last value of the blocked stretch that starts at or spans `address`, None if it is free to use.

        avoidBuggyIPs blocks IPv4 addresses ending in .0 or .255 whatever the mask
        (MetalLB internal/allocator/allocator.go ipConfusesBuggyFirmwares).
        """
        for hole in self.excluded:
            if address in hole:
                return hole.last
        if self.avoid_buggy_ips and address.family is Family.IPV4 and address.value & 0xFF in (0, 0xFF):
            return address.value
        return None

    def capacity(self, family: Family) -> int:
        """Count the addresses of a family that may be assigned without being asked for, without enumerating them."""
        return sum(self._assignable(owned) for owned in self.ranges if owned.family is family)

    def _assignable(self, owned: AddressRange) -> int:
        count = 0
        for first, last in _gaps(owned, self.excluded):
            count += last - first + 1
            if owned.anycast is not None and first <= owned.anycast <= last:
                count -= 1
            if self.avoid_buggy_ips and owned.family is Family.IPV4:
                ending_in_0 = last // 256 - (first - 1) // 256
                ending_in_255 = (last + 1) // 256 - first // 256
                count -= ending_in_0 + ending_in_255
        return count

    def has_family(self, family: Family) -> bool:
        """Return whether any range is of the family, that of another pool still included."""
        return any(owned.family is family for owned in self.ranges) or any(
            owned.family is family for owned in self.awaited
        )

    def refuses(self, applicant: Applicant) -> str | None:
        """Say why the pool is not open to the applicant, or None when it is open."""
        allocation = self.allocation
        if allocation is None:
            return None
        restricted = allocation.namespaces or allocation.namespace_selectors
        if (
            restricted
            and applicant.namespace not in allocation.namespaces
            and not matches_any(allocation.namespace_selectors, applicant.namespace_labels)
        ):
            # Other namespaces that the pool is open to are not named to this one.
            return f"not open to namespace {applicant.namespace}"
        if allocation.service_selectors and not matches_any(allocation.service_selectors, applicant.service_labels):
            wanted = " or ".join(str(selector) for selector in allocation.service_selectors)
            return f"not open to the Service's labels (requires {cut(wanted, limit=_SELECTORS_CHARACTERS)})"
        return None


def _gaps(owned: AddressRange, holes: Iterable[AddressRange]) -> Iterator[tuple[int, int]]:
    """Yield the stretches of a range that no hole covers, as (first, last)."""
    first = owned.first
    for hole in sorted((hole for hole in holes if hole.overlaps(owned)), key=lambda hole: hole.first):
        if hole.first > first:
            yield first, hole.first - 1
        first = max(first, hole.last + 1)
    if first <= owned.last:
        yield first, owned.last


def owning_pool(address: Address, pools: Iterable[Pool], *, recorded: str) -> Pool | None:
    """Return the pool an assigned address belongs to: the one that contains it now, else the one it was given from.

    `recorded` names the latter, as claim and annotation do. None where no pool contains the address and that one is
    gone. An address that its pool only excludes still belongs there. Where two pools that admission did not check
    overlap, the recorded one owns it, else the first listed.
    """
    found = named = None
    for pool in pools:
        spans = pool.spans(address)
        if pool.name == recorded:
            if spans:
                return pool
            named = pool
        elif spans and found is None:
            found = pool
    return found or named


def taken_out(before: Pool, after: Pool) -> list[AddressRange]:
    """Return ranges in which lies every address that `before` contains and `after` does not.

    They may hold others too: ask `contains` of each. Empty where a change of ranges and exclusions takes nothing out.
    """
    lost = [
        AddressRange(owned.family, first, last, owned.text)
        for owned in before.ranges
        for first, last in _gaps(owned, after.ranges)
    ]
    lost += [hole for hole in after.excluded if hole not in before.excluded]
    if after.avoid_buggy_ips and not before.avoid_buggy_ips:
        lost += [owned for owned in after.ranges if owned.family is Family.IPV4]
    return lost


def in_order_of_trial(pools: Iterable[Pool], *, order: PriorityOrder = PriorityOrder.LOWEST_FIRST) -> list[Pool]:
    """Sort pools as automatic assignment tries them: those with serviceAllocation by priority, then the rest.

    Equal priorities break by name. MetalLB: internal/allocator/allocator.go Allocate.
    """

    def rank(pool: Pool) -> tuple[int, int, int, str]:
        if pool.allocation is None:
            return 1, 0, 0, pool.name
        priority = pool.allocation.priority
        unset = 1 if priority == 0 else 0
        return 0, unset, -priority if order is PriorityOrder.HIGHEST_FIRST else priority, pool.name

    return sorted(pools, key=rank)


def shared_namespaces(one: Pool, two: Pool, namespaces: Mapping[str, Mapping[str, str]]) -> frozenset[str] | None:
    """Return the namespaces both pools are open to, given the labels of those that exist; None means all of them."""
    first, second = _open_namespaces(one, namespaces), _open_namespaces(two, namespaces)
    if first is None:
        return second
    return first if second is None else first & second


def _open_namespaces(pool: Pool, namespaces: Mapping[str, Mapping[str, str]]) -> frozenset[str] | None:
    allocation = pool.allocation
    if allocation is None or not (allocation.namespaces or allocation.namespace_selectors):
        return None
    selected = {name for name, labels in namespaces.items() if matches_any(allocation.namespace_selectors, labels)}
    return allocation.namespaces | selected


@dataclass(frozen=True, slots=True)
class Overlap:
    """Two ranges that share addresses: `mine` of the pool under review, `other` of the pool named."""

    mine_index: int
    mine: AddressRange
    other: AddressRange
    other_pool: str


def disjoint(pools: Iterable[Pool]) -> bool:
    """Return whether no two ranges, of one pool or of two, share an address."""
    stretches = sorted((owned.family, owned.first, owned.last) for pool in pools for owned in pool.ranges)
    return all(one[0] is not two[0] or one[2] < two[1] for one, two in pairwise(stretches))


def usable_beside(pool: Pool, others: Iterable[Pool]) -> Pool:
    """Return the pool with `ranges` and `awaited` as they are while pools it takes addresses from have some."""
    held = [
        theirs
        for other in others
        if other.name in pool.addresses_from and other.name != pool.name
        for theirs in other.ranges
    ]
    awaited = tuple(
        _stretch(mine, max(mine.first, theirs.first), min(mine.last, theirs.last))
        for mine in pool.ranges
        for theirs in held
        if mine.overlaps(theirs)
    )
    if not awaited:
        return pool
    left = tuple(part for owned in pool.ranges for part in _without(owned, awaited))
    return replace(pool, ranges=left, awaited=awaited)


def _without(owned: AddressRange, awaited: Iterable[AddressRange]) -> list[AddressRange]:
    if not any(owned.overlaps(one) for one in awaited):
        return [owned]
    return [_stretch(owned, first, last) for first, last in _gaps(owned, awaited)]


def _stretch(owned: AddressRange, first: int, last: int) -> AddressRange:
    ends = dict.fromkeys(str(Address(owned.family, value)) for value in (first, last))
    anycast = owned.anycast if owned.anycast is not None and first <= owned.anycast <= last else None
    return AddressRange(owned.family, first, last, "-".join(ends), anycast)


def overlaps(pool: Pool, others: Iterable[Pool]) -> list[Overlap]:
    """Find every overlap of a pool's ranges with one another and with other pools' ranges."""
    found = []
    for index, mine in enumerate(pool.ranges):
        found += [
            Overlap(index, mine, earlier, pool.name) for earlier in pool.ranges[:index] if mine.overlaps(earlier)
        ]
        found += [
            Overlap(index, mine, theirs, other.name)
            for other in others
            if other.name != pool.name
            for theirs in other.ranges
            if mine.overlaps(theirs)
        ]
    return found

"""Claims: who holds which address, and the index over all of them that decisions read.

A claim mirrors one IPAllocation object. Its life:

    (none) -> Tentative   reserved at admission; the Service may still never appear
    Tentative -> Bound    the Service was seen, its uid is recorded
    Bound -> Cooling      the last holder let go; kept back for the pool's reuse delay
    Tentative -> (none)   the Service never appeared
    Cooling -> Tentative  taken again: by the same Service name at once, by others when nothing else is free
    Cooling -> (none)     the reuse delay is over
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Collection, Iterator, Set
from dataclasses import dataclass, field
from enum import StrEnum
from heapq import nsmallest
from typing import Final, TypeVar

from allocator.core.addresses import Address, AddressRange, Family

_Key = TypeVar("_Key")
_Member = TypeVar("_Member")

_LISTED_PORTS: Final = 5


class ClaimState(StrEnum):
    """Where a claim is in its life."""

    TENTATIVE = "Tentative"
    BOUND = "Bound"
    COOLING = "Cooling"


TRANSITIONS: Final[dict[ClaimState | None, frozenset[ClaimState | None]]] = {
    None: frozenset({ClaimState.TENTATIVE, ClaimState.BOUND}),
    ClaimState.TENTATIVE: frozenset({ClaimState.TENTATIVE, ClaimState.BOUND, ClaimState.COOLING, None}),
    ClaimState.BOUND: frozenset({ClaimState.TENTATIVE, ClaimState.BOUND, ClaimState.COOLING, None}),
    ClaimState.COOLING: frozenset({ClaimState.TENTATIVE, ClaimState.BOUND, None}),
}
"""What a claim may become; None is its absence. None -> Bound is the adoption of a live Service's address; Bound ->
Tentative is a sharer that joins at admission; Bound -> None is a release from a pool without reuse delay."""


@dataclass(frozen=True, slots=True, order=True)
class Port:
    """A port as two Services may collide on it."""

    protocol: str
    number: int

    def __str__(self) -> str:
        return f"{self.number}/{self.protocol}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Holder:
    """One Service that holds an address, and what it brought to the sharing of it."""

    namespace: str
    name: str
    """Empty while the Service is being created by generateName."""
    uid: str | None = None
    generate_name: str = ""
    ports: frozenset[Port] = frozenset()
    sharing_key: str = ""
    """Empty where it shares with nobody."""
    local_traffic: bool = False
    """Whether its externalTrafficPolicy is Local."""
    backend_key: str = ""
    """What traffic policy Local pins the address to: the selector, or empty under policy Cluster."""
    sharing_namespaces: frozenset[str] | None = None
    """Other namespaces whose Services may join it, `*` for all; None where it does not say."""
    since: str = ""
    """When it began to hold, as sortable text."""

    def is_service(self, namespace: str, name: str) -> bool:
        """Return whether the holder is the Service of that name; an unnamed holder is nobody's yet."""
        return bool(name) and self.namespace == namespace and self.name == name

    @property
    def label(self) -> str:
        """How messages name it: `namespace/name`, or `namespace/prefix*` before it has a name."""
        return f"{self.namespace}/{self.name or self.generate_name + '*'}"

    @property
    def traffic_policy(self) -> str:
        """Its externalTrafficPolicy as the API spells it."""
        return "Local" if self.local_traffic else "Cluster"

    def __str__(self) -> str:
        return f"{self.label} (ports {listed_ports(self.ports)})" if self.ports else self.label


def listed_ports(ports: Collection[Port]) -> str:
    """Return the lowest ports as messages list them, and how many more there are."""
    shown = ", ".join(str(port) for port in nsmallest(_LISTED_PORTS, ports))
    more = len(ports) - _LISTED_PORTS
    return f"{shown} and {more} more" if more > 0 else shown


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """One address and its holders, in the order in which they joined: of two that may not share any more, the one
    listed first stays. A cooling claim keeps its last holders, who may have it back.

    One that lists no holder (edited by hand, not readable) is in use all the same: nobody is given the address, and
    a Service that shows it is written into it.
    """

    address: Address
    pool: str
    state: ClaimState
    holders: tuple[Holder, ...]
    original_pool: str = ""
    """The pool that the address was given from, where that is not `pool` any more: a pool was split or renamed."""
    reassign: bool = False
    """Whether the pool's shrinkPolicy was Reassign when the claim was last written: once the pool is gone, nothing
    else says that the holders shall move."""
    released_at: str = ""
    """When it began to cool, as sortable text; empty in other states."""
    version: str = field(default="", compare=False)
    """The stored object's version, for compare-and-swap; empty for a claim not stored yet."""

    @property
    def sharing_key(self) -> str:
        """The first holder's key, under which others may join; empty where it shares with nobody."""
        return self.holders[0].sharing_key if self.holders else ""

    @property
    def in_use(self) -> bool:
        """Whether somebody holds the address now."""
        return self.state is not ClaimState.COOLING

    def holder(self, namespace: str, name: str) -> Holder | None:
        """Return the holder that is the named Service, or None."""
        return next((holder for holder in self.holders if holder.is_service(namespace, name)), None)

    def others(self, namespace: str, name: str) -> tuple[Holder, ...]:
        """Return the holders that are not the named Service."""
        return tuple(holder for holder in self.holders if not holder.is_service(namespace, name))


class Ledger:
    """All claims, indexed for the questions a decision asks. Not locked: its owner serialises access.

    Finding the next free address costs one bisection whatever the size of the pool, because the addresses taken
    are kept as merged intervals.
    """

    def __init__(self) -> None:
        self._claims: dict[Address, Claim] = {}
        self._by_service: dict[tuple[str, str], set[Address]] = {}
        self._by_namespace: dict[str, set[Address]] = {}
        self._by_sharing_key: dict[str, set[Address]] = {}
        self._by_pool: dict[str, set[Address]] = {}
        self._unbound: dict[str, set[tuple[Address, int]]] = {}
        """By namespace: holders whose Service was not seen, as the address and the place among its holders."""
        self._cooling: set[Address] = set()
        self._taken = {family: _Intervals() for family in Family}

    def put(self, claim: Claim) -> None:
        """Add the claim, or replace what stood at its address."""
        address, in_use = claim.address, claim.in_use
        self.discard(address)
        self._claims[address] = claim
        self._taken[address.family].add(address.value)
        self._by_pool.setdefault(claim.pool, set()).add(address)
        for place, holder in enumerate(claim.holders):
            if holder.name:
                self._by_service.setdefault((holder.namespace, holder.name), set()).add(address)
            if in_use:
                self._by_namespace.setdefault(holder.namespace, set()).add(address)
                if holder.uid is None:
                    self._unbound.setdefault(holder.namespace, set()).add((address, place))
        if claim.sharing_key and in_use:
            self._by_sharing_key.setdefault(claim.sharing_key, set()).add(address)
        if not in_use:
            self._cooling.add(address)

    def discard(self, address: Address) -> None:
        """Forget the claim at an address, if there is one."""
        claim = self._claims.pop(address, None)
        if claim is None:
            return
        self._taken[address.family].remove(address.value)
        _drop(self._by_pool, claim.pool, address)
        for place, holder in enumerate(claim.holders):
            _drop(self._by_service, (holder.namespace, holder.name), address)
            _drop(self._by_namespace, holder.namespace, address)
            _drop(self._unbound, holder.namespace, (address, place))
        _drop(self._by_sharing_key, claim.sharing_key, address)
        self._cooling.discard(address)

    def at(self, address: Address) -> Claim | None:
        """Return the claim on an address, cooling ones included, or None."""
        return self._claims.get(address)

    def held_by(self, namespace: str, name: str) -> list[Claim]:
        """Return the claims in use of the named Service, in address order (IPv4 first)."""
        return [claim for claim in self._of(namespace, name) if claim.in_use]

    def cooling_for(self, namespace: str, name: str) -> list[Claim]:
        """Return the claims that cool for the named Service, in address order."""
        return [claim for claim in self._of(namespace, name) if not claim.in_use]

    def shared_under(self, sharing_key: str) -> list[Claim]:
        """Return the claims in use under a sharing key, in address order."""
        return [self._claims[address] for address in sorted(self._by_sharing_key.get(sharing_key, ()))]

    def held_in(self, namespace: str) -> Set[Address]:
        """Return the addresses that Services of the namespace hold, each once."""
        return self._by_namespace.get(namespace, frozenset())

    def unbound_in(self, namespace: str) -> list[tuple[Holder, Claim]]:
        """Return the reservations of the namespace that no Service was seen for, in no order."""
        found = ((self._claims[address], place) for address, place in self._unbound.get(namespace, ()))
        return [(claim.holders[place], claim) for claim, place in found]

    def unbound_count(self, namespace: str) -> int:
        """Count the reservations of the namespace that no Service was seen for."""
        return len(self._unbound.get(namespace, ()))

    def unbound(self) -> list[Claim]:
        """Return every claim in use that has a holder whose Service was not seen."""
        addresses = {address for places in self._unbound.values() for address, _ in places}
        return [self._claims[address] for address in addresses]

    def cooling(self) -> list[Claim]:
        """Return every cooling claim, the one that has cooled longest first."""
        return sorted(
            (self._claims[address] for address in self._cooling),
            key=lambda claim: (claim.released_at, claim.address),
        )

    def within(self, owned: AddressRange) -> list[Claim]:
        """Return every claim on an address of the range, in address order, at the cost of as many as there are."""
        values = self._taken[owned.family].within(owned.first, owned.last)
        return [self._claims[Address(owned.family, value)] for value in values]

    def recorded_for(self, pool: str) -> list[Claim]:
        """Return every claim that names the pool as its address's, in no order."""
        return [self._claims[address] for address in self._by_pool.get(pool, ())]

    def next_unclaimed(self, family: Family, value: int) -> int:
        """Return the lowest value at or above `value` that no claim of any state is on."""
        return self._taken[family].next_gap(value)

    def __iter__(self) -> Iterator[Claim]:
        return iter(self._claims.values())

    def __len__(self) -> int:
        return len(self._claims)

    def _of(self, namespace: str, name: str) -> list[Claim]:
        addresses = self._by_service.get((namespace, name))
        return [self._claims[address] for address in sorted(addresses)] if addresses else []


def _drop(index: dict[_Key, set[_Member]], key: _Key, member: _Member) -> None:
    members = index.get(key)
    if members is not None:
        members.discard(member)
        if not members:
            del index[key]


class _Intervals:
    """A set of integers as sorted, disjoint, never touching closed intervals."""

    def __init__(self) -> None:
        self._firsts: list[int] = []
        self._lasts: list[int] = []

    def next_gap(self, value: int) -> int:
        at = bisect_right(self._firsts, value) - 1
        return self._lasts[at] + 1 if at >= 0 and value <= self._lasts[at] else value

    def within(self, first: int, last: int) -> Iterator[int]:
        at = max(bisect_right(self._firsts, first) - 1, 0)
        while at < len(self._firsts) and self._firsts[at] <= last:
            yield from range(max(self._firsts[at], first), min(self._lasts[at], last) + 1)
            at += 1

    def add(self, value: int) -> None:
        after = bisect_right(self._firsts, value)
        joins_left = after > 0 and self._lasts[after - 1] == value - 1
        joins_right = after < len(self._firsts) and self._firsts[after] == value + 1
        if joins_left and joins_right:
            self._lasts[after - 1] = self._lasts.pop(after)
            self._firsts.pop(after)
        elif joins_left:
            self._lasts[after - 1] = value
        elif joins_right:
            self._firsts[after] = value
        else:
            self._firsts.insert(after, value)
            self._lasts.insert(after, value)

    def remove(self, value: int) -> None:
        at = bisect_right(self._firsts, value) - 1
        first, last = self._firsts[at], self._lasts[at]
        if first == last:
            del self._firsts[at], self._lasts[at]
        elif value == first:
            self._firsts[at] = value + 1
        elif value == last:
            self._lasts[at] = value - 1
        else:
            self._lasts[at] = value - 1
            self._firsts.insert(at + 1, value + 1)
            self._lasts.insert(at + 1, last)

"""All claims, indexed for what decisions ask of them."""

from __future__ import annotations

from bisect import bisect_right
from collections import defaultdict
from collections.abc import Iterator, Set
from typing import TypeVar

from allocator.core.addresses import Address, AddressRange, Family
from allocator.core.claims import Claim, ClaimState, Holder

_Key = TypeVar("_Key")
_Member = TypeVar("_Member")


class Ledger:
    """All claims, indexed for the questions a decision asks. Not locked: its owner serialises access.

    Finding the next free address costs one bisection whatever the size of the pool, because the addresses taken
    are kept as merged intervals.
    """

    def __init__(self) -> None:
        self._claims: dict[Address, Claim] = {}
        self._by_service: dict[tuple[str, str], set[Address]] = defaultdict(set)
        self._by_namespace: dict[str, set[Address]] = defaultdict(set)
        self._by_sharing_key: dict[str, set[Address]] = defaultdict(set)
        self._by_pool: dict[str, set[Address]] = defaultdict(set)
        self._unbound: dict[str, set[tuple[Address, int]]] = defaultdict(set)
        """By namespace: holders whose Service was not seen, as the address and the place among its holders."""
        self._cooling: set[Address] = set()
        self._conflicted: set[Address] = set()
        self._taken = {family: _Intervals() for family in Family}

    def put(self, claim: Claim) -> None:
        """Add the claim, or replace what was at its address."""
        address, in_use = claim.address, claim.in_use
        before = self._claims.get(address)
        self._claims[address] = claim
        if before is not None:
            if before == claim:
                # Only its version is another, as when what was planned has been stored.
                return
            self._unindex(before)
        self._taken[address.family].add(address.value)
        self._by_pool[claim.pool].add(address)
        for place, holder in enumerate(claim.holders):
            if holder.name:
                self._by_service[holder.namespace, holder.name].add(address)
            if in_use:
                self._by_namespace[holder.namespace].add(address)
                if holder.uid is None:
                    self._unbound[holder.namespace].add((address, place))
        if claim.sharing_key and in_use:
            self._by_sharing_key[claim.sharing_key].add(address)
        if claim.state is ClaimState.COOLING:
            self._cooling.add(address)
        elif claim.state is ClaimState.CONFLICTED:
            self._conflicted.add(address)

    def discard(self, address: Address) -> None:
        """Forget the claim at an address, if there is one."""
        claim = self._claims.pop(address, None)
        if claim is not None:
            self._unindex(claim)

    def at(self, address: Address) -> Claim | None:
        """Return the claim on an address, cooling ones included, or None."""
        return self._claims.get(address)

    def held_by(self, namespace: str, name: str) -> list[Claim]:
        """Return the claims in use of the named Service, in address order (IPv4 first)."""
        return [claim for claim in self._of(namespace, name) if claim.in_use]

    def cooling_for(self, namespace: str, name: str) -> list[Claim]:
        """Return the claims that cool for the named Service, in address order."""
        return [claim for claim in self._of(namespace, name) if claim.state is ClaimState.COOLING]

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

    def conflicted(self) -> list[Claim]:
        """Return every claim on an address that another host answers for, in address order."""
        return [self._claims[address] for address in sorted(self._conflicted)]

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

    def _unindex(self, claim: Claim) -> None:
        address = claim.address
        self._taken[address.family].remove(address.value)
        _drop(self._by_pool, claim.pool, address)
        for place, holder in enumerate(claim.holders):
            _drop(self._by_service, (holder.namespace, holder.name), address)
            _drop(self._by_namespace, holder.namespace, address)
            _drop(self._unbound, holder.namespace, (address, place))
        _drop(self._by_sharing_key, claim.sharing_key, address)
        self._cooling.discard(address)
        self._conflicted.discard(address)


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

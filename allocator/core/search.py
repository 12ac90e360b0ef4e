"""The search for an address: what cools for the Service, what it may share or is free, what cools for others."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice

from allocator.core.addresses import Address, AddressRange, Family
from allocator.core.claims import Claim
from allocator.core.ledger import Ledger
from allocator.core.pools import Pool
from allocator.core.requests import ServiceRequest
from allocator.core.sharing import place_among
from allocator.core.verdicts import How, Placement


@dataclass(frozen=True, slots=True)
class Search:
    """Finds addresses for one request."""

    request: ServiceRequest
    ledger: Ledger
    pass_over: int = 0
    """How many free addresses of a range to leave free, if it has more."""

    def first(self, pools: Sequence[Pool], family: Family) -> Placement | None:
        """Return the best address of the family in the pools, tried in their order, or None."""
        return self._cooling_for_it(pools, family) or self._open(pools, family) or self._cooling(pools, family)

    def _cooling_for_it(self, pools: Sequence[Pool], family: Family) -> Placement | None:
        mine = self.ledger.cooling_for(self.request.namespace, self.request.name)
        return self._taken_back(mine, pools, family)

    def _cooling(self, pools: Sequence[Pool], family: Family) -> Placement | None:
        return self._taken_back(self.ledger.cooling(), pools, family) if pools else None

    def _taken_back(self, claims: Sequence[Claim], pools: Sequence[Pool], family: Family) -> Placement | None:
        for claim in claims:
            if claim.address.family is not family:
                continue
            for pool in pools:
                if pool.offers(claim.address):
                    return Placement(claim.address, pool.name, How.COOLING, claim, pool.reassigns)
        return None

    def _open(self, pools: Sequence[Pool], family: Family) -> Placement | None:
        for pool in pools:
            for owned in pool.ranges:
                if owned.family is not family:
                    continue
                free = self._first_free(pool, owned)
                shared = next(self._shareable(pool, owned, free), None) if self.request.sharing_key else None
                if shared is not None:
                    return Placement(shared.address, pool.name, How.SHARED, shared, pool.reassigns)
                if free is not None:
                    return Placement(free, pool.name, How.FREE, reassign=pool.reassigns)
        return None

    def _shareable(self, pool: Pool, owned: AddressRange, free: Address | None) -> Iterator[Claim]:
        """Yield the claims of a range that the Service may join, lowest first, below the first free address."""
        for claim in self.ledger.shared_under(self.request.sharing_key):
            if claim.address not in owned or (free is not None and free < claim.address):
                continue
            if pool.contains(claim.address) and place_among(self.request, claim, pool).obstacle is None:
                yield claim

    def _first_free(self, pool: Pool, owned: AddressRange) -> Address | None:
        if not self.pass_over:
            return _lowest_free(pool, owned, self.ledger, owned.first)
        found = tuple(islice(_free(pool, owned, self.ledger), self.pass_over + 1))
        return found[-1] if found else None


def next_free(pool: Pool, ledger: Ledger, family: Family, *, count: int) -> tuple[Address, ...]:
    """Return the addresses that Services which ask for nothing would be given next, at most `count`, in that order.

    First the free ones, range by range, then those that cool, the longest first: as `Search` chooses for a Service
    that shares with nobody and that nothing cools for.
    """
    free = (address for owned in pool.ranges if owned.family is family for address in _free(pool, owned, ledger))
    found = tuple(islice(free, count))
    if len(found) == count:
        return found
    cooling = (claim.address for claim in ledger.cooling() if claim.address.family is family)
    return (*found, *islice((one for one in cooling if pool.offers(one)), count - len(found)))


def _free(pool: Pool, owned: AddressRange, ledger: Ledger) -> Iterator[Address]:
    """Yield the addresses of a range that no claim is on and that may be assigned without being asked for."""
    address = _lowest_free(pool, owned, ledger, owned.first)
    while address is not None:
        yield address
        address = _lowest_free(pool, owned, ledger, address.value + 1)


def _lowest_free(pool: Pool, owned: AddressRange, ledger: Ledger, value: int) -> Address | None:
    value = ledger.next_unclaimed(owned.family, value)
    while value <= owned.last:
        address = Address(owned.family, value)
        blocked = pool.blocked_until(address)
        if blocked is None and value != owned.anycast:
            return address
        value = ledger.next_unclaimed(owned.family, (value if blocked is None else blocked) + 1)
    return None

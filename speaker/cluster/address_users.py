"""Which Services have which address, and which were given theirs from which pool: whom a pool concerns."""

from __future__ import annotations

from collections.abc import Collection, Iterator

from allocator.core.addresses import Address
from allocator.core.pools import Pool
from allocator.core.sorted_addresses import SortedAddresses
from allocator.kube.reflector import Key
from allocator.objects.announced_service import Service


class AddressUsers:
    """Owned by the thread that owns the View. What a pool concerns costs what is in it, not all that is assigned."""

    def __init__(self) -> None:
        self._users: dict[Address, tuple[Key, ...]] = {}
        self._assigned = SortedAddresses()
        self._given_from: dict[str, dict[Key, None]] = {}

    def of(self, address: Address) -> tuple[Key, ...]:
        """Return the Services that have the address, in the order in which they came to it."""
        return self._users.get(address, ())

    def note_addresses(self, key: Key, had: Collection[Address], has: Collection[Address]) -> Iterator[Key]:
        """Take note of what a Service had and has; yield who else has an address that it joins or leaves."""
        for address in set(had).symmetric_difference(has):
            users = tuple(user for user in self._users.get(address, ()) if user != key)
            yield from users
            if address in has:
                users = (*users, key)
            if users:
                self._users[address] = users
            else:
                self._users.pop(address, None)
            self._assigned.keep(address, kept=bool(users))

    def note_pools(self, key: Key, before: Service | None, service: Service | None) -> None:
        """Take note of the pools that a Service records as those its addresses are from."""
        had, has = _recorded(before), _recorded(service)
        for name in had - has:
            self._given_from[name].pop(key)
            if not self._given_from[name]:
                del self._given_from[name]
        for name in has - had:
            self._given_from.setdefault(name, {})[key] = None

    def of_pool(self, name: str, *versions: Pool | None) -> Iterator[Key]:
        """Yield the Services with an address given from the pool, or in it in one of its versions; some twice."""
        yield from self._given_from.get(name, ())
        for version in versions:
            for owned in version.ranges if version is not None else ():
                for address in self._assigned.within(owned):
                    yield from self._users[address]


def _recorded(service: Service | None) -> set[str]:
    return set() if service is None else {name for recorded in service.recorded for name in recorded}

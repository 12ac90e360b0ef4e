"""Which Services show which address in their status: to find the others that show the same one."""

from __future__ import annotations

import threading
from collections.abc import Iterable

from allocator.core.addresses import Address, AddressRange
from allocator.core.securing import age
from allocator.core.sorted_addresses import SortedAddresses
from allocator.kube.client import Object
from allocator.kube.reflector import Change
from allocator.objects.service import addresses_in_status

Key = tuple[str, str]


class ShownAddresses:
    """An index over the cached Services. `_lock` owns it: the reflector's thread writes, workers read."""

    def __init__(self) -> None:
        self._by_address: dict[Address, dict[Key, str]] = {}
        self._sorted = SortedAddresses()
        self._lock = threading.Lock()

    def note(self, change: Change) -> None:
        """Take in one Service's change."""
        before, after = set(addresses_in_status(change.old)), set(addresses_in_status(change.new))
        if before == after:
            return
        with self._lock:
            for address in before - after:
                showing = self._by_address.get(address, {})
                showing.pop(change.key, None)
                if not showing:
                    self._by_address.pop(address, None)
                    self._sorted.keep(address, kept=False)
            for address in after - before:
                created = change.new["metadata"]["creationTimestamp"] if change.new is not None else ""
                self._by_address.setdefault(address, {})[change.key] = created
                self._sorted.keep(address, kept=True)

    def older(self, service: Object, address: Address) -> list[Key]:
        """Return the Services older than this one that show the address, the oldest first."""
        mine = age_of(service)
        return [
            (namespace, name) for created, namespace, name in self._ages(address) if (created, namespace, name) < mine
        ]

    def showing(self, address: Address) -> list[Key]:
        """Return the Services that show the address, the oldest first."""
        return [(namespace, name) for _, namespace, name in self._ages(address)]

    def within(self, ranges: Iterable[AddressRange]) -> dict[Address, list[Key]]:
        """Return the addresses of the ranges that Services show, each with those that `showing` returns."""
        with self._lock:
            found = [address for owned in ranges for address in self._sorted.within(owned)]
        return {address: self.showing(address) for address in found}

    def _ages(self, address: Address) -> list[tuple[str, str, str]]:
        with self._lock:
            return sorted(age(created, *key) for key, created in self._by_address.get(address, {}).items())


def age_of(service: Object) -> tuple[str, str, str]:
    """Return what sorts Services oldest first."""
    metadata = service["metadata"]
    return age(metadata["creationTimestamp"], metadata["namespace"], metadata["name"])

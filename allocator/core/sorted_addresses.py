"""Addresses in their order, so that those of a range are found without looking at all."""

from __future__ import annotations

from bisect import bisect_left, bisect_right, insort
from collections.abc import Iterator

from allocator.core.addresses import Address, AddressRange, Family


class SortedAddresses:
    """A set of addresses. Not locked: its owner serialises access."""

    def __init__(self) -> None:
        self._values: dict[Family, list[int]] = {family: [] for family in Family}

    def keep(self, address: Address, *, kept: bool) -> None:
        """Have the address in the set, or not."""
        values = self._values[address.family]
        at = bisect_left(values, address.value)
        known = at < len(values) and values[at] == address.value
        if kept and not known:
            insort(values, address.value)
        elif known and not kept:
            del values[at]

    def within(self, owned: AddressRange) -> Iterator[Address]:
        """Yield those that lie in a range, ascending."""
        return self.between(owned.family, owned.first, owned.last)

    def between(self, family: Family, first: int, last: int) -> Iterator[Address]:
        """Yield those of a family from the first value to the last, ascending."""
        values = self._values[family]
        for value in values[bisect_left(values, first) : bisect_right(values, last)]:
            yield Address(family, value)

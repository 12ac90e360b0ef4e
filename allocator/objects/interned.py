"""One object for values that are equal, as long as anybody has it."""

from __future__ import annotations

from collections.abc import Hashable
from typing import Generic, TypeVar
from weakref import ReferenceType, WeakKeyDictionary, ref

Value = TypeVar("Value", bound=Hashable)


class Interned(Generic[Value]):
    """Of ten thousand Services most have the same few sets of ports and nodes: each is kept once.

    A cache of the latest would keep what users write without end: four thousand versions of one Service with a
    thousand ports are half a gigabyte. Any thread may ask.
    """

    def __init__(self) -> None:
        self._known: WeakKeyDictionary[Value, ReferenceType[Value]] = WeakKeyDictionary()

    def __len__(self) -> int:
        return len(self._known)

    def of(self, value: Value) -> Value:
        """Return the value that is kept and equal to this one, which is kept from now on where there is none."""
        kept = self._known.get(value)
        found = None if kept is None else kept()
        if found is None:
            self._known[value] = ref(value)
            return value
        return found

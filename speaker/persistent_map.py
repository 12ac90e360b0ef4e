"""A mapping that never changes, of which a changed copy costs little."""

from __future__ import annotations

from collections.abc import ItemsView, Iterable, Iterator, Mapping
from math import isqrt
from typing import Final, TypeVar

_Key = TypeVar("_Key")
_Value = TypeVar("_Value")

_ABSENT: Final = object()
_SMALLEST_OVERLAY = 32


class PersistentMap(Mapping[_Key, _Value]):
    """An immutable mapping; `updated` returns another that shares with it all that is the same.

    A change, and `changed_keys` of two versions, cost about the square root of the size: what was changed last lies
    in an overlay, which becomes part of a new base when it is large. Any thread may read it.
    """

    __slots__ = ("_base", "_overlay", "_size")

    def __init__(self, items: Mapping[_Key, _Value] | None = None) -> None:
        self._base: dict[_Key, _Value] = dict(items) if items else {}
        self._overlay: dict[_Key, object] = {}
        self._size = len(self._base)

    def updated(self, values: Mapping[_Key, _Value], *, without: Iterable[_Key] = ()) -> PersistentMap[_Key, _Value]:
        """Return the mapping with these values, and then without some keys."""
        gone = list(without)
        if not values and not gone:
            return self
        base, overlay, size = self._base, dict(self._overlay), self._size
        for key, value in values.items():
            known = overlay.get(key, _ABSENT if key not in base else None)
            size += known is _ABSENT
            overlay[key] = value
        for key in gone:
            known = overlay.get(key, _ABSENT if key not in base else None)
            if known is not _ABSENT:
                size -= 1
                overlay[key] = _ABSENT
        new: PersistentMap[_Key, _Value] = PersistentMap()
        new._base, new._overlay, new._size = base, overlay, size
        if len(overlay) > _SMALLEST_OVERLAY + 2 * isqrt(len(base)):
            new._base, new._overlay = dict(new.items()), {}
        return new

    def __getitem__(self, key: _Key) -> _Value:
        value = self._overlay.get(key, self) if self._overlay else self
        if value is self:
            return self._base[key]
        if value is _ABSENT:
            raise KeyError(key)
        return value  # type: ignore[return-value]

    def get(self, key: _Key, default: _Value | None = None) -> _Value | None:  # type: ignore[override]
        """Return the value, or the default."""
        value = self._overlay.get(key, self) if self._overlay else self
        if value is self:
            return self._base.get(key, default)
        return default if value is _ABSENT else value  # type: ignore[return-value]

    def __contains__(self, key: object) -> bool:
        if key in self._overlay:
            return self._overlay[key] is not _ABSENT
        return key in self._base

    def __iter__(self) -> Iterator[_Key]:
        overlay = self._overlay
        if not overlay:
            return iter(self._base)
        return iter(self._merged())

    def __len__(self) -> int:
        return self._size

    def items(self) -> ItemsView[_Key, _Value]:
        """The pairs of key and value."""
        return self._merged().items()

    def __eq__(self, other: object) -> bool:
        if self is other:
            return True
        if not isinstance(other, Mapping):
            return NotImplemented
        return len(self) == len(other) and not changed_keys(self, other)

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return f"PersistentMap({dict(self.items())!r})"

    def _merged(self) -> dict[_Key, _Value]:
        if not self._overlay:
            return self._base
        merged: dict[_Key, object] = {**self._base, **self._overlay}
        for key, value in self._overlay.items():
            if value is _ABSENT:
                del merged[key]
        return merged  # type: ignore[return-value]


def changed_keys(before: Mapping[_Key, _Value], after: Mapping[_Key, _Value]) -> set[_Key]:
    """Return the keys whose value is another, or that only one of the two has.

    Of two versions of one PersistentMap this costs no more than what was changed between them, but for once in a
    while.
    """
    if before is after:
        return set()
    keys: Iterable[_Key]
    if isinstance(before, PersistentMap) and isinstance(after, PersistentMap):
        if before._base is after._base:
            keys = before._overlay.keys() | after._overlay.keys()
            return {key for key in keys if before.get(key) != after.get(key)}
        before, after = before._merged(), after._merged()
    known = dict(before.items())
    found = {key for key, value in after.items() if known.pop(key, _ABSENT) != value}
    found.update(known)
    return found

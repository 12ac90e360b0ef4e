"""The prefixes that addresses of Services are announced by, and the class of each, kept up to date."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from collections.abc import Set as AbstractSet
from functools import lru_cache

from allocator.bgp.route_class import Contribution, Prefix, RouteClass, merged
from allocator.core.addresses import Family

Names = tuple[str, ...]
"""The advertisements that announce an address by a prefix."""


@lru_cache(maxsize=4096)
def _shared(names: frozenset[str]) -> frozenset[str]:
    """Most prefixes are announced by the same few sets of advertisements: one value for each."""
    return names


class AnnouncedPrefixes:
    """Prefixes counted by the addresses in them, so that an aggregate stays until the last of these goes.

    The class of a prefix follows from the names of the advertisements that contribute to it: prefixes are filed
    under that set of names, so that the change of an advertisement is looked for set by set, not prefix by prefix.
    """

    def __init__(self) -> None:
        self._contributions: Mapping[str, Contribution] = {}
        self._counted: dict[Prefix, Names | dict[Names, int]] = {}
        """By how many addresses; of one alone, as nearly all are, only the names."""
        self._names_of: dict[Prefix, frozenset[str]] = {}
        self._prefixes_of: dict[frozenset[str], set[Prefix]] = {}
        self._classes: dict[frozenset[str], RouteClass] = {}
        self._announced: dict[Prefix, RouteClass] = {}
        self._totals: Counter[tuple[Family, RouteClass]] = Counter()
        self._changed: dict[Prefix, RouteClass | None] = {}
        self._refused: set[Prefix] = set()
        """Those that no peer may get, whatever their contributors want."""
        self._refused_changed = False

    @property
    def announced(self) -> Mapping[Prefix, RouteClass]:
        """The prefixes that are announced, each with its class."""
        return self._announced

    @property
    def totals(self) -> Mapping[tuple[Family, RouteClass], int]:
        """How many prefixes of each family and class are announced."""
        return self._totals

    def take_changed(self) -> Mapping[Prefix, RouteClass | None]:
        """Return what changed since the last call; None is gone."""
        changed, self._changed = self._changed, {}
        return changed

    def take_refused_changed(self) -> bool:
        """Return whether a prefix came to be refused for its class, or no longer is, since the last call."""
        changed, self._refused_changed = self._refused_changed, False
        return changed

    def class_of(self, names: frozenset[str]) -> RouteClass:
        """Return the class of a prefix that exactly these advertisements contribute to."""
        if (known := self._classes.get(names)) is None:
            contributions = (self._contributions.get(name) for name in sorted(names))
            known = self._classes[names] = merged(each for each in contributions if each is not None)
        return known

    def set_contributions(self, contributions: Mapping[str, Contribution], changed: AbstractSet[str]) -> None:
        """Take in what advertisements say, of which those of the names in `changed` say something else now."""
        self._contributions = contributions
        for names in [names for names in self._classes if not changed.isdisjoint(names)]:
            del self._classes[names]
        for names, prefixes in self._prefixes_of.items():
            if not changed.isdisjoint(names):
                self._settle(prefixes)

    def contribute(self, old: Mapping[Prefix, Names], new: Mapping[Prefix, Names]) -> set[Prefix]:
        """Replace the prefixes of an address, with the advertisements of each. Returns what to `settle`."""
        for prefix, names in old.items():
            self._count(prefix, names, -1)
        for prefix, names in new.items():
            self._count(prefix, names, 1)
        return old.keys() | new.keys()

    def settle(self, touched: set[Prefix]) -> None:
        """Note what has become of prefixes whose contributors changed."""
        for prefix in touched:
            self._file(prefix)
        self._settle(touched)

    def _count(self, prefix: Prefix, names: Names, change: int) -> None:
        known = self._counted.pop(prefix, {})
        counts = {known: 1} if isinstance(known, tuple) else known
        counts[names] = counts.get(names, 0) + change
        if not counts[names]:
            del counts[names]
        if len(counts) == 1 and counts.get(names) == 1:
            self._counted[prefix] = names
        elif counts:
            self._counted[prefix] = counts

    def _file(self, prefix: Prefix) -> None:
        counted = self._counted.get(prefix, ())
        names = _shared(
            frozenset(counted if isinstance(counted, tuple) else (name for each in counted for name in each))
        )
        before = self._names_of.pop(prefix, frozenset())
        if before and names != before:
            self._prefixes_of[before].discard(prefix)
            if not self._prefixes_of[before]:
                del self._prefixes_of[before]
        if names:
            self._names_of[prefix] = names
            self._prefixes_of.setdefault(names, set()).add(prefix)

    def _settle(self, prefixes: Iterable[Prefix]) -> None:
        for prefix in prefixes:
            names = self._names_of.get(prefix)
            now = self.class_of(names) if names else None
            refused = now is not None and not now.announceable
            if refused != (prefix in self._refused):
                self._refused ^= {prefix}
                self._refused_changed = True
            if refused:
                now = None
            before = self._announced.get(prefix)
            if now == before:
                continue
            if before is not None:
                self._total(prefix.family, before, -1)
            if now is not None:
                self._total(prefix.family, now, 1)
            if now is None:
                del self._announced[prefix]
            else:
                self._announced[prefix] = now
            self._changed[prefix] = now

    def _total(self, family: Family, route_class: RouteClass, change: int) -> None:
        self._totals[family, route_class] += change
        if not self._totals[family, route_class]:
            del self._totals[family, route_class]

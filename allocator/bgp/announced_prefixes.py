"""The prefixes that addresses of Services are announced by, and the class of each, kept up to date."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from collections.abc import Set as AbstractSet
from functools import lru_cache

from allocator.bgp.route_class import Contribution, Prefix, RouteClass, held, merged
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

    While one of them waits for a community, the prefix stays as it was for the peers of that one (`held`).
    """

    def __init__(self) -> None:
        self._contributions: Mapping[str, Contribution] = {}
        self._waiting: frozenset[str] = frozenset()
        self._counted: dict[Prefix, Names | dict[Names, int]] = {}
        """By how many addresses; of one alone, as nearly all are, only the names."""
        self._names_of: dict[Prefix, frozenset[str]] = {}
        self._prefixes_of: dict[frozenset[str], set[Prefix]] = {}
        self._classes: dict[frozenset[str], RouteClass] = {}
        self._announced: dict[Prefix, RouteClass] = {}
        self._before: dict[Prefix, RouteClass | None] = {}
        """What each prefix that waits was announced with before, None for nothing; also while it has no addresses."""
        self._totals: Counter[tuple[Family, RouteClass]] = Counter()
        self._changed: dict[Prefix, RouteClass | None] = {}
        self._held_back: dict[Prefix, frozenset[str]] = {}
        """Those that not every peer gets as their contributors want it, and which of these wait."""
        self._held_back_changed = False

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

    def take_held_back_changed(self) -> bool:
        """Return whether a prefix was held back, by whatever, or no longer is, or otherwise, since the last call."""
        changed, self._held_back_changed = self._held_back_changed, False
        return changed

    def class_of(self, names: frozenset[str]) -> RouteClass:
        """Return the class of a prefix that exactly these advertisements contribute to."""
        if (known := self._classes.get(names)) is None:
            contributions = (self._contributions.get(name) for name in sorted(names))
            known = self._classes[names] = merged(each for each in contributions if each is not None)
        return known

    @property
    def waits(self) -> bool:
        """Whether any advertisement waits for a community."""
        return bool(self._waiting)

    def waiting_for(self, prefix: Prefix, peer: str | None = None) -> list[str]:
        """Return the advertisements of a prefix that wait for a community: all, or those that are for a peer."""
        names = sorted(self._waiting & self._names_of.get(prefix, frozenset()))
        return [name for name in names if peer is None or self._contributions[name].reaches(peer)]

    def reaches(self, names: Iterable[str], peer: str) -> bool:
        """Return whether any of these advertisements is for a peer, if it waits as well."""
        found = (self._contributions.get(name) for name in names)
        return any(each.reaches(peer) for each in found if each is not None)

    def hold(self, routes: Mapping[Prefix, RouteClass]) -> None:
        """Have the prefixes that wait stay as these say: what FRR runs, which another process knew more of."""
        found = {prefix: route_class for prefix, route_class in routes.items() if prefix in self._before}
        self._before |= found
        self._settle(found)

    def set_contributions(self, contributions: Mapping[str, Contribution], changed: AbstractSet[str]) -> set[Prefix]:
        """Take in what advertisements say, of which those of the names in `changed` say something else now.

        Returns what to `settle`, once it is known which of them contribute to what.
        """
        self._contributions = contributions
        self._waiting = frozenset(name for name, each in contributions.items() if each.attributes is None)
        if not self._waiting:
            self._before.clear()
        for names in [names for names in self._classes if not changed.isdisjoint(names)]:
            del self._classes[names]
        touched = (prefixes for names, prefixes in self._prefixes_of.items() if not changed.isdisjoint(names))
        return set[Prefix]().union(*touched)

    def contribute(self, old: Mapping[Prefix, Names], new: Mapping[Prefix, Names]) -> set[Prefix]:
        """Replace the prefixes of an address, with the advertisements of each. Returns what to `settle`."""
        for prefix, names in old.items():
            self._count(prefix, names, -1)
        for prefix, names in new.items():
            self._count(prefix, names, 1)
        return old.keys() | new.keys()

    def settle(self, moved: AbstractSet[Prefix], touched: AbstractSet[Prefix]) -> None:
        """Note what has become of prefixes that have other contributors, and of those whose contributors say else."""
        for prefix in moved:
            self._file(prefix)
        self._settle(moved | touched)

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
            before = self._announced.get(prefix)
            now, waiting = self._class_now(prefix, before)
            refused = now is not None and not now.announceable
            held_back = waiting if waiting or refused else None
            if held_back != self._held_back.get(prefix) or (waiting and now != before):
                self._held_back_changed = True
                if held_back is None:
                    del self._held_back[prefix]
                else:
                    self._held_back[prefix] = held_back
            if refused:
                now = None
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

    def _class_now(self, prefix: Prefix, announced: RouteClass | None) -> tuple[RouteClass | None, frozenset[str]]:
        """Return what a prefix is advertised with, and which of its contributors wait."""
        names = self._names_of.get(prefix)
        if not names:
            return None, frozenset()
        now, waiting = self.class_of(names), self._waiting & names
        if waiting:
            before = self._before.setdefault(prefix, announced)
            return held(now, before, (self._contributions[name] for name in waiting)), waiting
        self._before.pop(prefix, None)
        return now, waiting

    def _total(self, family: Family, route_class: RouteClass, change: int) -> None:
        self._totals[family, route_class] += change
        if not self._totals[family, route_class]:
            del self._totals[family, route_class]

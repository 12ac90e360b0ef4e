"""Which advertisements announce an address here, found once for all addresses for which it must be the same."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from collections.abc import Set as AbstractSet

from allocator.bgp.eligibility import Readable, Selection, selection
from allocator.bgp.inputs import Service
from allocator.core.addresses import Address, Family

Group = tuple[Family, tuple[str, ...], frozenset[tuple[str, str]]]
"""Family and pools of addresses, and the Service's labels where any advertisement asks for them."""


class AddressGroups:
    """Groups of addresses, the Services that have some in each, and the advertisements selected for it.

    `here` are the advertisements that cover this node, `pools` the labels of each pool; both are read anew, and who
    changes them says so. Belongs to one thread.
    """

    def __init__(self, here: Mapping[str, Readable], pools: Mapping[str, Mapping[str, str]]) -> None:
        self._here = here
        self._pools = pools
        self._labels_asked = False
        self._selections: dict[Group, Selection] = {}
        self._members: dict[Group, set[str]] = {}

    def join(self, key: str, address: Address, pools: tuple[str, ...], service: Service) -> Selection:
        """Count a Service to the group of an address of its, and return the advertisements of that."""
        group = self._group(address, pools, service)
        self._members.setdefault(group, set()).add(key)
        return self._select(group)

    def leave(self, key: str, service: Service) -> None:
        """Count a Service to no group any more, as it was."""
        for group in {self._group(address, pools, service) for address, pools in service.addresses.items()}:
            self._members[group].discard(key)
            if not self._members[group]:
                del self._members[group]
                del self._selections[group]

    def regroup(self) -> bool:
        """Return whether groups differ by something else now: then all have to join anew."""
        asked = any(each.advertisement.service_selectors for each in self._here.values())
        if asked == self._labels_asked:
            return False
        self._labels_asked = asked
        self._selections.clear()
        self._members.clear()
        return True

    def reselect(self, concerned: Callable[[Group], bool] = lambda _: True) -> set[str]:
        """Select again for these groups; return the Services for which something else was found."""
        services: set[str] = set()
        for group in [group for group in self._selections if concerned(group)]:
            before = self._selections.pop(group)
            if self._select(group) != before:
                services |= self._members[group]
        return services

    def announced_by(self, names: AbstractSet[str]) -> set[str]:
        """Return the Services of which any address is announced by one of these advertisements."""
        services: set[str] = set()
        for group, found in self._selections.items():
            if any(name in names for name, _ in found.advertisements):
                services |= self._members[group]
        return services

    def _group(self, address: Address, pools: tuple[str, ...], service: Service) -> Group:
        return address.family, pools, frozenset(service.labels.items() if self._labels_asked else ())

    def _select(self, group: Group) -> Selection:
        if (known := self._selections.get(group)) is None:
            family, pools, labels = group
            known = self._selections[group] = selection(
                self._here.values(),
                family=family,
                pools=pools,
                pool_labels=self._pools,
                service_labels=dict(labels),
            )
        return known

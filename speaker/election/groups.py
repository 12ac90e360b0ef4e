"""The groups of addresses that are elected together, kept in step with the cluster Service by Service."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from allocator.core.addresses import Address
from allocator.kube.reflector import Key
from speaker.cluster.eligible_nodes import EligibleNodes
from speaker.cluster.service_address import ServiceAddress
from speaker.cluster.state import Changes, View
from speaker.election.candidates import Candidates, CandidateSet, Slots, shared


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupChanges:
    """Groups that are no longer, groups that are new, and CandidateSets in which these nodes have changed; where the
    eligible nodes of several Services come together, others may have changed with them."""

    removed: Collection[Candidates] = ()
    added: Collection[Candidates] = ()
    eligible: Mapping[CandidateSet, Collection[str]] = field(default_factory=dict)


class Groups:
    """Groups the addresses of the Services of a view. Owned by the view's thread.

    The addresses of a dual-stack Service go together, so do those of Services that share one; but where no node may
    announce all of them, each is decided apart.
    """

    def __init__(self, view: View) -> None:
        self._view = view
        self._of_address: dict[Address, Candidates] = {}
        self._of_service: dict[Key, tuple[Candidates, ...]] = {}
        self._sets: dict[Slots, CandidateSet] = {}
        self._sets_with: dict[EligibleNodes, set[CandidateSet]] = {}
        self._mixed: dict[EligibleNodes, set[Key]] = {}

    def all(self) -> Collection[Candidates]:
        """Every group there is."""
        return set(self._of_address.values())

    def of(self, address: Address) -> Candidates | None:
        """Return the group that the address is in."""
        return self._of_address.get(address)

    def update(self, changes: Changes) -> GroupChanges:
        """Follow the view."""
        # Whether there is a node for all of a group's addresses may depend on any node where these differ.
        mixed = {key for eligible in changes.eligible for key in self._mixed.get(eligible, ())}
        members = self._closure(changes.services | mixed)
        removed = {group: None for key in members for group in self._of_service.pop(key, ())}
        for group in removed:
            for address in group.addresses:
                del self._of_address[address]
            self._release(group.eligible)
        for eligible in [each for each, keys in self._mixed.items() if not keys.isdisjoint(members)]:
            self._mixed[eligible] -= members
            if not self._mixed[eligible]:
                del self._mixed[eligible]
        added = [group for component in self._components(members) for group in self._group(component)]
        for group in added:
            for address in group.addresses:
                self._of_address[address] = group
        touched: dict[CandidateSet, Collection[str]] = {}
        for one, nodes in changes.eligible.items():
            for each in self._sets_with.get(one, ()):
                touched[each] = nodes
        return GroupChanges(removed=removed, added=added, eligible=touched)

    def _closure(self, keys: Iterable[Key]) -> set[Key]:
        """Return the Services with those that have an address in common with them, now or until now."""
        found: set[Key] = set()
        left = list(keys)
        while left:
            key = left.pop()
            if key in found:
                continue
            found.add(key)
            left += (user for each in self._view.addresses_of(key) for user in self._view.users_of(each.address))
            left += (user for group in self._of_service.get(key, ()) for user, _ in group.services)
        return found

    def _components(self, keys: set[Key]) -> list[list[ServiceAddress]]:
        """Split the Services' addresses into those that have no address in common."""
        components = []
        left = set(keys)
        while left:
            component: list[ServiceAddress] = []
            queue = [left.pop()]
            while queue:
                for each in self._view.addresses_of(queue.pop()):
                    component.append(each)
                    more = left.intersection(self._view.users_of(each.address))
                    left -= more
                    queue += more
            if component:
                components.append(sorted(component, key=lambda each: (each.service, each.address)))
        return components

    def _group(self, component: list[ServiceAddress]) -> list[Candidates]:
        distinct = {each.eligible for each in component if each.nodes and each.eligible is not None}
        if len(distinct) > 1:
            for eligible in distinct:
                self._mixed.setdefault(eligible, set()).update(each.service for each in component)
        return [self._candidates(part) for part in parts(component)]

    def _candidates(self, part: Part) -> Candidates:
        eligible = self._sets.get(part.slots)
        if eligible is None:
            eligible = self._sets[part.slots] = CandidateSet(part.slots)
            for each in {each for slot in part.slots for each in slot}:
                self._sets_with.setdefault(each, set()).add(eligible)
        eligible.groups += 1
        group = part.candidates(eligible)
        for key in {key for key, _ in group.services}:
            self._of_service[key] = (*self._of_service.get(key, ()), group)
        return group

    def _release(self, eligible: CandidateSet) -> None:
        eligible.groups -= 1
        if eligible.groups:
            return
        del self._sets[eligible.slots]
        for each in {each for slot in eligible.slots for each in slot}:
            others = self._sets_with[each]
            others.discard(eligible)
            if not others:
                del self._sets_with[each]


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """Addresses that go together, ascending; the eligible nodes and the Services of each; what ranks the nodes."""

    addresses: tuple[Address, ...]
    slots: Slots
    services: tuple[tuple[Key, Address], ...]
    ranked_by: Address

    def candidates(self, eligible: CandidateSet) -> Candidates:
        """Return the group with its candidates."""
        return Candidates(
            addresses=self.addresses, services=self.services, ranked_by=self.ranked_by, eligible=eligible
        )


def parts(component: Sequence[ServiceAddress]) -> list[Part]:
    """Split what has addresses in common, ordered by Service and address, into what goes together."""
    by_address: dict[Address, list[ServiceAddress]] = {}
    for each in component:
        if each.nodes:
            by_address.setdefault(each.address, []).append(each)
    slots = {address: _slot(by_address[address]) for address in sorted(by_address)}
    if not slots:
        return []
    together = len({each for slot in slots.values() for each in slot}) == 1
    if together or set.intersection(*(set(shared(slot)) for slot in slots.values())):
        services = sorted((each.service, address) for address, found in by_address.items() for each in found)
        return [
            Part(
                addresses=tuple(slots),
                slots=tuple(slots.values()),
                services=tuple(services),
                # Not by a Service that nobody may announce: it is in no group, and may leave unnoticed.
                ranked_by=next(each.first for each in component if each.nodes),
            )
        ]
    return [
        Part(
            addresses=(address,),
            slots=(slot,),
            services=tuple(sorted((each.service, address) for each in by_address[address])),
            ranked_by=address,
        )
        for address, slot in slots.items()
    ]


def _slot(sharing: Iterable[ServiceAddress]) -> tuple[EligibleNodes, ...]:
    found = {each.eligible for each in sharing if each.eligible is not None}
    return tuple(sorted(found, key=id))

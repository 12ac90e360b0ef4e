"""The cluster as the speaker sees it, kept up to date change by change, with every election prepared.

Data flow: watch event -> `View.apply` -> `View.refresh` -> `View.service_addresses` (who could announce what), of
which the election makes groups of candidates. What is left for the death of a node is the decision among those alive.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import TypeVar

from allocator.core.addresses import Address
from allocator.core.pool_selection import origin_of
from allocator.core.pools import Pool
from allocator.kube.client import Object
from allocator.kube.reflector import Change, Key
from allocator.kube.resource import LEASES, NODES, SERVICES
from allocator.objects.assignment import given_from
from allocator.objects.document import Document, InvalidDocument
from allocator.objects.names import IP_ADDRESS_POOLS, L2_ADVERTISEMENTS
from allocator.objects.pool import pool_from
from allocator.objects.service import addresses_in_status, wants_address
from allocator.process.logs import EventLog
from speaker.cluster import endpoints
from speaker.cluster.advertisements import Advertisement, advertisement_from
from speaker.cluster.eligibility import eligibility
from speaker.cluster.nodes import Node, node_from
from speaker.cluster.service_address import ServiceAddress
from speaker.membership.lease import SpeakerLease, lease_from
from speaker.membership.link import Subnet

log = EventLog("view")

_Key = TypeVar("_Key")
_Value = TypeVar("_Value")


class View:
    """Mirrors what decides about announcements. Owned by one thread."""

    def __init__(self, *, lb_class: str = "") -> None:
        self._lb_class = lb_class
        self._services: dict[Key, Object] = {}
        self._slices: dict[Key, dict[str, Object]] = {}
        self._slice_owners: dict[Key, Key] = {}
        self._nodes: dict[str, Node] = {}
        self._pools: dict[str, Pool] = {}
        self._advertisements: dict[str, Advertisement] = {}
        self._leases: dict[str, SpeakerLease] = {}
        self._addresses: dict[Key, tuple[ServiceAddress, ...]] = {}
        self._uses: dict[Key, frozenset[Address]] = {}
        self._users: dict[Address, set[Key]] = {}
        self._dirty: set[Key] = set()
        self.rules_changed = False
        """Set when pools, advertisements or nodes have changed in what decides; for its owner to clear."""

    def apply(self, change: Change) -> None:
        """Take in one change; what it affects is recomputed by the next `refresh`."""
        plural, name = change.resource.plural, change.key[1]
        if plural == SERVICES.plural:
            _put(self._services, change.key, change.new)
            self._note_service(change.key)
        elif plural == LEASES.plural:
            lease = None if change.new is None else lease_from(change.new)
            _put(self._leases, name, lease)
        elif plural == NODES.plural:
            # Nodes report their status all day; only what decides may cost a recomputation.
            node = None if change.new is None else node_from(change.new)
            before = self._nodes.get(name)
            if _put(self._nodes, name, node) and not _alike(before, node):
                self.rules_changed = True
                self._dirty |= self._services.keys()
        elif plural == IP_ADDRESS_POOLS.plural:
            # A pool's counters change with every Service; only what it says of itself decides.
            if _put(self._pools, name, _read(change, pool_from, otherwise=self._pools.get(name))):
                self.rules_changed = True
                self._dirty |= self._services.keys()
        elif plural == L2_ADVERTISEMENTS.plural:
            known = self._advertisements.get(name)
            if _put(self._advertisements, name, _read(change, advertisement_from, otherwise=known)):
                self.rules_changed = True
                self._dirty |= self._services.keys()
        else:
            self._apply_slice(change)

    def refresh(self) -> bool:
        """Recompute what the changes since the last call affect; tell whether who could announce what is another."""
        changed = False
        for key in self._dirty:
            fresh = self._candidates(key)
            before = self._addresses.get(key, ())
            if fresh == before:
                continue
            changed = True
            _log_nobody(before, fresh)
            if fresh:
                self._addresses[key] = fresh
            else:
                self._addresses.pop(key, None)
        self._dirty.clear()
        return changed

    def service_addresses(self) -> Iterable[tuple[ServiceAddress, ...]]:
        """Return each Service's addresses with the nodes that may announce them, as of the last `refresh`."""
        return self._addresses.values()

    def rules(self) -> tuple[Mapping[str, Pool], Iterable[Advertisement], Iterable[Node]]:
        """Return the pools, advertisements and nodes as last seen."""
        return self._pools, self._advertisements.values(), self._nodes.values()

    def service(self, key: Key) -> Object | None:
        """Return the Service as last seen."""
        return self._services.get(key)

    def peers(self) -> dict[str, tuple[str, ...]]:
        """Return every node with a speaker, this one included: name to the addresses it is reached at."""
        found = {}
        for lease in self._leases.values():
            node = self._nodes.get(lease.node)
            if node is not None:
                addresses = lease.addresses or ((node.internal_ip,) if node.internal_ip else ())
                found[lease.node] = addresses
        return found

    def staying(self) -> frozenset[str]:
        """Return the nodes of which nothing says that they are about to go."""
        return frozenset(node.name for node in self._nodes.values() if node.stays)

    def hosts(self) -> dict[str, tuple[str, ...]]:
        """Return every node with an InternalIP: name to that address."""
        return {node.name: (node.internal_ip,) for node in self._nodes.values() if node.internal_ip}

    def subnets(self) -> dict[str, tuple[Subnet, ...]]:
        """Return the subnets of each node's interfaces, by its speaker's Lease."""
        return {lease.node: lease.subnets for lease in self._leases.values()}

    def _apply_slice(self, change: Change) -> None:
        # The label that ties a slice to its Service may change or go.
        old_owner = self._slice_owners.pop(change.key, None)
        if old_owner is not None:
            self._slices.get(old_owner, {}).pop(change.key[1], None)
            if not self._slices.get(old_owner):
                self._slices.pop(old_owner, None)
            self._dirty.add(old_owner)
        owner = endpoints.service_of(change.new) if change.new else None
        if owner is not None and change.new is not None:
            self._slice_owners[change.key] = owner
            self._slices.setdefault(owner, {})[change.key[1]] = change.new
            self._dirty.add(owner)

    def _note_service(self, key: Key) -> None:
        """Keep track of who shares addresses: what one Service does may be the others' affair."""
        service = self._services.get(key)
        wanted = service is not None and wants_address(service, lb_class=self._lb_class)
        now = frozenset(addresses_in_status(service)) if service is not None and wanted else frozenset()
        before = self._uses.pop(key, frozenset())
        if now:
            self._uses[key] = now
        self._dirty.add(key)
        for address in before ^ now:
            users = self._users.setdefault(address, set())
            self._dirty |= users
            users.symmetric_difference_update({key})
            if not users:
                del self._users[address]

    def _candidates(self, key: Key) -> tuple[ServiceAddress, ...]:
        service = self._services.get(key)
        if service is None or not wants_address(service, lb_class=self._lb_class):
            return ()
        addresses = addresses_in_status(service)
        serving = endpoints.serving(self._slices.get(key, {}).values())
        recorded = given_from(service)
        return tuple(
            self._service_address(key, service, address, addresses[0], serving, recorded) for address in addresses
        )

    def _service_address(
        self,
        key: Key,
        service: Object,
        address: Address,
        first: Address,
        serving: endpoints.Serving,
        recorded: Mapping[Address, Sequence[str]],
    ) -> ServiceAddress:
        who = eligibility(
            service,
            origin=origin_of(address, self._pools, recorded=recorded.get(address, ())),
            serving=serving,
            advertisements=self._advertisements.values(),
            nodes=self._nodes.values(),
            shared=len(self._users.get(address, ())) > 1,
        )
        return ServiceAddress(service=key, address=address, first=first, nodes=who.nodes, nobody=who.nobody)


def _put(values: dict[_Key, _Value], key: _Key, value: _Value | None) -> bool:
    """Store or, for None, remove; tell whether that made a difference."""
    before = values.get(key)
    if value is None:
        values.pop(key, None)
    else:
        values[key] = value
    return before != value


def _alike(before: Node | None, after: Node | None) -> bool:
    """Tell whether both may announce, and how, is the same."""
    return before is not None and after is not None and replace(before, cordoned=after.cordoned) == after


def _read(change: Change, parse: Callable[[Document], _Value], *, otherwise: _Value | None) -> _Value | None:
    if change.new is None:
        return None
    try:
        return parse(change.new)
    except InvalidDocument as error:
        # Admission refuses these, but may not have been there. What is announced must not go down for it.
        log.warning("object.invalid", kind=change.resource.kind, name=change.key[1], error=error)
        return otherwise


def _log_nobody(before: Iterable[ServiceAddress], after: Iterable[ServiceAddress]) -> None:
    known = {each.address: each.nobody for each in before}
    for each in after:
        if each.nobody is not None and known.get(each.address) != each.nobody:
            service = "/".join(each.service)
            log.info("address.unannounced", ip=each.address, service=service, reason=each.nobody)

"""The cluster as the speaker sees it, kept up to date change by change: the cost follows the change.

Data flow: watch event -> `View.apply` -> `View.refresh` -> `Changes`, by which the election brings its groups of
candidates up to date. What is left for the death of a node is the decision among those alive.

What is kept of an object is what decides. Who may announce is kept once for all addresses to which the same
advertisements apply (`EligibleNodes`), so that

- a change of a Service or of its slices touches its own addresses, and those of whom it shares them with;
- a change of a node touches one entry in each EligibleNodes;
- a change of a pool touches the addresses in it or given from it, before or after;
- a change of an advertisement's nodes, interfaces or preferences touches the EligibleNodes that it is part of; of
  what it selects the addresses of the pools selected before or after, as its creation and deletion do;
- a Lease touches what is known of its own node.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import TypeVar

from allocator.core.addresses import Address
from allocator.core.pool_selection import Origin, PoolSelection, origin_of
from allocator.core.pools import Pool
from allocator.kube.reflector import Change, Key
from allocator.kube.resource import LEASES, NODES, SERVICES
from allocator.objects.announced_service import Service
from allocator.objects.endpoint_slice import Serving, Slice, serving
from allocator.objects.names import IP_ADDRESS_POOLS, IP_ALLOCATIONS, L2_ADVERTISEMENTS
from allocator.objects.node import Node
from allocator.process.logs import EventLog
from speaker.cluster.address_users import AddressUsers
from speaker.cluster.advertisements import Advertisement
from speaker.cluster.eligibility import Nobody, covering, impediment
from speaker.cluster.eligible_nodes import EligibilityIndex, EligibleNodes, LeftOut
from speaker.cluster.node_move import NodeMove, address_of
from speaker.cluster.observation import Observation, observe
from speaker.cluster.service_address import ServiceAddress
from speaker.cluster.speaker_nodes import SpeakerNodes
from speaker.membership.lease import SpeakerLease

log = EventLog("view")

_Key = TypeVar("_Key")
_Value = TypeVar("_Value")


@dataclass(frozen=True, slots=True, kw_only=True)
class Changes:
    """What one `refresh` has brought: Services whose addresses may be announced otherwise than before, all addresses
    that they have or had, and EligibleNodes with the names of the nodes that are others in them.

    `seen` are all Services that were looked at: of any of them `served` may say something else."""

    services: frozenset[Key] = frozenset()
    seen: frozenset[Key] = frozenset()
    addresses: frozenset[Address] = frozenset()
    eligible: Mapping[EligibleNodes, set[str]] = field(default_factory=dict)

    def __bool__(self) -> bool:
        return bool(self.services or self.eligible)


class View:
    """Keeps what decides about announcements. Owned by one thread."""

    def __init__(self, *, lb_class: str = "") -> None:
        self._lb_class = lb_class
        self._services: dict[Key, Service] = {}
        self._slices: dict[Key, Slice] = {}
        self._slices_of: dict[Key, tuple[Key, ...]] = {}
        self._pools: dict[str, Pool] = {}
        self._moves: dict[Address, str] = {}
        self._index = EligibilityIndex()
        self.nodes = SpeakerNodes(self._index.nodes)
        """Those with a speaker."""
        self._users = AddressUsers()
        self._addresses: dict[Key, tuple[ServiceAddress, ...]] = {}
        self._services_of: dict[EligibleNodes, set[Key]] = {}
        self._nobody: dict[EligibleNodes, Nobody | None] = {}
        self._covering: dict[object, tuple[tuple[Advertisement, ...], frozenset[str]]] = {}
        self._dirty: dict[Key, None] = {}
        self.rules_changed = False
        """Set when pools, advertisements or nodes have changed in what decides; for its owner to clear."""

    def read(self, change: Change) -> Observation | None:
        """Read a watch event; None where it changes nothing. Any thread may."""
        return observe(change, lb_class=self._lb_class)

    def apply(self, seen: Observation) -> None:
        """Take in one change; what it affects is recomputed by the next `refresh`."""
        name, value = seen.key[1], seen.value
        match seen.plural:
            case SERVICES.plural:
                self._put_service(seen.key, value if isinstance(value, Service) else None)
            case LEASES.plural:
                self.nodes.put_lease(name, value if isinstance(value, SpeakerLease) else None)
            case NODES.plural:
                self._put_node(name, value if isinstance(value, Node) else None)
            case IP_ADDRESS_POOLS.plural:
                self._put_pool(name, value if isinstance(value, Pool) else None)
            case L2_ADVERTISEMENTS.plural:
                self._put_advertisement(name, value if isinstance(value, Advertisement) else None)
            case IP_ALLOCATIONS.plural:
                self._put_move(name, value.node if isinstance(value, NodeMove) else "")
            case _:
                self._put_slice(seen.key, value if isinstance(value, Slice) else None)

    @property
    def pending(self) -> bool:
        """Whether a `refresh` has work left."""
        return bool(self._dirty)

    def refresh(self, *, at_most: int | None = None) -> Changes:
        """Recompute what the changes since the last call affect, of at most so many Services."""
        eligible = self._index.take_changed()
        for each in eligible:
            nobody = self._index.nobody(each)
            if self._nobody.get(each) != nobody:
                self._nobody[each] = nobody
                self._doubt(self._services_of.get(each, ()))
        changed: set[Key] = set()
        seen: set[Key] = set()
        addresses: set[Address] = set()
        for _ in itertools.count() if at_most is None else range(at_most):
            if not self._dirty:
                break
            key = next(iter(self._dirty))
            del self._dirty[key]
            seen.add(key)
            before = self.addresses_of(key)
            if self._recompute(key):
                changed.add(key)
                addresses.update(each.address for each in (*before, *self.addresses_of(key)))
        return Changes(
            services=frozenset(changed), seen=frozenset(seen), addresses=frozenset(addresses), eligible=eligible
        )

    def addresses_of(self, key: Key) -> tuple[ServiceAddress, ...]:
        """Return a Service's addresses with the nodes that may announce them, as of the last `refresh`."""
        return self._addresses.get(key, ())

    def served(self, key: Key) -> tuple[Service, Serving] | None:
        """Return a Service with addresses, and where its endpoints serve; None for one that is not known."""
        service = self._services.get(key)
        if service is None:
            return None
        return service, serving((self._slices[each] for each in self._slices_of.get(key, ())), service.ports)

    @property
    def pools(self) -> Mapping[str, Pool]:
        """The pools as last seen."""
        return self._pools

    def users_of(self, address: Address) -> tuple[Key, ...]:
        """Return the Services that have the address."""
        return self._users.of(address)

    def left_out(self, key: Key, address: Address) -> LeftOut:
        """Return which nodes may not announce the Service's address, and why, where any node might."""
        eligible = next((each.eligible for each in self.addresses_of(key) if each.address == address), None)
        return () if eligible is None else self._index.left_out(eligible)

    def take_left_out_changed(self) -> bool:
        """Return whether `left_out` may say something else of any address than at the last call."""
        changed, self._index.left_out_changed = self._index.left_out_changed, False
        return changed

    def uid_of(self, key: Key) -> str:
        """Return the uid of a Service; empty for one that is not known."""
        service = self._services.get(key)
        return "" if service is None else service.uid

    def rules(self) -> tuple[Mapping[str, Pool], Iterable[Advertisement], Iterable[Node]]:
        """Return the pools, advertisements and nodes as last seen."""
        return self._pools, self._index.advertisements.values(), self._index.nodes.values()

    def _put_node(self, name: str, node: Node | None) -> None:
        # Nodes report their status all day; only what decides may cost anything.
        before = self._index.nodes.get(name)
        if node == before:
            return
        self.nodes.node_changed(before, node)
        if before is not None and node is not None and replace(before, cordoned=node.cordoned) == node:
            self._index.nodes[name] = node
        else:
            self.rules_changed = True
            self._index.put_node(name, node)

    def _put_pool(self, name: str, pool: Pool | None) -> None:
        # A pool's counters change with every Service; only which addresses it has and its labels decide.
        before = self._pools.get(name)
        self.rules_changed = _put(self._pools, name, pool) or self.rules_changed
        if before is not None and pool is not None and (before.ranges, before.labels) == (pool.ranges, pool.labels):
            return
        if before is pool is None:
            return
        self._covering.clear()
        self._doubt(self._users.of_pool(name, before, pool))

    def _put_advertisement(self, name: str, advertisement: Advertisement | None) -> None:
        before = self._index.advertisements.get(name)
        if advertisement == before:
            return
        self.rules_changed = True
        self._covering.clear()
        self._index.put_advertisement(name, advertisement)
        if before is None or advertisement is None or _selection(before) != _selection(advertisement):
            for version in (before, advertisement):
                if version is not None:
                    self._doubt_selected(version.pools)

    def _doubt_selected(self, selection: PoolSelection) -> None:
        """Look again at the Services with an address of a pool that is selected, or was given from it."""
        if selection.everything:
            self._doubt(self._services)
            return
        # Of a pool that is gone its name is left.
        for name in selection.names - self._pools.keys():
            self._doubt(self._users.of_pool(name))
        for pool in self._pools.values():
            if selection.covers(pool):
                self._doubt(self._users.of_pool(pool.name, pool))

    def _doubt(self, keys: Iterable[Key]) -> None:
        """Look again at these Services with the next `refresh`."""
        self._dirty.update(dict.fromkeys(keys))

    def _put_move(self, claim: str, node: str) -> None:
        address = address_of(claim)
        if address is not None and _put(self._moves, address, node or None):
            self._doubt(self._users.of(address))

    def _put_slice(self, key: Key, new: Slice | None) -> None:
        before = self._slices.get(key)
        if not _put(self._slices, key, new):
            return
        if before is not None and (new is None or new.owner != before.owner):
            # The label that ties a slice to its Service may change or go.
            left = tuple(other for other in self._slices_of[before.owner] if other != key)
            _put(self._slices_of, before.owner, left or None)
            self._dirty[before.owner] = None
        if new is not None:
            known = self._slices_of.get(new.owner, ())
            if key not in known:
                self._slices_of[new.owner] = (*known, key)
            self._dirty[new.owner] = None

    def _put_service(self, key: Key, service: Service | None) -> None:
        before = self._services.get(key)
        if not _put(self._services, key, service):
            return
        self._dirty[key] = None
        self._users.note_pools(key, before, service)

    def _recompute(self, key: Key) -> bool:
        """Find out who may announce a Service's addresses; return whether that is anything new."""
        before = self._addresses.get(key, ())
        service = self._services.get(key)
        # Who shares an address with it: what one Service does may be the others' affair.
        self._doubt(
            self._users.note_addresses(
                key, [each.address for each in before], service.addresses if service is not None else ()
            )
        )
        fresh = self._judge(key)
        for each in fresh:
            if each.eligible is not None:
                self._services_of.setdefault(each.eligible, set()).add(key)
                self._nobody[each.eligible] = self._index.nobody(each.eligible)
        for each in before:
            if each.eligible is not None:
                self._release(key, each.eligible, kept=any(other.eligible is each.eligible for other in fresh))
        if fresh == before:
            return False
        _log_nobody(before, fresh)
        _put(self._addresses, key, fresh or None)
        return True

    def _release(self, key: Key, eligible: EligibleNodes, *, kept: bool) -> None:
        self._index.release(eligible)
        if not kept and eligible in self._services_of:
            self._services_of[eligible].discard(key)
        if not eligible.users:
            self._services_of.pop(eligible, None)
            self._nobody.pop(eligible, None)

    def _judge(self, key: Key) -> tuple[ServiceAddress, ...]:
        known = self.served(key)
        if known is None:
            return ()
        service, served = known
        return tuple(
            self._judge_address(service, address, recorded, served)
            for address, recorded in zip(service.addresses, service.recorded, strict=True)
        )

    def _judge_address(
        self, service: Service, address: Address, recorded: tuple[str, ...], served: Serving
    ) -> ServiceAddress:
        origin = origin_of(address, self._pools, recorded=recorded)
        advertisements, names = self._covering_of(origin, service)
        nobody = impediment(
            origin=origin,
            serving=served,
            advertisements=advertisements,
            shared=len(self._users.of(address)) > 1,
        )
        eligible = None
        if nobody is None:
            serving_nodes = served.nodes if service.local else None
            eligible = self._index.use(names, serving_nodes, self._moves.get(address, ""))
            nobody = self._index.nobody(eligible)
        return ServiceAddress(
            service=service.key, address=address, first=service.addresses[0], eligible=eligible, nobody=nobody
        )

    def _covering_of(self, origin: Origin, service: Service) -> tuple[tuple[Advertisement, ...], frozenset[str]]:
        """Return the advertisements that cover it, and their names; known already unless they choose Services."""
        kind = (tuple(pool.name for pool in origin.pools), origin.gone)
        found = self._covering.get(kind)
        if found is None:
            all_of_them = self._index.advertisements.values()
            advertisements = covering(all_of_them, origin=origin, labels=service.labels)
            found = (advertisements, frozenset(each.name for each in advertisements))
            if not any(each.service_selectors for each in all_of_them):
                self._covering[kind] = found
        return found


def _selection(advertisement: Advertisement) -> object:
    return advertisement.pools, advertisement.service_selectors


def _put(values: dict[_Key, _Value], key: _Key, value: _Value | None) -> bool:
    """Store or, for None, remove; return whether that made a difference."""
    before = values.get(key)
    if value is None:
        values.pop(key, None)
    else:
        values[key] = value
    return before != value


def _log_nobody(before: tuple[ServiceAddress, ...], after: tuple[ServiceAddress, ...]) -> None:
    known = {each.address: each.nobody for each in before}
    for each in after:
        if each.nobody is not None and known.get(each.address) != each.nobody:
            service = "/".join(each.service)
            log.info("address.unannounced", ip=each.address, service=service, reason=each.nobody)

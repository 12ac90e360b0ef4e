"""The addresses that nobody announces yet and that the LAN is asked about: those that come next in each pool, and
those of Services that were admitted and show no address yet."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from allocator.core.addresses import Address
from allocator.core.pool_selection import Origin
from allocator.core.pools import Pool, owning_pool
from allocator.kube.client import Object
from allocator.kube.reflector import Change, Key
from allocator.kube.resource import SERVICES
from allocator.objects.names import IP_ADDRESS_POOLS
from allocator.objects.node import Node
from allocator.objects.pool_status import Answer, answers_in, asked_addresses
from allocator.objects.service import addresses_in_annotation, addresses_in_status, wants_address
from speaker.cluster.advertisements import Advertisement
from speaker.cluster.eligibility import standing
from speaker.cluster.eligible_nodes import EligibleNodes
from speaker.cluster.scope import Scope
from speaker.cluster.service_address import ServiceAddress


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """That the LAN is to be asked about an address, on which interfaces."""

    scope: Scope
    companions: int = 1
    """Of how many addresses it is one that share a rate: those of its pool."""
    claimed: bool = False
    """A Service is about to have it: it is asked about before all that only waits to be given."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PoolReports:
    """What a pool's status says of the LAN: the addresses asked about, and who was heard to have one."""

    asked: frozenset[Address]
    answers: Mapping[Address, Answer]


@dataclass(slots=True)
class _Rules:
    """What decides who might announce, as of the last look."""

    pools: Mapping[str, Pool]
    advertisements: Sequence[Advertisement]
    nodes: Sequence[Node]
    by_pool: dict[str, EligibleNodes] = field(default_factory=dict)
    """By pool, worked out when they are asked for: there are few pools, and addresses of each have the same nodes."""

    def eligible(self, pool: Pool) -> EligibleNodes:
        found = self.by_pool.get(pool.name)
        if found is None:
            # Which labels the Service will have nobody knows: whoever may announce some Service is asked.
            advertisements = [each for each in self.advertisements if each.covers_pools(Origin((pool,)))]
            standings = {node.name: standing(node, advertisements) for node in self.nodes}
            nodes = {name: found for name, found in standings.items() if found is not None}
            found = self.by_pool[pool.name] = EligibleNodes(nodes)
        return found


@dataclass(frozen=True, slots=True, kw_only=True)
class NextChange:
    """One object as far as it decides what is asked about: of a `pool` the status (None: it is gone), of a Service
    the addresses that it is about to have."""

    plural: str
    key: Key
    pool: Object | None = None
    claimed: tuple[Address, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class NextSnapshot:
    """What is known of pools and new Services at one moment, not worked out yet. Not to be changed."""

    documents: Mapping[str, Object]
    claimed: Mapping[Key, tuple[Address, ...]]
    rules: _Rules

    @property
    def claimed_addresses(self) -> frozenset[Address]:
        """The addresses that Services are about to have."""
        return frozenset(address for addresses in self.claimed.values() for address in addresses)


class NextAddresses:
    """Kept up to date change by change, at a cost that does not depend on how much is known. Owned by one thread."""

    def __init__(self, *, lb_class: str = "") -> None:
        self._lb_class = lb_class
        self._documents: dict[str, Object] = {}
        self._claimed: dict[Key, tuple[Address, ...]] = {}
        self._rules: _Rules | None = None
        self._changed = True

    def read(self, change: Change) -> NextChange | None:
        """Read a watch event of a pool or a Service; None for others. Any thread may."""
        plural, new = change.resource.plural, change.new
        if plural == IP_ADDRESS_POOLS.plural:
            document = None if new is None else {"status": (new.get("status") or {})}
            return NextChange(plural=plural, key=change.key, pool=document)
        if plural == SERVICES.plural:
            return NextChange(plural=plural, key=change.key, claimed=self._claimed_by(new))
        return None

    def apply(self, change: NextChange) -> None:
        """Take in one change."""
        if change.plural == IP_ADDRESS_POOLS.plural:
            name = change.key[1]
            if change.pool is None:
                self._changed = self._documents.pop(name, None) is not None or self._changed
            elif name not in self._documents or _lan_part(self._documents[name]) != _lan_part(change.pool):
                self._documents[name] = change.pool
                self._changed = True
        elif change.claimed != self._claimed.get(change.key, ()):
            self._changed = True
            self._claimed.pop(change.key, None)
            if change.claimed:
                self._claimed[change.key] = change.claimed

    def forget_rules(self) -> None:
        """Pools, advertisements or nodes have changed: who might announce is to be worked out anew."""
        self._rules = None

    def snapshot(
        self, pools: Mapping[str, Pool], advertisements: Iterable[Advertisement], nodes: Iterable[Node]
    ) -> NextSnapshot | None:
        """Return what is known now; None where that is the same as at the last call."""
        if self._rules is not None and not self._changed:
            return None
        if self._rules is None:
            self._rules = _Rules(dict(pools), tuple(advertisements), tuple(nodes))
        self._changed = False
        return NextSnapshot(documents=dict(self._documents), claimed=dict(self._claimed), rules=self._rules)

    def _claimed_by(self, service: Object | None) -> tuple[Address, ...]:
        if service is None or service["metadata"].get("deletionTimestamp") or addresses_in_status(service):
            return ()
        return addresses_in_annotation(service) if wants_address(service, lb_class=self._lb_class) else ()


@dataclass(frozen=True, slots=True)
class _OfPool:
    """What is asked about in one pool, and the status that says so."""

    document: Object
    reports: PoolReports
    service_addresses: tuple[tuple[ServiceAddress, ...], ...]


class AskedAddresses:
    """All that is asked about, as a Service's addresses with the nodes that might announce them.

    Worked out of one snapshot after the other, at the cost of what is other than in the one before. Owned by one
    thread, which need not be the one that takes the snapshots.
    """

    def __init__(self) -> None:
        self._rules: _Rules | None = None
        self._pools: dict[str, _OfPool] = {}
        self._services: dict[Key, tuple[ServiceAddress, ...]] = {}
        self._claimed: frozenset[Address] = frozenset()

    def update(self, snapshot: NextSnapshot) -> None:
        """Follow the snapshot."""
        rules, again = snapshot.rules, snapshot.rules is not self._rules
        self._rules = rules
        pools: dict[str, _OfPool] = {}
        for name, document in snapshot.documents.items():
            known = None if again else self._pools.get(name)
            of_pool = known if known is not None and known.document is document else _of_pool(name, document, rules)
            if of_pool is not None:
                pools[name] = of_pool
        services: dict[Key, tuple[ServiceAddress, ...]] = {}
        for key, addresses in snapshot.claimed.items():
            before = None if again else self._services.get(key)
            same = before is not None and tuple(each.address for each in before) == addresses
            services[key] = before if before is not None and same else _of_service(key, addresses, rules)
        self._pools, self._services = pools, services
        self._claimed = frozenset(each.address for of_service in services.values() for each in of_service)

    @property
    def reports(self) -> dict[str, PoolReports]:
        """What each pool's status says of the LAN."""
        return {name: of_pool.reports for name, of_pool in self._pools.items()}

    def service_addresses(self) -> Iterator[tuple[ServiceAddress, ...]]:
        """Yield what is asked about; of an address that a Service is about to have, only as that Service's."""
        for of_pool in self._pools.values():
            yield from (each for each in of_pool.service_addresses if each[0].address not in self._claimed)
        yield from (of_service for of_service in self._services.values() if of_service)

    def questions(self, scopes: Mapping[Address, Scope]) -> dict[Address, Question]:
        """Return the questions about these of the addresses, on these interfaces."""
        companions = dict.fromkeys(self._claimed, len(self._claimed))
        for of_pool in self._pools.values():
            asked = of_pool.reports.asked
            companions.update((address, len(asked)) for address in asked if address not in self._claimed)
        return {
            address: Question(scope=scope, companions=companions[address], claimed=address in self._claimed)
            for address, scope in scopes.items()
        }


def _of_pool(name: str, document: Object, rules: _Rules) -> _OfPool | None:
    """What is asked about in the pool; None where nobody would announce it."""
    pool = rules.pools.get(name)
    eligible = rules.eligible(pool) if pool is not None else None
    if pool is None or eligible is None or not eligible.nodes:
        return None
    asked = asked_addresses(document, pool)
    reports = PoolReports(asked=frozenset(asked), answers=answers_in(document))
    return _OfPool(
        document, reports, tuple((_service_address(("", name), address, address, eligible),) for address in asked)
    )


def _of_service(key: Key, addresses: tuple[Address, ...], rules: _Rules) -> tuple[ServiceAddress, ...]:
    """The Service's addresses as far as they are in pools: anybody can write the annotation."""
    found = []
    for address in addresses:
        pool = owning_pool(address, rules.pools.values(), recorded="")
        eligible = rules.eligible(pool) if pool is not None and pool.spans(address) else None
        if eligible is not None and eligible.nodes:
            found.append(_service_address(key, address, addresses[0], eligible))
    return tuple(found)


def _service_address(key: Key, address: Address, first: Address, eligible: EligibleNodes) -> ServiceAddress:
    return ServiceAddress(service=key, address=address, first=first, eligible=eligible)


def _lan_part(document: Object | None) -> object:
    status = (document or {}).get("status") or {}
    return status.get("nextAddresses"), status.get("foreignHosts")

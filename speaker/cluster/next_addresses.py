"""The addresses that nobody announces yet and that the LAN is asked about: those that come next in each pool, and
those of Services that were admitted and show no address yet."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
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


@dataclass(frozen=True, slots=True, kw_only=True)
class AskedAddresses:
    """All that is asked about, as a Service's addresses with the nodes that might announce them.

    `companions` says of how many addresses each is one: those of its pool, or those of all new Services.
    """

    service_addresses: tuple[tuple[ServiceAddress, ...], ...] = ()
    companions: Mapping[Address, int] = field(default_factory=dict)
    claimed: frozenset[Address] = frozenset()
    pools: Mapping[str, PoolReports] = field(default_factory=dict)


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


class NextAddresses:
    """Kept up to date change by change. Owned by one thread."""

    def __init__(self, *, lb_class: str = "") -> None:
        self._lb_class = lb_class
        self._documents: dict[str, Object] = {}
        self._reports: dict[str, PoolReports] = {}
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
            before = _lan_part(self._documents.get(name))
            if change.pool is None:
                self._documents.pop(name, None)
            else:
                self._documents[name] = change.pool
            self._changed = self._changed or before != _lan_part(self._documents.get(name))
        elif change.claimed != self._claimed.get(change.key, ()):
            self._changed = True
            self._claimed.pop(change.key, None)
            if change.claimed:
                self._claimed[change.key] = change.claimed

    def forget_rules(self) -> None:
        """Pools, advertisements or nodes have changed: who might announce is to be worked out anew."""
        self._rules = None

    def refresh(
        self, pools: Mapping[str, Pool], advertisements: Iterable[Advertisement], nodes: Iterable[Node]
    ) -> AskedAddresses | None:
        """Return what is asked about now; None where that is the same as at the last call."""
        if self._rules is not None and not self._changed:
            return None
        if self._rules is None:
            self._rules = _Rules(dict(pools), tuple(advertisements), tuple(nodes))
        self._changed = False
        found: list[tuple[ServiceAddress, ...]] = []
        companions: dict[Address, int] = {}
        reports: dict[str, PoolReports] = {}
        for name, document in self._documents.items():
            pool = self._rules.pools.get(name)
            eligible = self._rules.eligible(pool) if pool is not None else None
            if pool is None or eligible is None or not eligible.nodes:
                continue
            asked = asked_addresses(document, pool)
            reports[name] = PoolReports(asked=frozenset(asked), answers=answers_in(document))
            companions.update(dict.fromkeys(asked, len(asked)))
            found += [(_service_address(("", name), address, address, eligible),) for address in asked]
        claimed: set[Address] = set()
        for key, addresses in self._claimed.items():
            of_service = self._of_service(key, addresses)
            claimed.update(each.address for each in of_service)
            found += [of_service] if of_service else []
        companions.update(dict.fromkeys(claimed, len(claimed)))
        return AskedAddresses(
            # A claim may be known before the pool's status names other addresses: the Service's own entry counts.
            service_addresses=tuple(each for each in found if each[0].service[0] or each[0].address not in claimed),
            companions=companions,
            claimed=frozenset(claimed),
            pools=reports,
        )

    def _claimed_by(self, service: Object | None) -> tuple[Address, ...]:
        if service is None or service["metadata"].get("deletionTimestamp") or addresses_in_status(service):
            return ()
        return addresses_in_annotation(service) if wants_address(service, lb_class=self._lb_class) else ()

    def _of_service(self, key: Key, addresses: tuple[Address, ...]) -> tuple[ServiceAddress, ...]:
        """The Service's addresses as far as they are in pools: anybody can write the annotation."""
        rules = self._rules
        if rules is None:
            return ()
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

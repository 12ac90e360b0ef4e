"""The Services of a replay: admitted, bound, moved and retried as admission and the reconciler do it live."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass

from allocator.core import lifecycle
from allocator.core.addresses import Address
from allocator.core.claims import Claim, Holder
from allocator.core.decision import decide
from allocator.core.ledger import Ledger
from allocator.core.pools import Pool, owning_pool
from allocator.core.requests import ServiceRequest
from allocator.core.securing import secured
from allocator.core.verdicts import Decision
from allocator.objects.document import Document, labels_of
from allocator.objects.service import (
    addresses_in_annotation,
    readable_request,
    showing,
    shown_by_another_class,
    shown_of_its_own,
    wants_address,
)
from allocator.offline.claims import InMemoryClaims
from allocator.offline.stored_services import age_of, named, updated, with_assignment, with_status
from allocator.rules.foreign_status import left_alone
from allocator.rules.service import review_service
from allocator.rules.verdict import Rules, Verdict

Key = tuple[str, str]
"""A Service's namespace and name."""


@dataclass(slots=True)
class SimulatedService:
    """One Service. `stored` is None while admission has refused every document of it, with `refused` saying why.

    `decision` is None where nothing is decided: for Services that want no address, or are served by another.
    """

    stored: Document | None = None
    decision: Decision | None = None
    waits: bool = False
    """Whether a change elsewhere may give it what it lacks."""
    refused: str = ""


class SimulatedServices:
    """Every Service of the replay and the claims of all. Not shared between threads."""

    def __init__(
        self, rules: Rules, *, pools: Callable[[], Iterable[Pool]], namespace: Callable[[str], Document]
    ) -> None:
        self._rules = rules
        self._pools = pools
        self._namespace = namespace
        self._claims = InMemoryClaims()
        self._services: dict[Key, SimulatedService] = {}
        self._awaited: dict[Key, Document] = {}

    def __iter__(self) -> Iterator[tuple[Key, SimulatedService]]:
        """Every Service that is there or was refused, in the order of their first documents."""
        return iter(self._services.items())

    @property
    def ledger(self) -> Ledger:
        """Every claim, cooling ones included; to be read only."""
        return self._claims.ledger

    def expect(self, key: Key, service: Document) -> None:
        """Keep for a Service, whose document is still to come, what its status shows it had before all of this."""
        self._awaited[key] = named(service, key)

    def begin(self, services: Iterable[Document], claims: Iterable[Claim]) -> None:
        """Be where a live cluster is, with these Services and claims; whoever waits is served as far as it can be."""
        for claim in claims:
            self._claims.ledger.put(claim)
        for service in sorted(services, key=age_of):
            key = (service["metadata"]["namespace"], service["metadata"]["name"])
            self._services[key] = SimulatedService(stored=named(service, key))
        self.secure()
        self._rehome()
        for key, state in self._services.items():
            state.waits = state.stored is not None and self._foreign(key, state.stored)
        self._reconsider(list(self._services))
        self._claims.capacity_changed = True
        self.retry()

    def admit(self, key: Key, document: Document) -> Verdict:
        """Answer a Service's creation or update and, if it is allowed, make it so.

        One that comes with addresses in its status was there before: its document is an update that changes nothing.
        """
        awaited = self._awaited.pop(key, None)
        state = self._services.setdefault(key, SimulatedService())
        old = state.stored or awaited
        if state.stored is None:
            # Refused before, if at all: its age counts from here.
            self._services[key] = self._services.pop(key)
        new = document if old is None else updated(old, document)
        if self._foreign(key, new):
            state.stored, state.decision, state.waits = named(new, key), None, True
            return Verdict()
        verdict = review_service(new, old, namespace=self._namespace(key[0]), rules=self._rules, decide=self._decide)
        if not verdict.allowed:
            state.refused = verdict.message
            return verdict
        state.stored = named(with_assignment(new, verdict), key)
        if not wants_address(new, lb_class=self._rules.lb_class):
            state.decision, state.waits = None, False
            state.stored = self._take_back(key, state.stored, assigned=addresses_in_annotation(old))
            self._secure(key, state.stored)
        elif verdict.decision is not None:
            self._settle(key, state.stored, verdict.decision)
        elif state.decision is None:
            self._reconsider([key])
        return verdict

    def remove(self, key: Key) -> None:
        """Delete a Service, if it is there."""
        self._awaited.pop(key, None)
        if self._services.pop(key, None) is not None:
            self._release(key)

    def remove_all(self, namespace: str) -> None:
        """Delete every Service of a namespace."""
        for key in [key for key in self._services if key[0] == namespace]:
            self.remove(key)

    def pool_changed(self, name: str) -> None:
        """Claim what statuses show and the pool contains, and ask its holders whether they may stay."""
        self.secure()
        self._rehome()
        pool = next((pool for pool in self._pools() if pool.name == name), None)
        self._reconsider(
            self._holding(lambda claim, _: claim.pool == name or (pool is not None and pool.spans(claim.address)))
        )
        self._claims.capacity_changed = True

    def _rehome(self) -> None:
        """Have every claim name the pool that its address belongs to now, whatever its Service asks for."""
        pools = tuple(self._pools())
        for claim in tuple(self._claims.ledger):
            owner = owning_pool(claim.address, pools, recorded=claim.pool)
            if claim.in_use and owner is not None and owner.name != claim.pool:
                self._claims.ledger.put(lifecycle.rehome(claim, owner.name))

    def namespace_changed(self, name: str) -> None:
        """Ask the namespace's holders whether they may stay."""
        self._reconsider(self._holding(lambda _, holder: holder.namespace == name))
        self._claims.capacity_changed = True

    def retry(self) -> None:
        """Give those that wait another try, the oldest first, for as long as that changes what others can have."""
        rounds = 0
        # Each round but the last gives somebody what it waited for; the bound only guards against a rule that would
        # send two Services in circles.
        claims = self._claims
        while (claims.capacity_changed or claims.affected) and rounds <= len(self._services):
            affected, claims.affected = claims.affected, set()
            claims.capacity_changed = False
            rounds += 1
            self._reconsider(key for key, state in list(self._services.items()) if state.waits or key in affected)
        claims.capacity_changed = False

    def labels(self, services: Iterable[Key]) -> dict[Key, Mapping[str, str]]:
        """Return the labels of those of the Services that are there."""
        found = {}
        for key in services:
            state = self._services.get(key)
            service = state.stored if state is not None and state.stored is not None else self._awaited.get(key)
            if service is not None:
                found[key] = labels_of(service)
        return found

    def secure(self) -> None:
        """Claim what statuses show and nobody holds, whatever the Services ask for, in the order of the documents."""
        stored = {key: state.stored for key, state in self._services.items() if state.stored is not None}
        for key, service in (self._awaited | stored).items():
            self._secure(key, service)

    def _secure(self, key: Key, service: Document) -> None:
        held = {claim.address for claim in self._claims.ledger.held_by(*key)}
        shown = shown_of_its_own(service, lb_class=self._rules.lb_class, held=held)
        if shown:
            asked = showing(service, shown, lb_class=self._rules.lb_class, namespace=self._namespace(key[0]))
            self._claims.hold(asked, secured(asked, pools=list(self._pools()), ledger=self._claims.ledger))

    def _holding(self, concerns: Callable[[Claim, Holder], bool]) -> list[Key]:
        """Those who hold something that a change concerns, in the order of their documents."""
        holding = {
            (holder.namespace, holder.name)
            for claim in self._claims.ledger
            if claim.in_use
            for holder in claim.holders
            if concerns(claim, holder)
        }
        return [key for key in self._services if key in holding]

    def _reconsider(self, keys: Iterable[Key]) -> None:
        for key in keys:
            service = self._services[key].stored
            if service is None or not wants_address(service, lb_class=self._rules.lb_class):
                continue
            if not self._foreign(key, service):
                self._settle(key, service, self._decide(self._request(key, service)))

    def _foreign(self, key: Key, service: Document) -> bool:
        """Whether another controller serves it, whose work is left alone."""
        if not wants_address(service, lb_class=self._rules.lb_class) or self._claims.ledger.held_by(*key):
            return False
        return left_alone(
            service,
            namespace=self._namespace(key[0]),
            pools=self._pools(),
            take_over_foreign=self._rules.take_over_foreign,
        )

    def _settle(self, key: Key, service: Document, decision: Decision) -> None:
        request = self._request(key, service)
        self._hold(request, decision)
        state = self._services[key]
        had = state.decision is not None and bool(state.decision.placements)
        state.decision, state.waits = decision, not decision.is_complete
        if decision.placements or had:
            state.stored = with_status(service, decision)

    def _hold(self, request: ServiceRequest, decision: Decision) -> None:
        self._claims.settle(request, decision, cooling_pools=self._cooling_pools())

    def _release(self, key: Key, *, keeping: Iterable[Address] = ()) -> None:
        self._claims.release(*key, keeping=keeping, cooling_pools=self._cooling_pools())

    def _take_back(self, key: Key, service: Document, *, assigned: Iterable[Address]) -> Document:
        """Release what a Service was assigned that wants none of ours; return it as it shows that."""
        kept = shown_by_another_class(service).difference(assigned)
        taken = {str(claim.address) for claim in self._claims.ledger.held_by(*key) if claim.address not in kept}
        self._release(key, keeping=kept)
        status = service.get("status") or {}
        ingress = (status.get("loadBalancer") or {}).get("ingress") or ()
        left = [entry for entry in ingress if entry.get("ip") not in taken]
        return {**service, "status": {**status, "loadBalancer": {"ingress": left}}}

    def _cooling_pools(self) -> list[str]:
        return [pool.name for pool in self._pools() if pool.reuse_delay_seconds]

    def _decide(self, request: ServiceRequest) -> Decision:
        return decide(request, pools=list(self._pools()), ledger=self._claims.ledger, order=self._rules.order)

    def _request(self, key: Key, service: Document) -> ServiceRequest:
        return readable_request(service, namespace=self._namespace(key[0]), cluster_families=self._rules.families)

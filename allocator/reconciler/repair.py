"""Makes one Service and its claims agree.

What a Service and a claim that names it can be to each other, and what is done:

    Service wants an address
      no claim                          decide: adopt what status shows, else assign; claim it with the uid
      claim without uid                 admitted just before: bind (write the uid), unless the Service has gone and
                                        the reservation is its successor's
      claim with the uid                nothing, or follow changed ports
      claim with another uid            the Service was recreated under its name: bind anew
      status of somebody else's         leave it alone: another controller serves the Service
      claim beside the decided ones     release it; one without uid is left alone until it has aged, because it may
                                        belong to an update that is being admitted right now
      unnamed claim of a generateName   as a claim without uid, if our annotation lists its address
    Service wants none (type, class)
      claim with uid                    release, clear what we wrote to status
      claim without uid                 as above: left alone until it has aged
    no Service
      claim with uid                    ask the API server itself, then release
      claim without uid                 once aged: ask the API server itself, then delete

A release keeps the address cooling for the pool's reuse delay. Claims are read before their Services are, and a
Service missing from the mirror is looked up live before anything is taken away: the mirror may simply be late.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from datetime import UTC, datetime, timedelta

from allocator.allocation.allocator import Allocator
from allocator.allocation.cache import ClaimCache
from allocator.core.addresses import Address
from allocator.core.claims import Claim, Holder
from allocator.core.requests import ServiceRequest
from allocator.core.verdicts import Decision
from allocator.kube import resource
from allocator.kube.client import Cluster, Conflict, NotFound, Object
from allocator.kube.events import EventRecorder
from allocator.kube.timestamps import read_time
from allocator.objects import names
from allocator.objects.document import InvalidDocument
from allocator.objects.service import (
    addresses_in_annotation,
    addresses_in_status,
    request_from,
    served_by_another,
    wants_address,
)
from allocator.process.logs import EventLog
from allocator.reconciler.metrics import REPAIRS
from allocator.reconciler.service_events import ServiceEvents
from allocator.reconciler.service_status import ServiceStatus
from allocator.rules.service_report import (
    condition_for,
    condition_for_malformed,
    news_of_addresses,
    news_of_losses,
    news_of_malformed,
    news_of_wish,
    stored_condition,
    waits,
)

log = EventLog("reconciler")

Key = tuple[str, str]

TENTATIVE_AGE = timedelta(seconds=90)
"""How long a claim may wait for its Service: longer than any API request lives (KEP-1880 uses 60 s)."""


class Repair:
    """Repairs one Service at a time; safe to call from several threads for different Services."""

    def __init__(
        self,
        cluster: Cluster,
        cache: ClaimCache,
        claims: Allocator,
        events: EventRecorder,
        *,
        find_service: Callable[[str, str], Object | None],
        require_leadership: Callable[[], None],
        lb_class: str = "",
        tentative_age: timedelta = TENTATIVE_AGE,
    ) -> None:
        self._cluster = cluster
        self._cache = cache
        self._claims = claims
        self._events = ServiceEvents(events)
        self._find_service = find_service
        self._require_leadership = require_leadership
        self._lb_class = lb_class
        self._tentative_age = tentative_age
        self._status = ServiceStatus(cluster)

    def service(self, key: Key) -> bool:
        """Repair the Service and tell whether it waits for an address.

        Raises LostRace and ApiError: try again; NotLeading: stop.
        """
        self._require_leadership()
        held = self._cache.held_by(*key)
        service = self._find_service(*key)
        if service is None:
            self._events.forget(key)
            self._status.forget(key)
            self._abandoned(key, held)
            return False
        service = self._status.latest(service)
        if not wants_address(service, lb_class=self._lb_class):
            self._unwanted(key, service, held)
            return False
        if service["metadata"].get("deletionTimestamp"):
            return False
        return self._serve(key, service)

    def collect_unnamed(self, claim: Claim) -> None:
        """Delete an aged claim whose Service, made by generateName, never appeared."""
        self._require_leadership()
        if all(not holder.name and self._aged(holder) for holder in claim.holders):
            self._claims.delete(claim)
            REPAIRS.labels("collected").inc()
            log.info("address.collected", ip=claim.address, service=claim.holders[0], pool=claim.pool)

    def _serve(self, key: Key, service: Object) -> bool:
        self._catch_up(key, service)
        if self._succeeded(key, service):
            # What was reserved is another's of its name; the mirror is about to show that one.
            return False
        if self._served_by_another(key, service):
            return True
        try:
            request = self._request(service)
        except InvalidDocument as error:
            self._refuse_malformed(service, error)
            return False
        ours = {claim.address for claim in self._cache.held_by(*key)} | self._held_by_others(key, service)
        decision = self._claims.bind(request)
        addresses = [place.address for place in decision.placements]
        extra = [claim for claim in self._cache.held_by(*key) if claim.address not in addresses]
        self._require_leadership()
        try:
            self._show(service, request, decision, ours=ours, extra=extra)
        except (NotFound, Conflict):
            # Changed, deleted or recreated since it was mirrored: the change is on its way and brings us back here.
            return False
        for claim in extra:
            self._release(claim, key, why="no longer asked for")
        return waits(request, decision)

    def _served_by_another(self, key: Key, service: Object) -> bool:
        return not self._cache.held_by(*key) and served_by_another(service, self._cache.pools())

    def _held_by_others(self, key: Key, service: Object) -> set[Address]:
        """What the status lists though other Services hold it (a backup restored in part): it may not go on."""
        claims = (self._cache.claim_at(address) for address in addresses_in_status(service))
        return {claim.address for claim in claims if claim is not None and claim.in_use and not claim.holder(*key)}

    def _refuse_malformed(self, service: Object, error: InvalidDocument) -> None:
        condition = condition_for_malformed(service, error)
        news = [news_of_malformed(error)] if self._events.is_news(service, condition) else []
        try:
            self._status.tell(service, condition)
        except (NotFound, Conflict):
            return
        self._events.tell(service, condition, news)

    def _show(
        self,
        service: Object,
        request: ServiceRequest,
        decision: Decision,
        *,
        ours: set[Address],
        extra: Sequence[Claim],
    ) -> None:
        before = addresses_in_status(service)
        addresses = [place.address for place in decision.placements]
        condition = condition_for(request, decision)
        news = news_of_losses(request, decision, self._taken_away(request, extra, shown=before))
        if self._events.is_news(service, condition):
            news += news_of_wish(request, decision)
        if addresses:
            self._status.show(service, addresses, decision.pools, condition)
            news += news_of_addresses(service, addresses)
        else:
            self._status.clear(service, ours, condition)
        if addresses and before != tuple(addresses):
            REPAIRS.labels("assigned").inc()
            log.info("address.assigned", ip=_listed(addresses), service=request.label, pool=decision.pools)
        elif not addresses and ours.intersection(before):
            REPAIRS.labels("withdrawn").inc()
            log.info("address.withdrawn", service=request.label, was=_listed(before))
        self._events.tell(service, condition, news)

    def _taken_away(
        self, request: ServiceRequest, extra: Sequence[Claim], *, shown: Sequence[Address]
    ) -> dict[Address, str]:
        """Which addresses the Service showed and loses to a change of their pool, and to which."""
        pools = {pool.name: pool for pool in self._cache.pools()}
        lost = {}
        for claim in extra:
            if claim.address not in shown:
                continue
            pool = pools.get(claim.pool)
            why = f"pool {claim.pool} is gone" if pool is None else pool.takes_away(claim.address, request.applicant)
            if why is not None:
                lost[claim.address] = why
        return lost

    def _request(self, service: Object) -> ServiceRequest:
        return request_from(
            service,
            namespace=self._cache.namespace(service["metadata"]["namespace"]),
            cluster_families=self._cache.families,
            status_addresses=addresses_in_status(service),
        )

    def _catch_up(self, key: Key, service: Object) -> None:
        """Read what the Service was admitted with where the mirror does not have it yet: two watches, two speeds.

        Of a shared address the mirror has the claim, and yet may not know that the Service has joined it.
        """
        for address in addresses_in_annotation(service)[:2]:
            claim = self._cache.claim_at(address)
            if claim is None or claim.holder(*key) is None:
                with suppress(NotFound):
                    self._cache.record(self._cluster.get(names.IP_ALLOCATIONS, address.claim_name))

    def _succeeded(self, key: Key, service: Object) -> bool:
        """Whether the Service has gone, and one of its name been admitted, since it was mirrored.

        Bound to the one that is gone, the reservation would be released with it while the other is being stored.
        Versions tell mostly: what was written after the reservation was there after it. They need not be
        comparable between kinds (KEP-5504), so that an older one is asked about rather than judged.
        """
        reserved = [claim for claim in self._cache.held_by(*key) if not _uid_of_holder(claim, key)]
        if all(int(claim.version or 0) < int(service["metadata"]["resourceVersion"]) for claim in reserved):
            return False
        try:
            live = self._cluster.get(resource.SERVICES, key[1], key[0])
        except NotFound:
            return True
        return bool(live["metadata"]["uid"] != service["metadata"]["uid"])

    def _unwanted(self, key: Key, service: Object, held: list[Claim]) -> None:
        self._events.forget(key)
        ripe = [claim for claim in held if self._ripe(claim, key)]
        if ripe or stored_condition(service) is not None:
            # On a Conflict all of it is tried again: no address may go while a status may still show it.
            with suppress(NotFound):
                self._status.clear(service, {claim.address for claim in ripe}, None)
        for claim in ripe:
            self._release(claim, key, why="the Service no longer wants a load balancer address")

    def _abandoned(self, key: Key, held: list[Claim]) -> None:
        ripe = [claim for claim in held if self._ripe(claim, key)]
        if not ripe:
            return
        namespace, name = key
        with suppress(NotFound):
            self._cluster.get(resource.SERVICES, name, namespace)
            # It was created again, and its own event is on the way: then it keeps what its predecessor held.
            return
        for claim in ripe:
            holder = claim.holder(*key)
            if holder is not None and holder.uid is None and len(claim.holders) == 1:
                self._require_leadership()
                self._claims.delete(claim)
                REPAIRS.labels("collected").inc()
                log.info("address.collected", ip=claim.address, service=f"{namespace}/{name}", pool=claim.pool)
            else:
                self._release(claim, key, why="the Service was deleted")

    def _release(self, claim: Claim, key: Key, *, why: str) -> None:
        if not self._ripe(claim, key):
            return
        self._require_leadership()
        delay = next((pool.reuse_delay_seconds for pool in self._cache.pools() if pool.name == claim.pool), 0)
        self._claims.release(claim, namespace=key[0], name=key[1], reuse_delay=timedelta(seconds=delay), why=why)
        REPAIRS.labels("released").inc()

    def _ripe(self, claim: Claim, key: Key) -> bool:
        """Whether the Service may be taken off the claim: it was seen holding it, or it never came in time."""
        holder = claim.holder(*key)
        return holder is not None and (holder.uid is not None or self._aged(holder))

    def _aged(self, holder: Holder) -> bool:
        return datetime.now(UTC) - read_time(holder.since) > self._tentative_age


def _uid_of_holder(claim: Claim, key: Key) -> str | None:
    holder = claim.holder(*key)
    return holder.uid if holder is not None else None


def _listed(addresses: Sequence[Address]) -> str:
    return ",".join(str(address) for address in addresses)

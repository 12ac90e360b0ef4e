"""Makes one Service and its claims agree.

Every repair begins by securing (`securing.py`): what the Service's status shows is claimed for it, unless another
Service's claim is there, whatever the Service asks for. Only then is its request judged, which may be malformed
or denied.

What a Service and a claim that names it can be to each other, and what is done:

    Service wants an address
      no claim                          decide and assign; claim it with the uid
      claim without uid                 admitted just before: bind (write the uid), also where the request is denied
                                        by now, unless the Service has gone and the reservation is its successor's
      claim with the uid                nothing, or follow changed ports
      claim with another uid            the Service was recreated under its name: bind anew
      status of another's               leave it alone: another controller serves the Service, until an annotation
                                        or the installation says to take it over
      claim beside the decided ones     release it; one without uid is left alone until it has aged, because it may
                                        belong to an update that is being admitted right now
      unnamed claim of a generateName   as a claim without uid, if our annotation lists its address
    Service is being deleted            secured, nothing else: its claims go with it
    Service wants none (type, class)
      claim with uid, we assigned it    release, clear what we wrote to status
      claim without uid                 as above: left alone until it has aged
      another's class, its status
      shows an address of our pools     claimed for as long as it is shown, so that nobody else is given it
    no Service
      claim with uid                    ask the API server itself, then release
      claim without uid                 once aged: ask the API server itself, then delete

What is reserved for the Service already is shown in its status first and bound then: that is what the Service waits
for, and its claim is stored. Everything else is claimed first and shown then.

A release keeps the address cooling for the pool's reuse delay; where another Service shows the address, that one has
it at once. Claims are read before their Services are, and the Service is looked up live before anything is taken from
it: the cache may simply be late.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace

from allocator.allocation.allocator import Allocator
from allocator.allocation.cache import ClaimCache
from allocator.core.addresses import Address
from allocator.core.claims import Claim, Holder
from allocator.core.requests import ServiceRequest
from allocator.core.verdicts import Decision, RefusalKind
from allocator.kube import resource
from allocator.kube.client import Cluster, Conflict, NotFound, Object
from allocator.objects import names
from allocator.objects.service import (
    addresses_in_annotation,
    addresses_in_status,
    readable_request,
    shown_by_another_class,
    wants_address,
)
from allocator.reconciler.collection import Collection
from allocator.reconciler.securing import Securing
from allocator.reconciler.service_outcome import ServiceOutcome
from allocator.reconciler.waiting import ANY_PIN, Interest, interests_of
from allocator.rules.foreign_status import left_alone

Key = tuple[str, str]

_READ_OF_STATUS = 2
"""More than these nobody has assigned who is to be trusted."""

_LOOK_AGAIN_SECONDS = 300.0
"""After which a Service that waits is tried again though nothing is known to have changed."""


@dataclass(frozen=True, slots=True)
class Repaired:
    """What is left to do about a Service."""

    waits: bool = False
    """It lacks what it asks for: to be tried again when capacity or rules change."""
    again_seconds: float = 0.0
    """In how many seconds to come back, whatever happens; 0 when there is no need to."""
    interests: frozenset[Interest] = frozenset()
    """What it waits for, where it waits."""


class _ServiceChanged(Exception):
    """The Service is not as it was read any more, so that nothing was shown."""


class Repair:
    """Repairs one Service at a time; safe to call from several threads for different Services."""

    def __init__(
        self,
        cluster: Cluster,
        cache: ClaimCache,
        claims: Allocator,
        outcome: ServiceOutcome,
        collection: Collection,
        securing: Securing,
        *,
        find_service: Callable[[str, str], Object | None],
        require_leadership: Callable[[], None],
        lb_class: str = "",
        take_over_foreign: bool = False,
    ) -> None:
        self._cluster = cluster
        self._cache = cache
        self._claims = claims
        self._outcome = outcome
        self._collection = collection
        self._securing = securing
        self._find_service = find_service
        self._require_leadership = require_leadership
        self._lb_class = lb_class
        self._take_over_foreign = take_over_foreign

    def service(self, key: Key) -> Repaired:
        """Repair the Service. Raises LostRace and ApiError: try again; NotLeading: stop."""
        self._require_leadership()
        held = self._cache.held_by(*key)
        service = self._find_service(*key)
        if service is None:
            self._outcome.forget(key)
            self._abandoned(key, held)
            return Repaired()
        service = self._outcome.latest(service)
        wanted = wants_address(service, lb_class=self._lb_class)
        if wanted:
            self._catch_up(key, service)
            if self._succeeded(key, service):
                # What was reserved is another's of its name; the cache is about to show that one.
                return Repaired()
        self._securing.secure(service)
        if not wanted:
            self._unwanted(key, service, self._cache.held_by(*key))
        elif not service["metadata"].get("deletionTimestamp"):
            return self._serve(key, service)
        return Repaired()

    def _serve(self, key: Key, service: Object) -> Repaired:
        if self._is_left_alone(key, service):
            self._outcome.leave_alone(service)
            return Repaired(waits=True, interests=frozenset({ANY_PIN}))
        request = replace(self._request(service), yields_to=self._showing_alone(key, service))
        others = self._held_by_others(key, service)
        ours = {claim.address for claim in self._cache.held_by(*key)} | others.keys()
        pauses: list[float] = []

        def show(decision: Decision) -> None:
            self._require_leadership()
            lost = others | self._taken_away(request, self._beside(key, decision))
            try:
                pauses.append(self._outcome.show(service, request, decision, ours=ours, lost=lost))
            except (NotFound, Conflict) as error:
                raise _ServiceChanged from error

        try:
            decision = self._claims.bind(request, show=show)
            if not pauses:
                show(decision)
        except _ServiceChanged:
            # Changed, deleted or recreated since it was cached: the change is on its way and brings us back here.
            return Repaired()
        extra, pause = self._beside(key, decision), pauses[0]
        if not pause:
            over_quota = decision.refusal is not None and decision.refusal.kind is RefusalKind.QUOTA
            for claim in self._not_shown(key, extra):
                if over_quota and not _uid_of_holder(claim, key):
                    self._collection.drop_over_quota(claim, key)
                else:
                    self._collection.release(claim, key, why="no longer asked for")
        if decision.is_complete:
            return Repaired(again_seconds=pause)
        return Repaired(True, pause or _LOOK_AGAIN_SECONDS, interests_of(request, self._cache.pools()))

    def _showing_alone(self, key: Key, service: Object) -> frozenset[tuple[Address, str, str]]:
        """Which addresses this Service shares and does not show, and who shows them."""
        shown = addresses_in_status(service)
        return frozenset(
            (claim.address, holder.namespace, holder.name)
            for claim in self._cache.held_by(*key)
            if len(claim.holders) > 1 and claim.address not in shown
            for holder in claim.holders
            if holder.name and (holder.namespace, holder.name) != key and self._shows(holder, claim.address)
        )

    def _shows(self, holder: Holder, address: Address) -> bool:
        service = self._find_service(holder.namespace, holder.name)
        return service is not None and address in addresses_in_status(self._outcome.written(service))

    def _beside(self, key: Key, decision: Decision) -> list[Claim]:
        """What the Service holds beside what was decided."""
        addresses = [place.address for place in decision.placements]
        return [claim for claim in self._cache.held_by(*key) if claim.address not in addresses]

    def _is_left_alone(self, key: Key, service: Object) -> bool:
        return not self._cache.held_by(*key) and left_alone(
            service,
            namespace=self._cache.namespace(key[0]),
            pools=self._cache.pools(),
            take_over_foreign=self._take_over_foreign,
        )

    def _request(self, service: Object) -> ServiceRequest:
        """What it asks for; where that cannot be read, a request to keep what it has."""
        namespace = self._cache.namespace(service["metadata"]["namespace"])
        return readable_request(service, namespace=namespace, cluster_families=self._cache.families)

    def _held_by_others(self, key: Key, service: Object) -> dict[Address, str]:
        """What the status lists though other Services hold it (an older one, a backup restored in part), and who."""
        claims = (self._cache.claim_at(address) for address in addresses_in_status(service))
        return {
            claim.address: f"{claim.address} is held by {', '.join(str(holder) for holder in claim.holders)}"
            for claim in claims
            if claim is not None and claim.in_use and not claim.holder(*key)
        }

    def _taken_away(self, request: ServiceRequest, extra: Sequence[Claim]) -> dict[Address, str]:
        """Which addresses the Service showed and loses to a change of their pool, and to which."""
        pools = {pool.name: pool for pool in self._cache.pools()}
        lost = {}
        for claim in extra:
            if claim.address not in request.status_addresses:
                continue
            pool = pools.get(claim.pool)
            why = f"pool {claim.pool} is gone" if pool is None else pool.takes_away(claim.address, request.applicant)
            if why is not None:
                lost[claim.address] = why
        return lost

    def _catch_up(self, key: Key, service: Object) -> None:
        """Read what the Service was admitted with, or shows, where the cache does not have it yet: two watches, two
        speeds.

        Of a shared address the cache has the claim, and yet may not know that the Service has joined it; of one that
        has changed hands under the last leader, it may have the claim of whoever held it before.
        """
        for address in dict.fromkeys(
            addresses_in_annotation(service) + addresses_in_status(service)[:_READ_OF_STATUS]
        ):
            claim = self._cache.claim_at(address)
            if claim is None or claim.holder(*key) is None:
                with suppress(NotFound):
                    self._cache.record(self._cluster.get(names.IP_ALLOCATIONS, address.claim_name))

    def _succeeded(self, key: Key, service: Object) -> bool:
        """Whether the Service has gone, and one of its name been admitted, since it was cached.

        Bound to the one that is gone, the reservation would be released with it while the other is being stored.
        Versions mostly show it: what was written after the reservation was there after it. They need not be
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
        kept = shown_by_another_class(service)
        ours = [claim for claim in held if claim.address not in kept]
        letting_go = [claim for claim in ours if self._collection.releasable(claim, key)]
        # On a Conflict all of it is tried again: no address may go while a status may still show it.
        with suppress(NotFound):
            self._outcome.clear(service, {claim.address for claim in letting_go})
        for claim in self._not_shown(key, letting_go):
            self._collection.release(claim, key, why="the Service no longer needs a load balancer address")

    def _not_shown(self, key: Key, claims: Sequence[Claim]) -> list[Claim]:
        """Those whose address the Service does not show, as it is stored now.

        Where nothing had to be written, nothing has proved that the cache is not late: a new leader's may show the
        Service as it was before the last leader moved it. What it shows now is on its way and brings us back here.
        """
        if not claims:
            return []
        shown: set[Address] = set()
        with suppress(NotFound):
            shown.update(addresses_in_status(self._cluster.get(resource.SERVICES, key[1], key[0])))
        return [claim for claim in claims if claim.address not in shown]

    def _abandoned(self, key: Key, held: list[Claim]) -> None:
        letting_go = [claim for claim in held if self._collection.releasable(claim, key)]
        if not letting_go:
            return
        namespace, name = key
        with suppress(NotFound):
            self._cluster.get(resource.SERVICES, name, namespace)
            # It was created again, and its own event is on the way: then it keeps what its predecessor held.
            return
        for claim in letting_go:
            self._collection.drop_reservation(claim, key)


def _uid_of_holder(claim: Claim, key: Key) -> str | None:
    holder = claim.holder(*key)
    return holder.uid if holder is not None else None

"""Claiming: the writes that make a decision true. Creating the IPAllocation is the lock."""

from __future__ import annotations

import random
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from enum import Enum, auto

from allocator.allocation.cache import ClaimCache
from allocator.core import lifecycle
from allocator.core.addresses import Address
from allocator.core.claims import Claim, Holder
from allocator.core.requests import ServiceRequest
from allocator.core.verdicts import Decision, How, Outcome, Placement, Refusal, RefusalKind
from allocator.kube.client import AlreadyExists, Cluster, Conflict, NotFound
from allocator.kube.timestamps import write_time
from allocator.objects import names
from allocator.objects.ip_allocation import document_of
from allocator.process.logs import EventLog

log = EventLog("claims")

_ATTEMPTS = 12
"""Races lost in a row before the Service is left to the reconciler; each costs two short API calls."""

_WIDEST_STEP = 256
"""Most free addresses to step over after lost races: as many as other replicas may be ahead of this one's cache."""

_REFRESH_AFTER = timedelta(seconds=5)


class _Occasion(Enum):
    """Why a claim is written."""

    CREATION = auto()
    """A Service is admitted that does not exist yet."""
    CHANGE = auto()
    """A change of a Service is admitted."""
    SEEN = auto()
    """The Service exists, as it asks."""


class LostRace(Exception):
    """Somebody else wrote this claim first; what is known of it has been refreshed where it could be."""

    def __init__(self, address: Address) -> None:
        super().__init__(str(address))
        self.address = address


class Allocator:
    """Writes claims for Services and takes them back. Correct under any interleaving with other writers."""

    def __init__(
        self, cluster: Cluster, cache: ClaimCache, *, now: Callable[[], datetime] = lambda: datetime.now(UTC)
    ) -> None:
        self._cluster = cluster
        self._cache = cache
        self._now = now

    def reserve(self, request: ServiceRequest) -> Decision:
        """Decide and claim for a Service under admission, which may still not come to be. Raises ApiError.

        The holder is written without uid: the reconciler adds it when it sees the Service, and collects the
        claim when it never does.
        """
        occasion = _Occasion.CREATION if request.uid is None else _Occasion.CHANGE
        return self._settle(replace(request, uid=None), occasion)

    def bind(self, request: ServiceRequest) -> Decision:
        """Decide and claim for a Service that exists, so that every claim carries its uid. Raises ApiError.

        What a denied Service keeps is bound as well: it must not stay a reservation for ever.
        """
        return self._settle(request, _Occasion.SEEN)

    def secure(self, request: ServiceRequest) -> None:
        """Claim what the Service's status shows, whatever it asks for. Raises LostRace, ApiError."""
        for left in reversed(range(_ATTEMPTS)):
            places = self._cache.secure(request)
            try:
                self._write_each(places, request)
            except LostRace:
                if not left:
                    raise
            else:
                return

    def release(self, claim: Claim, *, namespace: str, name: str, reuse_delay: timedelta, why: str) -> None:
        """Take the named Service off the claim. Raises LostRace, ApiError.

        The last holder's claim cools for `reuse_delay`, and goes at once when that is nothing.
        """
        now = write_time(self._now())
        left = lifecycle.leave(claim, namespace, name, now=now, cool=reuse_delay > timedelta())
        if left is None:
            self.delete(claim)
        else:
            self._swap(left, reuse_delay=reuse_delay)
        log.info("address.released", ip=claim.address, service=f"{namespace}/{name}", pool=claim.pool, why=why)

    def drop(self, claim: Claim, gone: Collection[Holder], *, why: str) -> None:
        """Take reservations off the claim, which goes with its last holder. Raises LostRace, ApiError.

        Compare-and-swap: a holder that was bound meanwhile stays.
        """
        left = lifecycle.drop(claim, gone)
        if left is None:
            self.delete(claim)
        else:
            self._swap(left)
        for holder in gone:
            log.info("address.collected", ip=claim.address, service=holder, pool=claim.pool, why=why)

    def delete(self, claim: Claim) -> None:
        """Delete the claim if it is still as known. Raises LostRace, ApiError."""
        try:
            self._cluster.delete(names.IP_ALLOCATIONS, claim.address.claim_name, resource_version=claim.version)
        except NotFound:
            pass
        except Conflict:
            self._refresh(claim)
            raise LostRace(claim.address) from None
        self._cache.forget(claim)

    def _settle(self, request: ServiceRequest, occasion: _Occasion) -> Decision:
        for lost in range(_ATTEMPTS):
            step = random.randrange(min(4**lost, _WIDEST_STEP))  # noqa: S311  spreads, hides nothing
            decision = self._cache.propose(
                request, mark=lambda found: _marks(found, request, occasion), pass_over=step
            )
            if not _is_written(decision, occasion):
                return decision
            try:
                self._write(decision.placements, request, occasion)
            except LostRace:
                # The cache now has what stands there. Whoever won goes on to the next address as well, so that
                # following closely would lose again and again; chance parts the two.
                continue
            return decision
        why = f"{request.label}: lost {_ATTEMPTS} addresses in a row to other Services; it is tried again shortly"
        return Decision(Outcome.PENDING, refusal=Refusal(RefusalKind.HELD, why))

    def _write_each(self, places: Sequence[Placement], request: ServiceRequest) -> None:
        """Claim one by one: what has been secured stays, whatever becomes of the rest."""
        for index, place in enumerate(places):
            try:
                self._write((place,), request, _Occasion.SEEN)
            except BaseException:
                for unwritten in places[index + 1 :]:
                    if unwritten.how is How.FREE:
                        self._cache.forget(lifecycle.mark(unwritten, request))
                raise

    def _write(self, placements: Sequence[Placement], request: ServiceRequest, occasion: _Occasion) -> None:
        created: list[Claim] = []
        unwritten = [place for place in placements if place.how is How.FREE]
        try:
            for place in placements:
                wanted = self._wanted(place, request, occasion)
                if place.how is How.FREE:
                    created.append(self._create(wanted))
                    unwritten.remove(place)
                elif wanted != place.claim:
                    self._swap(wanted)
                elif occasion is _Occasion.CREATION:
                    self._confirm(wanted)
        except BaseException:
            self._undo(created)
            for place in unwritten:
                self._cache.forget(lifecycle.mark(place, request))
            raise
        for claim in created:
            log.info("address.claimed", ip=claim.address, service=request.label, pool=claim.pool, state=claim.state)

    def _wanted(self, place: Placement, request: ServiceRequest, occasion: _Occasion) -> Claim:
        """What the claim at the placement shall become; equal to what is there when nothing need be written."""
        now = self._now()
        if occasion is _Occasion.SEEN:
            return lifecycle.bind(place, request, now=write_time(now))
        admit = lifecycle.reserve if occasion is _Occasion.CREATION else lifecycle.renew
        return admit(place, request, now=write_time(now), renew_before=write_time(now - _REFRESH_AFTER))

    def _create(self, claim: Claim) -> Claim:
        try:
            document = document_of(claim, now=self._now())
            return self._cache.record(self._cluster.create(names.IP_ALLOCATIONS, document))
        except AlreadyExists:
            self._refresh(claim)
            raise LostRace(claim.address) from None

    def _swap(self, claim: Claim, *, reuse_delay: timedelta = timedelta()) -> Claim:
        try:
            document = document_of(claim, now=self._now(), reuse_delay=reuse_delay)
            return self._cache.record(self._cluster.replace(names.IP_ALLOCATIONS, document))
        except (Conflict, NotFound):
            self._refresh(claim)
            raise LostRace(claim.address) from None

    def _confirm(self, claim: Claim) -> None:
        """Make sure that what is kept without a write stands: the cache may be behind, by as long as a pause."""
        self._refresh(claim)
        known = self._cache.claim_at(claim.address)
        if known is None or known.version != claim.version:
            raise LostRace(claim.address)

    def _refresh(self, claim: Claim) -> None:
        """Read what stands at the address now, so that the next decision sees it."""
        try:
            self._cache.record(self._cluster.get(names.IP_ALLOCATIONS, claim.address.claim_name))
        except NotFound:
            self._cache.forget(claim)

    def _undo(self, created: Iterable[Claim]) -> None:
        for claim in created:
            try:
                self.delete(claim)
            except Exception as error:
                # Not fatal: a claim whose Service never appears is collected by the reconciler.
                log.warning("address.left-behind", ip=claim.address, error=error)


def _is_written(decision: Decision, occasion: _Occasion) -> bool:
    """Whether the decision's placements are claimed: at admission only what is admitted with them."""
    return decision.outcome is Outcome.ASSIGNED or (occasion is _Occasion.SEEN and bool(decision.placements))


def _marks(decision: Decision, request: ServiceRequest, occasion: _Occasion) -> list[Claim]:
    if not _is_written(decision, occasion):
        return []
    return [lifecycle.mark(place, request) for place in decision.placements if place.how is How.FREE]

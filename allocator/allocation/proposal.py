"""A proposal: what a Service would be given, and the writes that make it so. Values only; nothing is written here."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import Enum, auto

from allocator.core import lifecycle
from allocator.core.claims import Claim
from allocator.core.ledger import Ledger
from allocator.core.requests import ServiceRequest
from allocator.core.reservation_cap import Eviction, evictions_for, excess_of, left_to_the_reconciler
from allocator.core.verdicts import Decision, Outcome, Placement
from allocator.kube.timestamps import write_time

_EVICTABLE_AFTER = timedelta(seconds=10)
"""Longer than a create takes that succeeds."""

_RENEW_AFTER = timedelta(seconds=5)


class Occasion(Enum):
    """Why a claim is written."""

    CREATION = auto()
    """A Service is admitted that does not exist yet."""
    CHANGE = auto()
    """A change of a Service is admitted."""
    SEEN = auto()
    """The Service exists, as it asks."""


@dataclass(frozen=True, slots=True)
class Write:
    """One claim to create or to swap."""

    before: Claim | None
    """What is known of the address; None where nothing is."""
    after: Claim

    @property
    def creates(self) -> bool:
        """Whether nothing is stored there: no claim, one that is being created, or one that was deleted in use."""
        return self.before is None or not self.before.version


@dataclass(frozen=True, slots=True, kw_only=True)
class Proposal:
    """What a Service would be given, and what has to be written for it."""

    request: ServiceRequest
    occasion: Occasion
    decision: Decision
    writes: tuple[Write, ...] = ()
    kept: tuple[Claim, ...] = ()
    """What stays as it is."""
    evictions: tuple[Eviction, ...] = ()
    """Reservations of the namespace that go first."""
    recreated: bool = False
    """Admitted for creation, though a Service of its name is known to be bound: has that one gone?"""

    def is_reserved(self, *, since: datetime) -> bool:
        """Return whether all that is assigned is stored as the Service's own already, reserved after that moment.

        Then its claims are only to be bound: nobody else is given the addresses meanwhile. An older reservation may
        be about to be evicted or to expire.
        """
        places = self.decision.placements
        return (
            self.decision.outcome is Outcome.ASSIGNED
            and bool(places)
            and all(_is_reserved(place, self.request, write_time(since)) for place in places)
        )


def propose(
    request: ServiceRequest,
    decision: Decision,
    ledger: Ledger,
    *,
    occasion: Occasion,
    now: datetime,
    max_unbound: int,
    stored: Collection[str] | None = (),
) -> Proposal:
    """Return the writes for a decision; `max_unbound` is how many reservations its namespace may have.

    No reservation of a Service that is `stored`, by name, is evicted for it; none of any where that is None.
    """
    evictions: tuple[Eviction, ...] | None = ()
    if occasion is not Occasion.SEEN and decision.outcome is Outcome.ASSIGNED:
        excess = excess_of(request, decision, ledger, limit=max_unbound)
        if excess:
            before = write_time(now - _EVICTABLE_AFTER)
            evictions = None
            if stored is not None:
                evictions = evictions_for(request, ledger, excess=excess, evictable_before=before, stored=stored)
        if evictions is None:
            why = (
                f"namespace {request.namespace} has {max_unbound} addresses reserved for Services that are not "
                "stored yet, and may not have more; this one is assigned an address as soon as it is stored"
            )
            decision = left_to_the_reconciler(request, ledger, why)
    # What a denied Service keeps is bound as well: it must not stay a reservation.
    counts = decision.outcome is Outcome.ASSIGNED or occasion is Occasion.SEEN
    writes = [Write(place.claim, _wanted(place, request, occasion, now)) for place in decision.placements if counts]
    needed, kept = _parted(writes)
    return Proposal(
        request=request,
        occasion=occasion,
        decision=decision,
        writes=needed,
        kept=kept,
        evictions=evictions or (),
        recreated=occasion is Occasion.CREATION and _is_bound(request, ledger),
    )


def to_secure(request: ServiceRequest, places: tuple[Placement, ...], *, now: datetime) -> Proposal:
    """Return the writes that claim what a Service's status shows."""
    writes = tuple(Write(place.claim, _wanted(place, request, Occasion.SEEN, now)) for place in places)
    return Proposal(
        request=request, occasion=Occasion.SEEN, decision=Decision(Outcome.ASSIGNED, places), writes=writes
    )


def _is_reserved(place: Placement, request: ServiceRequest, since: str) -> bool:
    claim = place.claim
    if claim is None or not claim.in_use or not claim.version:
        return False
    mine = request.holder_in(claim)
    if mine is None or request.joins_anew(mine):
        return False
    return mine.uid is not None or mine.since > since


def _parted(writes: Iterable[Write]) -> tuple[tuple[Write, ...], tuple[Claim, ...]]:
    """Part what has to be written from the claims that stay as they are."""
    needed: list[Write] = []
    kept: list[Claim] = []
    for write in writes:
        if write.creates or write.after != write.before:
            needed.append(write)
        else:
            kept.append(write.after)
    return tuple(needed), tuple(kept)


def _is_bound(request: ServiceRequest, ledger: Ledger) -> bool:
    held = (request.holder_in(claim) for claim in request.claims_in(ledger))
    return any(holder is not None and holder.uid is not None for holder in held)


def _wanted(place: Placement, request: ServiceRequest, occasion: Occasion, now: datetime) -> Claim:
    """What the claim at the placement shall become; equal to what is there when nothing need be written."""
    if occasion is Occasion.SEEN:
        return lifecycle.bind(place, request, now=write_time(now))
    admit = lifecycle.reserve if occasion is Occasion.CREATION else lifecycle.renew
    # Only what is there already can be due for renewal.
    renew_before = write_time(now - _RENEW_AFTER) if place.claim is not None else ""
    return admit(place, request, now=write_time(now), renew_before=renew_before)

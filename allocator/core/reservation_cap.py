"""How many addresses a namespace may keep reserved for Services that nobody has seen yet.

Admission comes before validation, ResourceQuota and other webhooks: a create that these refuse leaves its reservation
behind until it ages. Without a bound, whoever makes such creates in a loop empties every pool open to them.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Final

from allocator.core.claims import Claim, Holder
from allocator.core.ledger import Ledger
from allocator.core.requests import ServiceRequest
from allocator.core.verdicts import Decision, How, Note, NoteKind, Outcome, Placement

MAX_UNBOUND_RESERVATIONS: Final = 32
"""Default of how many addresses a namespace may have reserved at one time for Services that are not seen yet."""


@dataclass(frozen=True, slots=True)
class Eviction:
    """A reservation that has to go, and the claim it is on."""

    claim: Claim
    holder: Holder


def excess_of(request: ServiceRequest, decision: Decision, ledger: Ledger, *, limit: int) -> int:
    """Count the reservations beyond the limit that the namespace would have with the decision's new ones."""
    new = sum(place.how is not How.KEPT for place in decision.placements)
    return max(ledger.unbound_count(request.namespace) + new - limit, 0) if new else 0


def evictions_for(
    request: ServiceRequest, ledger: Ledger, *, excess: int, evictable_before: str, stored: Collection[str]
) -> tuple[Eviction, ...] | None:
    """Return what must go where the namespace would have too many reservations: named ones first, the oldest first.

    Only reservations of the request's namespace that began before the moment go, never the request's own, nor those
    of Services known to be `stored`, by name, whose authors have their address. None when these are too few: then
    nothing is to be reserved.
    """
    # Whether the Service of an unnamed one is stored cannot be asked.
    reserved = sorted(
        ledger.unbound_in(request.namespace), key=lambda one: (not one[0].name, one[0].since, one[1].address)
    )
    old = [
        Eviction(claim, holder)
        for holder, claim in reserved
        if holder.since < evictable_before
        and claim.version
        and request.holder_in(claim) is not holder
        and (not holder.name or holder.name not in stored)
    ]
    return tuple(old[:excess]) if len(old) >= excess else None


def left_to_the_reconciler(request: ServiceRequest, ledger: Ledger, why: str) -> Decision:
    """Return the decision that reserves nothing now: what the Service's status shows stays, the rest comes later."""
    shown = (claim for claim in request.claims_in(ledger) if claim.address in request.status_addresses)
    kept = tuple(Placement(claim.address, claim.pool, How.KEPT, claim) for claim in shown)
    return Decision(Outcome.PENDING, kept, notes=(Note(NoteKind.DEFERRED, f"{request.label}: {why}"),))

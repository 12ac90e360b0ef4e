"""How many addresses a namespace may hold."""

from __future__ import annotations

from collections.abc import Collection, Sequence, Set

from allocator.core.addresses import Address, Family
from allocator.core.claims import Holder
from allocator.core.ledger import Ledger
from allocator.core.reasons import Reasons
from allocator.core.requests import FamilyPolicy, ServiceRequest
from allocator.core.verdicts import Note, NoteKind, Placement, Refusal, RefusalKind


def fit_quota(
    request: ServiceRequest,
    placements: Sequence[Placement],
    *,
    kept: Collection[Family],
    ledger: Ledger,
    reasons: Reasons,
) -> tuple[list[Placement], list[Note]] | Refusal:
    """Cut what PreferDualStack can do without, with a note on it; refuse what would exceed the quota.

    Moving from one address to another adds nothing, though both are held for a moment. Shared addresses count once.
    Of the families in `kept` the Service has an address: what would take its place is refused, never cut.
    """
    allowed = list(placements)
    cuts: list[Note] = []
    quota = request.applicant.quota
    if quota is None:
        return allowed, cuts
    while True:
        together = {place.address for place in allowed}
        over = [place for place in allowed if exceeds_quota(request, place, ledger, together=together)]
        if not over:
            return allowed, cuts
        spared = request.policy is FamilyPolicy.PREFER_DUAL and not request.pins and len(allowed) > 1
        if not spared or over[-1].address.family in kept:
            held = len(ledger.held_in(request.namespace) - {place.address for place in over})
            allows = f"its quota allows{f' and this takes {len(over)}' if len(over) > 1 else ''}"
            return reasons.refusal(
                RefusalKind.QUOTA,
                f"namespace {request.namespace} holds {held} of the {quota} addresses {allows}",
                "release one or raise admitlb.io/ip-quota on the namespace",
            )
        allowed.remove(over[-1])
        cut = (
            f"{request.label}: PreferDualStack, but the quota of {quota} in namespace {request.namespace} leaves "
            f"no room for an {over[-1].address.family} address; raise admitlb.io/ip-quota to have both"
        )
        cuts.append(Note(NoteKind.FAMILY_MISSING, cut))


def exceeds_quota(request: ServiceRequest, place: Placement, ledger: Ledger, *, together: Set[Address]) -> bool:
    """Return whether the namespace would hold too many with the placement; `together` is what else the Service gets.

    What is bound or shown in status stays, whatever the quota is now. A reservation counts after everything bound and
    after the reservations made before it: two replicas that choose different addresses at one moment may both
    reserve, and then the later of the two is not bound.
    """
    quota = request.applicant.quota
    if quota is None or _is_secured(request, place):
        return False
    ahead = ledger.held_in(request.namespace) - _mine_alone(request, ledger) - _after(request, place, ledger)
    return place.address not in ahead and len(ahead | together | {place.address}) > quota


def _reservation_at(request: ServiceRequest, place: Placement) -> Holder | None:
    """Return the Service's own reservation at the placement; None when it has none there, or more than that."""
    mine = request.holder_in(place.claim) if place.claim is not None and place.claim.in_use else None
    if mine is None or mine.uid is not None or place.address in request.status_addresses:
        return None
    return mine


def _is_secured(request: ServiceRequest, place: Placement) -> bool:
    if place.address in request.status_addresses:
        return True
    mine = request.holder_in(place.claim) if place.claim is not None and place.claim.in_use else None
    return mine is not None and mine.uid is not None


def _mine_alone(request: ServiceRequest, ledger: Ledger) -> set[Address]:
    """The addresses that count for the namespace because of this Service only."""
    return {
        claim.address
        for claim in request.claims_in(ledger)
        if all(other.namespace != request.namespace for other in request.others_in(claim))
    }


def _after(request: ServiceRequest, place: Placement, ledger: Ledger) -> Set[Address]:
    """The addresses that count after a placement that is a reservation: those reserved later and not bound."""
    mine = _reservation_at(request, place)
    if mine is None:
        return frozenset()
    return {
        claim.address
        for holder, claim in ledger.unbound_in(request.namespace)
        if (holder.since, claim.address) > (mine.since, place.address)
        and all(
            one.uid is None and one.since >= holder.since
            for one in claim.holders
            if one.namespace == request.namespace
        )
    }

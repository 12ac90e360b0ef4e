"""What a Service has before its request is judged: what it keeps, what it should leave, what it must give up."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from allocator.core.addresses import Address, Family
from allocator.core.claims import Claim
from allocator.core.ledger import Ledger
from allocator.core.pools import Applicant, Pool, owning_pool
from allocator.core.quota import exceeds_quota
from allocator.core.requests import ServiceRequest
from allocator.core.securing import secured
from allocator.core.sharing import Obstacle, place_among
from allocator.core.verdicts import How, Placement


@dataclass(slots=True)
class Holdings:
    """What may stay, what should go and what must."""

    kept: dict[Family, Placement] = field(default_factory=dict)
    """One address a family, those first that it shows."""
    keepable: list[Placement] = field(default_factory=list)
    """All that it may go on holding: while it changes pools, more than one of a family."""
    leaving: dict[Family, Placement] = field(default_factory=dict)
    """What it should leave (shrinkPolicy Reassign) as soon as it can have something else."""
    lost: list[tuple[Address, Obstacle]] = field(default_factory=list)
    """Shared addresses that it must give up, and why."""
    displaced: list[tuple[Address, Obstacle]] = field(default_factory=list)
    """Younger holders that must give way on what it keeps, because of what it needs now."""

    def in_order(self, request: ServiceRequest) -> list[Placement]:
        """Return all that it may go on holding, in the order in which its status shows it."""
        shown = {address: index for index, address in enumerate(request.status_addresses)}
        held = (self.leaving | self.kept).values()
        return sorted(held, key=lambda place: shown.get(place.address, len(shown)))


def holdings_of(request: ServiceRequest, *, pools: Sequence[Pool], ledger: Ledger) -> Holdings:
    """Find what the Service holds, by claim or by its status alone, and what of it may stay.

    Nothing of that depends on what it asks for: only on its identity and what it brings to sharing.
    """
    found = Holdings()
    held = request.claims_in(ledger)
    if not held and not request.status_addresses:
        return found
    for claim in sorted(held, key=lambda claim: _rank(claim, request)):
        pool = owning_pool(claim.address, pools, recorded=claim.pool)
        place = place_among(request, claim, pool)
        if place.obstacle is not None:
            found.lost.append((claim.address, place.obstacle))
            continue
        name = pool.name if pool is not None else claim.pool
        # Of a pool that is gone only the claim knows what its policy was.
        reassign = pool.reassigns if pool is not None else claim.reassign
        placement = Placement(claim.address, name, How.KEPT, claim, reassign)
        # A reservation may be too much; what is bound or shown is not taken away by any quota.
        together = {one.address for one in found.kept.values()}
        if exceeds_quota(request, placement, ledger, together=together):
            continue
        if _keep(found, placement, pool, request.applicant):
            found.displaced += [(claim.address, displaced) for displaced in place.displaced]
    for placement in secured(request, pools=pools, ledger=ledger):
        if placement.how is not How.KEPT:
            pool = owning_pool(placement.address, pools, recorded=placement.pool)
            _keep(found, placement, pool, request.applicant)
    return found


def _keep(found: Holdings, placement: Placement, pool: Pool | None, applicant: Applicant) -> bool:
    family = placement.address.family
    if placement.reassign and (pool is None or pool.takes_away(placement.address, applicant) is not None):
        found.leaving.setdefault(family, placement)
        return False
    found.keepable.append(placement)
    return found.kept.setdefault(family, placement) is placement


def _rank(claim: Claim, request: ServiceRequest) -> tuple[bool, bool]:
    """What sorts a Service's claims: those first that status shows, then those it was admitted with.

    Of a creation that failed halfway, and was tried again, more than one reservation can be left.
    """
    return claim.address not in request.status_addresses, claim.address not in request.annotated_addresses

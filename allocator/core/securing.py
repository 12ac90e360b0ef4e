"""Securing: what must be claimed for a Service because its status shows it, whatever the Service asks for.

Status outlives claims: an installation that MetalLB served before, a restored backup, claims deleted by hand. An
address that a status shows and no claim holds would be given to the next new Service. Therefore this comes first
in every repair and in adoption; only then is the request judged (`decide`), which may be malformed or denied.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from allocator.core.addresses import Address
from allocator.core.claims import ClaimState
from allocator.core.ledger import Ledger
from allocator.core.pools import Pool, owning_pool
from allocator.core.requests import ServiceRequest
from allocator.core.sharing import place_among
from allocator.core.verdicts import How, Placement


def secured(request: ServiceRequest, *, pools: Iterable[Pool], ledger: Ledger) -> tuple[Placement, ...]:
    """Return what to claim for the Service now: each address in its status that no other Service's claim holds.

    Empty once every such claim is stored, carries the uid and what the Service brings to a sharing now, and names the
    pool that the address belongs to now: nobody joins a Service by what it needed before. An address that others hold
    is claimed too where the Service may share it with them. Reads identity, ports, sharing key and status of the
    request, never what it asks for. The pool is the one that contains the address (excluded, closed or not
    autoAssign, it does not matter), else the one recorded when it was assigned; an address of neither is another load
    balancer's and left alone.

    Of two Services that show one address and may not share it, the one that is asked for first keeps it: callers
    ask in the order of `age`.
    """
    if not request.status_addresses:
        return ()
    known = tuple(pools)
    places = (
        _secure(request, index, address, known, ledger) for index, address in enumerate(request.status_addresses)
    )
    return tuple(place for place in places if place is not None)


def age(created: str, namespace: str, name: str) -> tuple[str, str, str]:
    """Return what sorts Services oldest first: creationTimestamp, then namespace and name."""
    return created, namespace, name


def _secure(
    request: ServiceRequest, index: int, address: Address, pools: Sequence[Pool], ledger: Ledger
) -> Placement | None:
    claim = ledger.at(address)
    recorded = (claim.pool if claim is not None else "") or _recorded_pool(request, index, address)
    pool = owning_pool(address, pools, recorded=recorded)
    name = pool.name if pool is not None else recorded
    reassign = pool.reassigns if pool is not None else claim is not None and claim.reassign
    if not name:
        return None
    if claim is None:
        return Placement(address, name, How.FREE, reassign=reassign)
    if claim.state is ClaimState.CONFLICTED:
        return Placement(address, name, How.CONFLICTED, claim, reassign)
    if not claim.in_use:
        return Placement(address, name, How.COOLING, claim, reassign)
    mine = request.holder_in(claim)
    if mine is not None:
        settled = bool(claim.version) and request.is_recorded_in(mine) and name == claim.pool
        return None if settled else Placement(address, name, How.KEPT, claim, reassign)
    if place_among(request, claim, pool).obstacle is None:
        return Placement(address, name, How.SHARED, claim, reassign)
    return None


def _recorded_pool(request: ServiceRequest, index: int, address: Address) -> str:
    """The pool annotated for the address; MetalLB annotates the pool alone, we the addresses as well."""
    recorded = request.recorded_pools
    if request.annotated_addresses:
        if address not in request.annotated_addresses:
            return ""
        index = request.annotated_addresses.index(address)
    return recorded[min(index, len(recorded) - 1)] if recorded else ""

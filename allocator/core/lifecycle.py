"""The life of a claim as pure functions: each takes a claim as it is and returns what it becomes.

Allocator (IPAllocations on the API server) and the offline commands (a ledger in memory) both write what these
return; there is no second copy of these rules. Moments are sortable text, as the caller writes them.

    from        by        to          what happens
    (none)      reserve   Tentative   admission of a Service that is not stored yet
    (none)      bind      Bound       the Service exists: assigned, or adopted from its status
    Tentative   reserve   Tentative   admitted again: the reservation is renewed; or another Service joins
    Bound       reserve   Bound       another Service joins, or one recreated under a holder's name: last
    any in use  renew     unchanged   an update is admitted; its needs are recorded once it is stored (bind)
    no holder   bind      Bound       the Service shows the address; whatever the claim said is overwritten
    any in use  bind      Bound       the Service was seen: name, uid, ports, policy; its address's present pool
    any in use  rehome    unchanged   the address belongs to another pool now
    any in use  leave     unchanged   one of several holders leaves (Tentative if no bound one is left)
    any in use  leave     Cooling     the last holder leaves a pool with a reuse delay
    any in use  leave     (none)      the last holder leaves a pool without one (in memory; a stored one cools)
    any in use  drop      unchanged   reservations whose Service never appeared go (Tentative if no bound one is left)
    any in use  drop      (none)      no holder is left
    Cooling     reserve   Tentative   taken again: by the same Service at once, by others when nothing else is free
    Cooling     bind      Bound       as above, by a Service that exists
    any state   hand_over Bound       nobody holds the address any more, and another Service shows it
    Cooling     (none)                the reuse delay is over (the reconciler deletes it)
    (none)      mark      Conflicted  a host that is none of ours answers for the address
    Cooling     mark      Conflicted  as above; who had it last gets another one
    Conflicted  mark      Conflicted  another host answers for it now
    Conflicted  reserve   Tentative   a Service asks for that very address, and its author is warned
    Conflicted  bind      Bound       as above, or a Service shows the address
    Conflicted  (none)                nobody answers for it any more (the reconciler deletes it; `conflicts`)
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import replace

from allocator.core.addresses import Address
from allocator.core.claims import NO_METADATA, Claim, ClaimState, ForeignHost, Holder
from allocator.core.requests import ServiceRequest
from allocator.core.verdicts import How, Placement


def reserve(place: Placement, request: ServiceRequest, *, now: str, renew_before: str) -> Claim:
    """Claim for a Service under admission that is not stored yet; it is held without uid.

    A reservation of the same name that began before `renew_before` begins anew, so that it is not collected under
    this request. Returns the placement's claim itself when nothing need be written.
    """
    me = _unbound(request, now)
    claim = place.claim
    mine = request.holder_in(claim) if claim is not None and claim.in_use else None
    if claim is None or mine is None:
        return _join(place, me)
    if mine.uid is not None and request.joins_anew(mine) and len(claim.holders) > 1:
        return _succeed(claim, mine, me)
    both = _either(mine, me, request.others_in(claim))
    if _expired(mine, renew_before) or replace(both, since=mine.since) != mine:
        return _with_holder(claim, mine, both)
    return claim


def renew(place: Placement, request: ServiceRequest, *, now: str, renew_before: str) -> Claim:
    """Claim for an admitted update: joins where the Service does not hold the address yet, else changes no needs.

    `renew_before` and the returned claim are as for `reserve`.
    """
    claim = place.claim
    mine = request.holder_in(claim) if claim is not None and claim.in_use else None
    if claim is None or mine is None:
        return _join(place, _unbound(request, now))
    return _with_holder(claim, mine, replace(mine, since=now)) if _expired(mine, renew_before) else claim


def bind(place: Placement, request: ServiceRequest, *, now: str) -> Claim:
    """Claim for a Service that exists, with what it needs now; equal to the placement's claim when that says so."""
    me = request.as_holder(since=now)
    claim = place.claim
    mine = request.holder_in(claim) if claim is not None and claim.in_use else None
    if claim is None or mine is None:
        return replace(_join(place, me), state=ClaimState.BOUND)
    if request.joins_anew(mine):
        bound = _succeed(claim, mine, me)
    else:
        bound = _with_holder(claim, mine, replace(me, since=mine.since))
    bound = replace(bound, state=ClaimState.BOUND)
    return rehome(replace(bound, reassign=place.reassign), place.pool)


def rehome(claim: Claim, pool: str) -> Claim:
    """Return the claim for the pool that its address belongs to now; the one it was given from stays known.

    The latter's advertisements go on announcing the address, whatever those of the other pool say.
    """
    if pool == claim.pool:
        return claim
    original = claim.original_pool or claim.pool
    return replace(claim, pool=pool, original_pool="" if original == pool else original)


def leave(claim: Claim, namespace: str, name: str, *, now: str, cool: bool) -> Claim | None:
    """Take the named Service off the claim; None when nothing is left of it.

    `cool` says whether a last holder's address is kept back; the claim then lists that holder still.
    """
    others = claim.others(namespace, name)
    if others:
        return replace(claim, holders=others, state=_state(others))
    return replace(claim, state=ClaimState.COOLING, released_at=now) if cool else None


def hand_over(claim: Claim, request: ServiceRequest, *, now: str) -> Claim:
    """Claim for a Service that shows the address, in the place of all holders: they have left, or never came."""
    vacant = replace(claim, state=ClaimState.COOLING)
    return bind(Placement(claim.address, claim.pool, How.COOLING, vacant, claim.reassign), request, now=now)


def mark(claim: Claim | None, *, address: Address, pool: str, host: ForeignHost, now: str) -> Claim | None:
    """Claim that keeps an address of the pool from being handed out while `host` answers for it.

    `claim` is what is known of the address; None is returned where a Service holds it: it stays that Service's.
    """
    if claim is not None and claim.in_use:
        return None
    marked = claim is not None and claim.state is ClaimState.CONFLICTED
    return Claim(
        address=address,
        pool=pool,
        state=ClaimState.CONFLICTED,
        holders=(),
        foreign_host=host,
        conflicted_at=claim.conflicted_at if claim is not None and marked else now,
        version=claim.version if claim is not None else "",
        others_metadata=claim.others_metadata if claim is not None else NO_METADATA,
    )


def expired(claim: Claim, *, before: str) -> tuple[Holder, ...]:
    """Return the holders, named or not, whose Service was not seen and that began to hold before the moment."""
    if not claim.in_use:
        return ()
    return tuple(holder for holder in claim.holders if _expired(holder, before))


def drop(claim: Claim, gone: Collection[Holder]) -> Claim | None:
    """Take reservations off the claim; None when nobody is left. Nothing cools: no Service was ever served."""
    left = tuple(holder for holder in claim.holders if holder not in gone)
    return replace(claim, holders=left, state=_state(left)) if left else None


def _succeed(claim: Claim, former: Holder, me: Holder) -> Claim:
    """Replace a former Service of this name, or a reservation for other needs: listed last, as whoever joins."""
    holders = (*(holder for holder in claim.holders if holder is not former), me)
    return replace(claim, holders=holders, state=_state(holders))


def _either(known: Holder, admitted: Holder, others: tuple[Holder, ...]) -> Holder:
    """The needs of a Service under admission and of the one that held the address by its name, which may be gone.

    Nobody shall join meanwhile who would collide with either, and nobody who shares with it gives way to what may
    never be stored. The reconciler narrows the claim to the Service it sees.
    """
    taken = frozenset(port for other in others for port in other.ports)
    ports = known.ports | (admitted.ports - taken)
    if others:
        return replace(known, uid=None, ports=ports, since=admitted.since)
    same = (known.sharing_key, known.local_traffic, known.backend_key) == (
        admitted.sharing_key,
        admitted.local_traffic,
        admitted.backend_key,
    )
    return replace(admitted, ports=ports, sharing_key=admitted.sharing_key if same else "")


def _unbound(request: ServiceRequest, now: str) -> Holder:
    return request.as_holder(since=now, seen=False)


def _expired(holder: Holder, renew_before: str) -> bool:
    return holder.uid is None and holder.since < renew_before


def _join(place: Placement, me: Holder) -> Claim:
    """The claim with one more holder: the first where nobody holds the address, else the youngest."""
    claim = place.claim
    if claim is not None and claim.in_use and claim.holders:
        holders = (*claim.holders, me)
        return replace(claim, holders=holders, state=_state(holders))
    return Claim(
        address=place.address,
        pool=place.pool,
        reassign=place.reassign,
        state=_state((me,)),
        holders=(me,),
        version=claim.version if claim is not None else "",
        others_metadata=claim.others_metadata if claim is not None else NO_METADATA,
    )


def _with_holder(claim: Claim, old: Holder, new: Holder) -> Claim:
    holders = tuple(new if holder is old else holder for holder in claim.holders)
    return replace(claim, holders=holders, state=_state(holders))


def _state(holders: Iterable[Holder]) -> ClaimState:
    return ClaimState.BOUND if any(holder.uid for holder in holders) else ClaimState.TENTATIVE

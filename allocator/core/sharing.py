"""Sharing: which Services may hold one address together. The older holder's needs win.

A claim lists its holders in the order in which they joined, and that order is all that decides. Who joined later
gives way to whoever stays before it; nobody that shows the address gives way to a younger one. So the result depends
on age and needs, never on which Service is decided on first. The one exception is a Service that does not show the
address in its status: it takes another where a younger one that does leaves no room (`ServiceRequest.yields_to`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from allocator.core import limits
from allocator.core.addresses import Address
from allocator.core.claims import Claim, Holder, Port, listed_ports
from allocator.core.pools import Pool
from allocator.core.requests import ServiceRequest

ANY_NAMESPACE: Final = "*"
"""In a holder's consent: Services of every namespace may join it."""


class ObstacleKind(StrEnum):
    """What about an older holder keeps a younger one off its address; MetalLB: internal/allocator sharingOK."""

    NO_KEY = "no-key"
    KEY = "key"
    POLICY = "policy"
    SELECTOR = "selector"
    LOCAL_NAMESPACES = "local-namespaces"
    POOL_FORBIDS = "pool-forbids"
    HOLDER_FORBIDS = "holder-forbids"
    PORTS = "ports"
    FULL = "full"


@dataclass(frozen=True, slots=True)
class Obstacle:
    """Why `younger` may not share an address with `older`."""

    kind: ObstacleKind
    older: Holder
    younger: Holder

    def held_text(self, address: Address) -> str:
        """Say it of an address that the younger Service asks for or holds."""
        return f"{address} is {self._held()}"

    def given_up_text(self, address: Address) -> str:
        """Say that the younger holder gives the address up because of what the older one needs now."""
        return f"{self.younger.label}, which joined later, gives up {address}, {self._held()}"

    def _held(self) -> str:
        return f"held by {self.older}{self._why()}"

    def _why(self) -> str:
        older, younger = self.older, self.younger
        match self.kind:
            case ObstacleKind.NO_KEY:
                return ""
            case ObstacleKind.KEY if older.namespace == younger.namespace:
                return f" under sharing key {older.sharing_key!r}, not {younger.sharing_key!r}"
            case ObstacleKind.KEY:
                # The key is what lets a Service join: it is not shown to other namespaces.
                return f" under another sharing key than {younger.sharing_key!r}"
            case ObstacleKind.POLICY:
                return f", whose externalTrafficPolicy is {older.traffic_policy}, not {younger.traffic_policy}"
            case ObstacleKind.SELECTOR:
                return ", whose selector differs, and externalTrafficPolicy Local leads to one set of pods"
            case ObstacleKind.LOCAL_NAMESPACES:
                return ", and namespaces never share under externalTrafficPolicy Local"
            case ObstacleKind.POOL_FORBIDS:
                return ", and its pool forbids sharing between namespaces (allowCrossNamespaceSharing: false)"
            case ObstacleKind.HOLDER_FORBIDS:
                return f", whose annotation admitlb.io/allow-shared-ip-namespaces does not list {younger.namespace}"
            case ObstacleKind.PORTS:
                return f", which uses the same {listed_ports(older.ports & younger.ports)}"
            case ObstacleKind.FULL:
                return (
                    f" and others; at most {limits.HOLDERS} Services with {limits.PORTS_ON_ADDRESS} ports share one"
                )


def obstacle(older: Sequence[Holder], younger: Holder, *, pool_allows: bool | None) -> Obstacle | None:
    """Say what keeps a Service from an address that others, listed by age, hold; None when nothing does.

    `pool_allows` is what the pool says of other namespaces: None where it says nothing. The first holder's consent
    counts beside it; where either says no, other namespaces do not join.
    """
    if not older:
        return None
    kind = _kind_to_first(older[0], younger, pool_allows)
    if kind is not None:
        return Obstacle(kind, older[0], younger)
    for holder in older:
        # One that is about to give way to the first holder is announced still, under the needs that it had.
        kind = _kind_of_needs(holder, younger)
        if kind is not None:
            return Obstacle(kind, holder, younger)
        if not holder.ports.isdisjoint(younger.ports):
            return Obstacle(ObstacleKind.PORTS, holder, younger)
    ports = len(younger.ports) + sum(len(holder.ports) for holder in older)
    if len(older) >= limits.HOLDERS or ports > limits.PORTS_ON_ADDRESS:
        return Obstacle(ObstacleKind.FULL, older[0], younger)
    return None


def giving_way(holders: Sequence[Holder], *, pool_allows: bool | None) -> tuple[Obstacle | None, ...]:
    """Return, for each of the holders by age, why it must give way to one that stays; None for those that stay."""
    staying: list[Holder] = []
    used: set[Port] = set()
    found: list[Obstacle | None] = []
    for holder in holders:
        kind = _kind_to_first(staying[0], holder, pool_allows) if staying else None
        against = staying[0] if kind is not None else None
        if kind is None and not used.isdisjoint(holder.ports):
            kind = ObstacleKind.PORTS
            against = next(one for one in staying if not one.ports.isdisjoint(holder.ports))
        if kind is not None and against is not None:
            found.append(Obstacle(kind, against, holder))
            continue
        found.append(None)
        staying.append(holder)
        used |= holder.ports
    return tuple(found)


@dataclass(frozen=True, slots=True)
class Place:
    """What a Service, with what it needs now, is among the holders of one claim."""

    obstacle: Obstacle | None
    """Why it may not hold the address, or must give it up."""
    displaced: tuple[Obstacle, ...] = ()
    """Younger holders that could stay so far and must give way to what it needs now."""
    without_consent: tuple[Holder, ...] = ()
    """Holders of other namespaces beside which it may hold the address because nobody says anything of namespaces."""


def place_among(request: ServiceRequest, claim: Claim, pool: Pool | None) -> Place:
    """Find a Service's place among a claim's holders: as the holder it is, else as the one to join last.

    One recreated under a holder's name, or that needs what its reservation was not made for, joins last too: that
    costs no sharer its address. One that joins must get on with all holders, those that are about to give way
    included: they are still announced. One that does not show the address must get on with all that do, younger ones
    too (`yields_to`).
    """
    pool_allows = pool.allow_cross_namespace_sharing if pool is not None else None
    me, mine = request.as_holder(), request.holder_in(claim)
    if mine is not None and len(claim.holders) == 1:
        return Place(None)
    if mine is None or request.joins_anew(mine):
        older = request.others_in(claim)
        found = obstacle(older, me, pool_allows=pool_allows)
        consent = _without_consent(older[0], me, older[:1], pool_allows) if older and not found else ()
        return Place(found, without_consent=consent)
    at = claim.holders.index(mine)
    if found := _against_younger(request, claim, at, pool_allows):
        return Place(found)
    before = giving_way(claim.holders, pool_allows=pool_allows)
    changed = (*claim.holders[:at], me, *claim.holders[at + 1 :])
    after = giving_way(changed, pool_allows=pool_allows)
    displaced = tuple(
        now for index, now in enumerate(after) if now is not None and before[index] is None and index > at
    )
    staying = [holder for holder, why in zip(changed, after, strict=True) if why is None]
    beside = staying[:1] if staying[0] is not me else staying[1:]
    without_consent = () if after[at] else _without_consent(staying[0], me, beside, pool_allows)
    return Place(after[at], displaced, without_consent)


def _against_younger(request: ServiceRequest, claim: Claim, at: int, pool_allows: bool | None) -> Obstacle | None:
    """What the Service at that place needs now that a younger one, which alone shows the address, has no room for."""
    me = request.as_holder()
    for younger in claim.holders[at + 1 :]:
        if (claim.address, younger.namespace, younger.name) not in request.yields_to:
            continue
        kind = _kind_of_needs(me, younger) if at else _kind_to_first(me, younger, pool_allows)
        if kind is None and not me.ports.isdisjoint(younger.ports):
            kind = ObstacleKind.PORTS
        if kind is not None:
            return Obstacle(kind, younger, me)
    return None


def _without_consent(
    first: Holder, me: Holder, beside: Sequence[Holder], pool_allows: bool | None
) -> tuple[Holder, ...]:
    if pool_allows is not None or first.sharing_namespaces is not None:
        return ()
    return tuple(holder for holder in beside if holder.namespace != me.namespace)


def _kind_to_first(first: Holder, younger: Holder, pool_allows: bool | None) -> ObstacleKind | None:
    """What of the first holder's needs, which all that stay meet, the younger one does not meet."""
    kind = _kind_of_needs(first, younger)
    if kind is not None or first.namespace == younger.namespace:
        return kind
    if first.local_traffic:
        return ObstacleKind.LOCAL_NAMESPACES
    if pool_allows is False:
        return ObstacleKind.POOL_FORBIDS
    consent = first.sharing_namespaces
    if consent is not None and ANY_NAMESPACE not in consent and younger.namespace not in consent:
        return ObstacleKind.HOLDER_FORBIDS
    return None


def _kind_of_needs(older: Holder, younger: Holder) -> ObstacleKind | None:
    """What keeps two Services from one address whatever their namespaces are; ports apart."""
    if not older.sharing_key or not younger.sharing_key:
        return ObstacleKind.NO_KEY
    if older.sharing_key != younger.sharing_key:
        return ObstacleKind.KEY
    if older.local_traffic is not younger.local_traffic:
        return ObstacleKind.POLICY
    return ObstacleKind.SELECTOR if older.backend_key != younger.backend_key else None

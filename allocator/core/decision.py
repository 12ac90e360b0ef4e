"""The decision: which addresses a Service gets, or why it gets none.

`decide` is the one implementation of every rule; admission, the reconciler and the offline commands all call it.
"""

from __future__ import annotations

from collections.abc import Sequence

from allocator.core.addresses import Address, Family
from allocator.core.claims import ClaimState
from allocator.core.holdings import holdings_of
from allocator.core.ledger import Ledger
from allocator.core.listing import listed
from allocator.core.notes import Notes
from allocator.core.pools import Pool, PriorityOrder, in_order_of_trial
from allocator.core.quota import fit_quota
from allocator.core.reasons import Reasons, ranges_text
from allocator.core.requests import FamilyPolicy, ServiceRequest
from allocator.core.search import Search
from allocator.core.sharing import ObstacleKind, place_among
from allocator.core.verdicts import Decision, How, Note, Outcome, Placement, Refusal, RefusalKind


def decide(
    request: ServiceRequest,
    *,
    pools: Sequence[Pool],
    ledger: Ledger,
    order: PriorityOrder = PriorityOrder.LOWEST_FIRST,
    pass_over: int = 0,
) -> Decision:
    """Decide from values alone; never raises for anything a Service can say.

    `pass_over` is how many free addresses to leave to others that are deciding at this moment, where a range has
    as many; the lowest is right for everybody who is alone.
    """
    return _Case(request, pools, ledger, order, pass_over).decide()


class _Case:
    """One call of `decide`, so that its parts need not pass five values around."""

    def __init__(
        self,
        request: ServiceRequest,
        pools: Sequence[Pool],
        ledger: Ledger,
        order: PriorityOrder,
        pass_over: int,
    ) -> None:
        self.request = request
        self.pools = in_order_of_trial(pools, order=order)
        self.ledger = ledger
        self.search = Search(request, ledger, pass_over)
        self.reasons = Reasons(request, self.pools, ledger)
        self.cuts: list[Note] = []
        self.holdings = holdings_of(request, pools=self.pools, ledger=ledger)
        self.kept = self.holdings.kept

    def decide(self) -> Decision:
        malformed = self.request.malformed
        if malformed:
            return self._refuse(Refusal(RefusalKind.MALFORMED, f"{self.request.label}: {malformed}"))
        if not self.request.pins:
            return self._automatic()
        refusal = self._malformed_pins()
        return self._pinned() if refusal is None else self._refuse(refusal)

    def _malformed_pins(self) -> Refusal | None:
        request = self.request
        pins = request.pins
        families = [pin.family for pin in pins]
        written = ", ".join(str(pin) for pin in pins)
        if len(set(families)) < len(families):
            return self.reasons.refusal(
                RefusalKind.MALFORMED, f"{written} are of one family", "name at most one IPv4 and one IPv6 address"
            )
        strangers = [pin for pin in pins if pin.family not in request.families]
        if strangers:
            able = " and ".join(request.families)
            return self.reasons.refusal(
                RefusalKind.MALFORMED,
                f"{strangers[0]} is {strangers[0].family}, but the Service is {able}",
                f"name an address of {able}, or change spec.ipFamilies",
            )
        if request.policy is FamilyPolicy.REQUIRE_DUAL and len(pins) < 2:
            return self.reasons.refusal(
                RefusalKind.MALFORMED, f"RequireDualStack with only {written}", "name one of each family"
            )
        return None

    def _pinned(self) -> Decision:
        placements = []
        for pin in self.request.pins:
            placed = self._place_pin(pin)
            if isinstance(placed, Refusal):
                return self._refuse(placed)
            placements.append(placed)
        return self._assign(placements)

    def _place_pin(self, pin: Address) -> Placement | Refusal:
        request = self.request
        held = self.kept.get(pin.family)
        if held is not None and held.address == pin and request.pool_name in (None, held.pool):
            return held
        pool = self._requested_pool()
        if isinstance(pool, Refusal):
            return pool
        owner = next((candidate for candidate in self.pools if candidate.spans(pin)), None)
        if pool is not None and owner is not pool and any(pin in part for part in pool.awaited):
            return self.reasons.refusal(
                RefusalKind.NOT_IN_POOL,
                f"{pin} of pool {pool.name} is still in the pool that it takes it over from",
                "narrow or delete that one",
            )
        if pool is not None and owner is not pool:
            return self.reasons.refusal(
                RefusalKind.MALFORMED,
                f"{pin} is not in the requested pool {pool.name} ({ranges_text(pool)})",
                "change the address or the pool",
            )
        if owner is None:
            return self.reasons.refusal(
                RefusalKind.NOT_IN_POOL, f"{pin} is in no pool ({self.reasons.considered()})", "add it to a pool"
            )
        closed = owner.refuses(request.applicant)
        if closed is not None:
            return self.reasons.refusal(
                RefusalKind.POOL_CLOSED, f"{pin} belongs to pool {owner.name}, {closed}", "ask for another address"
            )
        if not owner.contains(pin):
            return self.reasons.refusal(
                RefusalKind.NOT_IN_POOL, f"{pin} is kept out of use by pool {owner.name}", "ask for another address"
            )
        return self._take(pin, owner)

    def _take(self, address: Address, pool: Pool) -> Placement | Refusal:
        claim = self.ledger.at(address)
        if claim is None:
            return Placement(address, pool.name, How.FREE, reassign=pool.reassigns)
        if claim.state is ClaimState.CONFLICTED:
            return Placement(address, pool.name, How.CONFLICTED, claim, pool.reassigns)
        if not claim.in_use:
            return Placement(address, pool.name, How.COOLING, claim, pool.reassigns)
        if not claim.holders:
            return self.reasons.refusal(
                RefusalKind.HELD,
                f"{address} is locked by an IPAllocation that names no Service",
                f"delete it (kubectl delete ipallocation {address.claim_name}) or ask for another address",
            )
        found = place_among(self.request, claim, pool).obstacle
        if found is None:
            how = How.KEPT if self.request.holder_in(claim) else How.SHARED
            return Placement(address, pool.name, how, claim, pool.reassigns)
        return self.reasons.refusal(RefusalKind.HELD, found.held_text(address), _REMEDY_BY_OBSTACLE[found.kind])

    def _requested_pool(self) -> Pool | Refusal | None:
        name = self.request.pool_name
        if name is None:
            return None
        pool = next((candidate for candidate in self.pools if candidate.name == name), None)
        if pool is None:
            known = listed(candidate.name for candidate in self.pools) or "none"
            return self.reasons.refusal(
                RefusalKind.UNKNOWN_POOL, f"there is no pool {name} (pools: {known})", "create it or name another"
            )
        closed = pool.refuses(self.request.applicant)
        if closed is not None:
            return self.reasons.refusal(RefusalKind.POOL_CLOSED, f"pool {name} is {closed}", "name another pool")
        return pool

    def _automatic(self) -> Decision:
        request = self.request
        requested = self._requested_pool()
        if isinstance(requested, Refusal):
            return self._refuse(requested)
        if requested is not None:
            open_pools = [requested]
            # What admission reserved there already comes before another search.
            held = [place for place in self.holdings.keepable if place.pool == requested.name]
            kept = {place.address.family: place for place in reversed(held)}
        else:
            open_pools = [pool for pool in self.pools if pool.auto_assign and pool.refuses(request.applicant) is None]
            kept = self.kept
        kept = {family: place for family, place in kept.items() if family in request.families}
        placed = self._fill(open_pools, kept)
        enough = 2 if request.policy is FamilyPolicy.REQUIRE_DUAL else 1
        if len(placed) < enough:
            return self._refuse(self.reasons.nothing_left(open_pools))
        placements = [placed[family] for family in request.families if family in placed]
        leaving = self.holdings.leaving
        stuck = bool(leaving) and any(place in leaving.values() for place in placements)
        return self._assign(placements, self.reasons.nothing_left(open_pools) if stuck else None)

    def _fill(self, pools: list[Pool], kept: dict[Family, Placement]) -> dict[Family, Placement]:
        """Find an address for every family wanted: from one pool if one has them all, else from several."""
        request = self.request
        dual = request.policy is not FamilyPolicy.SINGLE
        families = request.families if dual else request.families[:1]
        missing = [family for family in families if family not in kept]
        if not missing:
            return kept
        found = {family: self.search.first(pools, family) for family in missing}
        if dual and all(found.values()):
            together = self._find_in_one_pool(pools, families, kept)
            if together is not None:
                return kept | together
        placed = kept.copy()
        for family, free in found.items():
            place = free or self.holdings.leaving.get(family)
            if place is not None:
                placed[family] = place
        return placed

    def _find_in_one_pool(
        self, pools: list[Pool], families: Sequence[Family], kept: dict[Family, Placement]
    ) -> dict[Family, Placement] | None:
        serving = {place.pool for place in kept.values()}
        missing = [family for family in families if family not in kept]
        for pool in pools:
            if serving and pool.name not in serving:
                continue
            places = {family: self.search.first([pool], family) for family in missing}
            whole = {family: place for family, place in places.items() if place is not None}
            if len(whole) == len(missing):
                return whole
        return None

    def _assign(self, placements: list[Placement], wanted: Refusal | None = None) -> Decision:
        fitted = fit_quota(self.request, placements, kept=self.kept, ledger=self.ledger, reasons=self.reasons)
        if isinstance(fitted, Refusal):
            return self._refuse(fitted)
        allowed, self.cuts = fitted
        if wanted is not None:
            return self._refuse(wanted, allowed)
        return self._decision(Outcome.ASSIGNED, allowed)

    def _refuse(self, refusal: Refusal, held: Sequence[Placement] = ()) -> Decision:
        """Refuse what is asked for; whatever the outcome, what the Service has is placed again."""
        held = held or self.holdings.in_order(self.request)
        if held:
            kept = ", ".join(str(place.address) for place in held)
            refusal = Refusal(refusal.kind, f"{refusal.message}; keeps {kept} meanwhile")
        if not refusal.kind.heals:
            return self._decision(Outcome.DENIED, held, refusal)
        return self._decision(Outcome.ASSIGNED if held else Outcome.PENDING, held, refusal)

    def _decision(
        self, outcome: Outcome, placements: Sequence[Placement], refusal: Refusal | None = None
    ) -> Decision:
        complete = refusal is None and not self.cuts
        notes = Notes(self.reasons).on(placements, complete=complete)
        return Decision(
            outcome,
            tuple(placements),
            refusal,
            lost_share=self._lost_share() if self.holdings.lost else None,
            displaced=self._displaced(placements) if self.holdings.displaced else None,
            notes=(*self.cuts, *notes),
            considered=tuple(self.reasons.of_each_pool()) if refusal is not None and refusal.kind.asks_pools else (),
        )

    def _lost_share(self) -> Refusal:
        lost = [f"gives up {address}, because {why.held_text(address)}" for address, why in self.holdings.lost]
        return self.reasons.refusal(
            RefusalKind.HELD, "; ".join(lost), "who joined first stays; it is tried again as soon as that changes"
        )

    def _displaced(self, placements: Sequence[Placement]) -> Refusal | None:
        kept = {place.address for place in placements}
        displaced = [why.given_up_text(address) for address, why in self.holdings.displaced if address in kept]
        return self.reasons.refusal(RefusalKind.HELD, "; ".join(displaced), _DISPLACED) if displaced else None


_DISPLACED = "change this Service back to let it stay"

_KEYS = "release it or add the same metallb.io/allow-shared-ip key to both, with different ports"
_ALIKE = "share it under one key, with different ports and the same externalTrafficPolicy, or ask for another address"
_NAMESPACES = "have it allowed by its holder or the pool, or ask for another address"
_REMEDY_BY_OBSTACLE = {
    ObstacleKind.NO_KEY: _KEYS,
    ObstacleKind.KEY: _ALIKE,
    ObstacleKind.POLICY: _ALIKE,
    ObstacleKind.SELECTOR: _ALIKE,
    ObstacleKind.PORTS: _ALIKE,
    ObstacleKind.LOCAL_NAMESPACES: "use externalTrafficPolicy Cluster, or ask for another address",
    ObstacleKind.FULL: "ask for another address, or share under another key",
    ObstacleKind.POOL_FORBIDS: _NAMESPACES,
    ObstacleKind.HOLDER_FORBIDS: _NAMESPACES,
}

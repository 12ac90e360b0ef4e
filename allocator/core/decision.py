"""The decision: which addresses a Service gets, or why it gets none.

`decide` is the one implementation of every rule; admission, the reconciler and the offline commands all call it.
"""

from __future__ import annotations

from collections.abc import Sequence

from allocator.core.addresses import Address, Family
from allocator.core.claims import Ledger
from allocator.core.listing import listed
from allocator.core.pools import Pool, PriorityOrder, ShrinkPolicy, in_order_of_trial, owning_pool
from allocator.core.quota import exceeds_quota, fit_quota
from allocator.core.reasons import Reasons, ranges_text
from allocator.core.requests import FamilyPolicy, ServiceRequest
from allocator.core.search import Search
from allocator.core.sharing import clash
from allocator.core.verdicts import Decision, How, Outcome, Placement, Refusal, RefusalKind


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
    """One call of `decide`, so that its parts need not pass five values context."""

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
        self.reasons = Reasons(request, self.pools)
        self.warnings: list[str] = []
        self.lost_share: Refusal | None = None
        self.leaving: dict[Family, Placement] = {}
        """What the Service holds and should leave (shrinkPolicy Reassign) as soon as it can have something else."""
        self.keepable: list[Placement] = []
        """All that the Service holds and may go on holding: while it changes pools, more than one of a family."""
        self.kept = self._holdings()

    def decide(self) -> Decision:
        malformed = self.request.malformed
        if malformed:
            return self._refuse(Refusal(RefusalKind.MALFORMED, f"{self.request.label}: {malformed}"))
        refusal = self._malformed_pins()
        if refusal is not None:
            return self._refuse(refusal)
        return self._pinned() if self.request.pins else self._automatic()

    def _holdings(self) -> dict[Family, Placement]:
        """What the Service holds and may go on holding; a sharing it has broken is given up to the others.

        What its status lists without a claim is adopted: Service status outlives claims (a restored backup,
        an installation that MetalLB served before).
        """
        request = self.request
        kept: dict[Family, Placement] = {}
        held = request.claims_in(self.ledger)
        # Of a creation that failed halfway, and was tried again, more than one reservation can be left.
        ranked = sorted(
            held,
            key=lambda one: (
                one.address not in request.status_addresses,
                one.address not in request.annotated_addresses,
            ),
        )
        for claim in ranked:
            pool = owning_pool(claim.address, self.pools, recorded=claim.pool)
            why_not = clash(self.request, claim, pool)
            name = pool.name if pool is not None else claim.pool
            place = Placement(claim.address, name, How.KEPT, claim)
            if why_not is not None:
                self.lost_share = self.reasons.refusal(
                    RefusalKind.HELD,
                    f"gives up {claim.address}, because {why_not}",
                    "it is tried again as soon as that changes",
                )
                self.warnings.append(self.lost_share.message)
            elif exceeds_quota(request, place, self.ledger, together={one.address for one in kept.values()}):
                continue
            elif pool is not None and self._must_leave(claim.address, pool):
                self.leaving.setdefault(claim.address.family, place)
            else:
                self.keepable.append(place)
                kept.setdefault(claim.address.family, place)
        for address in request.status_addresses:
            pool = next((pool for pool in self.pools if pool.contains(address)), None)
            if address.family not in kept and pool is not None:
                adopted = self._take(address, pool)
                if isinstance(adopted, Placement):
                    kept[address.family] = adopted
        return kept

    def _must_leave(self, address: Address, pool: Pool) -> bool:
        return (
            pool.shrink_policy is ShrinkPolicy.REASSIGN
            and pool.takes_away(address, self.request.applicant) is not None
        )

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
        if pins and request.policy is FamilyPolicy.REQUIRE_DUAL and len(pins) < 2:
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
            return Placement(address, pool.name, How.FREE)
        if not claim.in_use:
            return Placement(address, pool.name, How.COOLING, claim)
        why_not = clash(self.request, claim, pool)
        if why_not is None:
            how = How.KEPT if self.request.holder_in(claim) else How.SHARED
            return Placement(address, pool.name, how, claim)
        shares = bool(self.request.sharing_key and claim.sharing_key)
        return self.reasons.refusal(
            RefusalKind.HELD,
            why_not,
            "share it under one key, with different ports and a like traffic policy, or ask for another address"
            if shares
            else "release it or add the same metallb.io/allow-shared-ip key to both, with different ports",
        )

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
            held = [place for place in (*self.kept.values(), *self.keepable) if place.pool == requested.name]
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
        self._tell_missing_family(placed)
        stuck = any(place in self.leaving.values() for place in placements)
        return self._assign(placements, self.reasons.nothing_left(open_pools) if stuck else None)

    def _tell_missing_family(self, placed: dict[Family, Placement]) -> None:
        """PreferDualStack that comes to one address is served, and yet not what its author had in mind."""
        request = self.request
        missing = [family for family in request.families if family not in placed]
        if request.policy is FamilyPolicy.PREFER_DUAL and missing:
            self.warnings.append(
                f"{request.label}: PreferDualStack gets {' and '.join(placed)} only, no {missing[0]} address is left "
                f"({self.reasons.considered()}); open a pool with {missing[0]} to have both"
            )

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
        apart = {family: place or self.leaving.get(family) for family, place in found.items()}
        return kept | {family: place for family, place in apart.items() if place is not None}

    def _find_in_one_pool(
        self, pools: list[Pool], families: Sequence[Family], kept: dict[Family, Placement]
    ) -> dict[Family, Placement] | None:
        homes = {place.pool for place in kept.values()}
        for pool in pools:
            if homes and pool.name not in homes:
                continue
            missing = [family for family in families if family not in kept]
            places = {family: self.search.first([pool], family) for family in missing}
            whole = {family: place for family, place in places.items() if place is not None}
            if len(whole) == len(missing):
                return whole
        return None

    def _assign(self, placements: list[Placement], wanted: Refusal | None = None) -> Decision:
        fitted = fit_quota(self.request, placements, self.ledger, self.reasons)
        if isinstance(fitted, Refusal):
            return self._refuse(fitted)
        allowed, cuts = fitted
        self.warnings += cuts
        if wanted is not None:
            return self._refuse(wanted, allowed)
        return self._decision(Outcome.ASSIGNED, allowed)

    def _refuse(self, refusal: Refusal, held: Sequence[Placement] = ()) -> Decision:
        held = held or list((self.leaving | self.kept).values())
        if not refusal.kind.heals:
            return self._decision(Outcome.DENIED, held, refusal)
        if held:
            listed = ", ".join(str(place.address) for place in held)
            kept = Refusal(refusal.kind, f"{refusal.message}; keeps {listed} meanwhile")
            return self._decision(Outcome.ASSIGNED, held, kept)
        return self._decision(Outcome.PENDING, [], refusal)

    def _decision(
        self, outcome: Outcome, placements: Sequence[Placement], refusal: Refusal | None = None
    ) -> Decision:
        told = [refusal.message] if refusal is not None and outcome is not Outcome.DENIED else []
        considered = tuple(self.reasons.of_each_pool()) if refusal is not None else ()
        return Decision(outcome, tuple(placements), refusal, self.lost_share, (*self.warnings, *told), considered)

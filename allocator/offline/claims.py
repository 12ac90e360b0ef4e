"""Claims on paper: what `allocator.allocation.allocator` writes to the API server, written to a ledger alone.

There is no clock: what is released cools for as long as nobody needs it.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from allocator.core.addresses import Address
from allocator.core.claims import Claim, ClaimState, Ledger
from allocator.core.requests import ServiceRequest
from allocator.core.verdicts import Decision, Outcome, Placement


class InMemoryClaims:
    """A ledger and the ways it changes. Not shared between threads."""

    def __init__(self) -> None:
        self.ledger = Ledger()
        self.stirred = False
        """Set whenever somebody else may now have an address, or a share of one, that they could not have before."""
        self._releases = 0

    def settle(self, request: ServiceRequest, decision: Decision, *, cooling_pools: Iterable[str]) -> None:
        """Make a decision true: hold what is placed, let go of all else."""
        if decision.outcome is Outcome.ASSIGNED:
            for place in decision.placements:
                self._hold(place, request)
        placed = {place.address for place in decision.placements}
        self.release(request.namespace, request.name, keeping=placed, cooling_pools=cooling_pools)

    def release(
        self, namespace: str, name: str, *, keeping: Iterable[Address] = (), cooling_pools: Iterable[str] = ()
    ) -> None:
        """Take the Service off what it holds; a last holder's address cools where its pool says so."""
        kept, cooling = set(keeping), set(cooling_pools)
        for claim in self.ledger.held_by(namespace, name):
            if claim.address in kept:
                continue
            others = claim.others(namespace, name)
            if others:
                self.ledger.put(replace(claim, holders=others))
            elif claim.pool in cooling:
                self._releases += 1
                since = f"{self._releases:012}"
                self.ledger.put(replace(claim, state=ClaimState.COOLING, released_at=since))
            else:
                self.ledger.discard(claim.address)
            self.stirred = True

    def _hold(self, place: Placement, request: ServiceRequest) -> None:
        before = place.claim if place.claim is not None and place.claim.in_use else None
        others = before.others(request.namespace, request.name) if before is not None else ()
        after = Claim(
            address=place.address,
            pool=before.pool if before is not None and others else place.pool,
            state=ClaimState.BOUND,
            holders=(*others, request.as_holder()),
            sharing_key=before.sharing_key if before is not None and others else request.sharing_key,
        )
        if after != before:
            self.ledger.put(after)
            self.stirred = self.stirred or before is not None

"""Claims in memory: what `allocator.allocation.allocator` writes to the API server, written to a ledger alone.

There is no clock: moments are counted, and what is released cools for as long as nobody needs it.
"""

from __future__ import annotations

from collections.abc import Iterable

from allocator.core import lifecycle
from allocator.core.addresses import Address
from allocator.core.ledger import Ledger
from allocator.core.requests import ServiceRequest
from allocator.core.verdicts import Decision, Placement

_AFTER_ANY_CLOCK = "9999-"
"""What is claimed here comes after what a live cluster's claims say."""


class InMemoryClaims:
    """A ledger and the ways it changes. Not shared between threads."""

    def __init__(self) -> None:
        self.ledger = Ledger()
        self.capacity_changed = False
        """Set whenever somebody else may now have an address, or a share of one, that they could not have before."""
        self.affected: set[tuple[str, str]] = set()
        """Holders, by namespace and name, whose fellow holders' needs have changed since it was emptied."""
        self._moments = 0

    def settle(self, request: ServiceRequest, decision: Decision, *, cooling_pools: Iterable[str]) -> None:
        """Make a decision true, whatever its outcome: hold what is placed, release all else."""
        self.hold(request, decision.placements)
        placed = {place.address for place in decision.placements}
        self.release(request.namespace, request.name, keeping=placed, cooling_pools=cooling_pools)

    def hold(self, request: ServiceRequest, placements: Iterable[Placement]) -> None:
        """Claim what is placed for a Service that exists."""
        for place in placements:
            before = place.claim if place.claim is not None and place.claim.in_use else None
            after = lifecycle.bind(place, request, now=self._now())
            if after != before:
                self.ledger.put(after)
                self.affected.update((other.namespace, other.name) for other in request.others_in(after))
                self.capacity_changed = self.capacity_changed or before is not None

    def release(
        self, namespace: str, name: str, *, keeping: Iterable[Address] = (), cooling_pools: Iterable[str] = ()
    ) -> None:
        """Take the Service off what it holds; a last holder's address cools where its pool says so."""
        kept, cooling = set(keeping), set(cooling_pools)
        for claim in self.ledger.held_by(namespace, name):
            if claim.address in kept:
                continue
            left = lifecycle.leave(claim, namespace, name, now=self._now(), cool=claim.pool in cooling)
            if left is None:
                self.ledger.discard(claim.address)
            else:
                self.ledger.put(left)
            self.capacity_changed = True

    def _now(self) -> str:
        self._moments += 1
        return f"{_AFTER_ANY_CLOCK}{self._moments:012}"

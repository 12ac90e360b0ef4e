"""What the webhook does for a Service under admission, without a webhook."""

from __future__ import annotations

from contextlib import suppress

from allocator.allocation.allocator import Allocator
from allocator.allocation.claim_writer import LostRace
from allocator.allocation.proposal import Occasion
from allocator.core.requests import ServiceRequest
from allocator.core.verdicts import Decision


def reserve(claims: Allocator, request: ServiceRequest, occasion: Occasion = Occasion.CREATION) -> Decision:
    """Propose, allow, commit, as often as it takes."""
    for pass_over in claims.attempts():
        with claims.propose(request, occasion, pass_over=pass_over) as proposal, suppress(LostRace):
            claims.commit(proposal)
            return proposal.decision
    raise AssertionError(f"{request.label} lost every race")

"""What is the same for all groups of addresses that are decided about at one moment."""

from __future__ import annotations

from dataclasses import dataclass

from speaker.election.claim_index import ClaimIndex
from speaker.election.claim_term import ClaimTerms
from speaker.election.inputs import Inputs


@dataclass(frozen=True, slots=True, kw_only=True)
class Moment:
    """What is the same for all groups that are decided about at one moment.

    `unready_at` is when this node was last seen not to be Ready.
    """

    node: str
    now: float
    inputs: Inputs
    alive: frozenset[str]
    claims: ClaimIndex
    terms: ClaimTerms
    handover_seconds: float
    unready_at: float | None

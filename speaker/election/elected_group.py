"""One group of addresses and what a node remembers of its elections."""

from __future__ import annotations

from collections.abc import Mapping

from allocator.core.addresses import Address
from speaker.election.candidates import Candidates
from speaker.election.election import Ranking
from speaker.election.live_candidates import LiveCandidates

_NEVER: Mapping[str, float] = {}


class ElectedGroup:
    """`since` is when what is waited for began, by reason; `deadline` when to decide again though nothing happens.

    `named` are the holders that this node names to others, by address.
    `settled` says that nothing is to be decided as things are, `holder` under whom (`LiveCandidates.settled`). The
    ranking is kept while it is not, for it is the most costly part of a decision.
    """

    __slots__ = ("candidates", "deadline", "holder", "live", "named", "ranking", "settled", "since")

    def __init__(self, candidates: Candidates, live: LiveCandidates, *, since: Mapping[str, float] = _NEVER) -> None:
        self.candidates = candidates
        self.live = live
        self.since = since
        self.deadline: float | None = None
        self.settled = False
        self.named: Mapping[Address, str] = {}
        self.holder: str | None = None
        self.ranking: Ranking | None = None

    def rank(self, node: str) -> bytes:
        """Return what the node is ranked by for this group."""
        if self.ranking is None:
            self.ranking = Ranking(self.candidates.ranked_by)
        return self.ranking.of(node)

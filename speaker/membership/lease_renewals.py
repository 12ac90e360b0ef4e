"""Which peers live by their Leases alone: the network swallows their heartbeats."""

from __future__ import annotations

from speaker.membership.peer_table import Roster

LEASE_COUNTS_SECONDS = 25.0
"""How long a renewed Lease speaks for a node that is not heard."""
LEASE_DOUBT_SECONDS = 2.0
"""A renewal seen so soon after the silence began may have been written before."""
LEASE_PROOF_SECONDS = 5.0
"""How far apart two renewals must be seen to prove life: what waited in a stalled API server comes all at once."""

_NONE: frozenset[str] = frozenset()


class Renewals:
    """Takes note of renewed Leases of peers that are not heard. Owned by one thread."""

    def __init__(self, roster: Roster) -> None:
        self._roster = roster
        self.speak = False
        """Whether a Lease may speak for somebody."""

    def seen(self, node: str, now: float) -> None:
        """The node's Lease was seen to be renewed: a second time, it lives, heard or not."""
        peer = self._roster.peers.get(node)
        if peer is None or peer.fresh or now - peer.silent_since < LEASE_DOUBT_SECONDS:
            return
        if peer.first_renewed_at is None:
            peer.first_renewed_at = now
        elif now - peer.first_renewed_at >= LEASE_PROOF_SECONDS:
            peer.renewed_at = now
            self.speak = True

    def proven(self, now: float) -> frozenset[str]:
        """Return the nodes that are not heard, yet keep renewing their Lease."""
        if not self.speak:
            return _NONE
        found = frozenset(
            node
            for node, peer in self._roster.peers.items()
            if not peer.fresh and peer.renewed_at is not None and now - peer.renewed_at < LEASE_COUNTS_SECONDS
        )
        self.speak = bool(found)
        return found

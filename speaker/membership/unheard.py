"""The peers of whose life nothing is known but that their Leases are renewed, and what the Leases are asked about."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass

from speaker.membership.lease_evidence import DOUBT_SECONDS, LEASE_COUNTS_SECONDS, LEASE_DOUBT_SECONDS
from speaker.membership.peer import Peer


@dataclass(frozen=True, slots=True)
class Doubt:
    """Whether this node hears nobody (`alone`), and which peers fell silent lately, or live by their Leases."""

    alone: bool = False
    silent: frozenset[str] = frozenset()


class Unheard:
    """Remembers whose Lease was seen to be renewed while it was silent. Owned by one thread."""

    def __init__(self) -> None:
        self._renewed_at: dict[str, float] = {}

    def renewed(self, node: str, peer: Peer, now: float) -> None:
        """The Lease of a peer was seen to be renewed."""
        if not peer.fresh and now - peer.silent_since >= LEASE_DOUBT_SECONDS:
            self._renewed_at[node] = now

    def nodes(self, peers: Mapping[str, Peer], reached: Collection[str], now: float) -> frozenset[str]:
        """Return those that nobody on this node's side, which are the `reached`, hears."""
        if self._renewed_at:
            self._renewed_at = {
                node: at
                for node, at in self._renewed_at.items()
                if now - at < LEASE_COUNTS_SECONDS
                and node not in reached
                and (peer := peers.get(node)) is not None
                and not peer.fresh
            }
        return frozenset(self._renewed_at)

    def doubt(self, peers: Mapping[str, Peer], reached: Collection[str], now: float) -> Doubt:
        """Return what the Leases are to be asked about."""
        unheard = self.nodes(peers, reached, now)
        silent = frozenset(
            node
            for node, peer in peers.items()
            if not peer.fresh and (now - peer.silent_since < DOUBT_SECONDS or node in unheard)
        )
        return Doubt(alone=bool(peers) and not reached, silent=silent)

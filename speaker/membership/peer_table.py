"""The other speakers, and which of them watch each other."""

from __future__ import annotations

from speaker.membership.peer import Peer
from speaker.membership.ring import EVERYONE_UP_TO, Ring


class Roster:
    """The peers by name, and the ring of this node and those that are fresh. Owned by one thread.

    `watched` are those that owe this node frequent heartbeats, `watchers` those that it owes them.
    """

    def __init__(self, node: str) -> None:
        self.node = node
        self.peers: dict[str, Peer] = {}
        self.ring = Ring((node,))
        self.watched: tuple[str, ...] = ()
        self.watchers: frozenset[str] = frozenset()

    @property
    def crowded(self) -> bool:
        """Whether there are too many peers for everybody to watch everybody."""
        return len(self.peers) > EVERYONE_UP_TO

    def regroup(self, now: float) -> list[str]:
        """Form the ring anew; return those watched from now on that may not know it, and are to be asked."""
        self.ring = Ring({self.node} | {node for node, peer in self.peers.items() if peer.fresh})
        self.watched = self.ring.watched_by(self.node)
        self.watchers = frozenset(self.ring.watchers_of(self.node))
        watched = frozenset(self.watched)
        begun = []
        for node, peer in self.peers.items():
            if node not in watched:
                peer.watched_since = None
            elif peer.watched_since is None:
                peer.watched_since = now
                peer.asked_at = None
                begun.append(node)
        return begun if self.crowded else []

"""The other speakers, and which of them exchange frequent heartbeats with this node."""

from __future__ import annotations

from collections.abc import Collection, Iterator

from speaker.membership.heartbeat import Phase
from speaker.membership.peer import Peer
from speaker.membership.ring import EVERYONE_UP_TO, Ring


class PeerTable:
    """The peers by name, and the neighbours of this node among those that are fresh. Owned by one thread."""

    def __init__(self, node: str) -> None:
        self.node = node
        self.peers: dict[str, Peer] = {}
        self.neighbours: frozenset[str] = frozenset()

    @property
    def crowded(self) -> bool:
        """Whether there are too many peers for all to be neighbours."""
        return len(self.peers) > EVERYONE_UP_TO

    def regroup(self, now: float) -> list[str]:
        """Find the neighbours anew; return new ones that may not know that they are, and are to be asked."""
        ring = Ring({self.node} | {node for node, peer in self.peers.items() if peer.fresh})
        self.neighbours = ring.neighbours_of(self.node)
        begun = []
        for node, peer in self.peers.items():
            if node not in self.neighbours:
                peer.neighbour_since = None
            elif peer.neighbour_since is None:
                peer.neighbour_since, peer.excused = now, 0.0
                begun.append(node)
        return begun if self.crowded else []

    def hears(self) -> frozenset[str]:
        """Return the neighbours with which hearing is mutual."""
        return frozenset(node for node in self.neighbours if self.peers[node].linked)

    def reached(self) -> frozenset[str]:
        """Return the nodes on this node's side, without itself: those linked to it, also through others it hears.

        What somebody says whom it hears counts while it is on the side and heard itself.
        """
        found = set(self.hears())
        pending = list(found)
        while pending:
            peer = self.peers[pending.pop()]
            if not (peer.fresh and peer.stated):
                continue
            for node in peer.received.state.hears:
                if node not in found and node in self.peers:
                    found.add(node)
                    pending.append(node)
        return frozenset(found)

    def one_way(self, reached: Collection[str]) -> Iterator[tuple[str, float]]:
        """Yield the speakers that are heard and that hear neither this node nor those it reaches; and since when.

        They cannot know what this node claims. Only it can give way, so it does, unless its side is the larger.
        """
        for node, peer in self.peers.items():
            one_way = peer.fresh and not peer.hears_us and node not in reached
            if one_way and peer.phase is Phase.SERVING and peer.linked_nodes > len(reached):
                yield node, max(peer.deaf_since, peer.beside_us_until)

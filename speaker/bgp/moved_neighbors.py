"""Neighbours that go because their BGPPeer has another address or interface now, in the same VRF."""

from __future__ import annotations

from collections.abc import Mapping

from allocator.bgp.frr_config import Config, Key
from allocator.bgp.inputs import Peer


class MovedNeighbors:
    """Remembers which neighbour each BGPPeer was. Belongs to one thread.

    Such a session comes back as another one: its end is a reset, which waits for its turn, and is not its end.
    """

    def __init__(self) -> None:
        self._sessions: Mapping[str, Peer] = {}
        self._moved: dict[Key, str] = {}
        """The BGPPeer that each was of."""

    def among(self, present: Config, sessions: Mapping[str, Peer]) -> frozenset[Key]:
        """Return those that FRR still has at present, where these sessions are wanted now."""
        if sessions is not self._sessions:
            before, self._sessions = self._sessions, sessions
            self._moved |= {_key(peer): name for name, peer in before.items()}
        if not self._moved:
            return frozenset()
        wanted = {_key(peer) for peer in sessions.values()}
        self._moved = {
            key: name
            for key, name in self._moved.items()
            if name in sessions
            and sessions[name].vrf == key[1]
            and key not in wanted
            and (*key, "remote-as") in present.lines
        }
        return frozenset(self._moved)


def _key(peer: Peer) -> Key:
    return ("neighbor", peer.vrf, peer.id)

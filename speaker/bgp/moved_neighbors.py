"""Neighbours that go because their BGPPeer has another address, interface or VRF now."""

from __future__ import annotations

from collections.abc import Mapping

from allocator.bgp.command import Reset
from allocator.bgp.frr_config import Config, Key
from allocator.bgp.inputs import Peer


class MovedNeighbors:
    """Remembers which neighbours each BGPPeer was, and how. Belongs to one thread.

    Such a session comes back as another one: its end is a reset, which waits for its turn, and is not its end.
    """

    def __init__(self) -> None:
        self._sessions: Mapping[str, Peer] = {}
        self._moved: dict[Key, Peer] = {}
        """Each as it last was, by the key of the neighbour."""

    def among(self, present: Config, sessions: Mapping[str, Peer]) -> dict[Reset, Peer]:
        """Return those that FRR still has at present, where these sessions are wanted now, by what their end is."""
        if sessions is not self._sessions:
            before, self._sessions = self._sessions, sessions
            self._moved |= {_key(peer): peer for peer in before.values()}
        wanted = {_key(peer) for peer in sessions.values()}
        self._moved = {
            key: peer
            for key, peer in self._moved.items()
            # One that is shut down ends permanently, wherever it is.
            if peer.name in sessions
            and not sessions[peer.name].shutdown
            and key not in wanted
            and (*key, "remote-as") in present.lines
        }
        return {_reset(peer, sessions[peer.name]): peer for peer in self._moved.values()}


def _reset(before: Peer, after: Peer) -> Reset:
    what = "peerAddress or interface" if before.vrf == after.vrf else "vrf"
    return Reset(before.vrf, before.id, f"{what} changed", before.name)


def _key(peer: Peer) -> Key:
    return ("neighbor", peer.vrf, peer.id)

"""New neighbours that are not configured, as another program of this node has a session with the router."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping

from allocator.bgp.frr_config import Config
from allocator.bgp.inputs import Peer
from speaker.bgp.events import Event, PeerInUse
from speaker.bgp.peers_in_use import told_apart


class Undialled:
    """Leaves them out of what is wanted, and reports each once. Belongs to one thread.

    `in_use` names, of peers that bgpd does not have as neighbours, those that must not be dialled.
    """

    def __init__(
        self, in_use: Callable[[Collection[Peer]], frozenset[str]], *, report: Callable[[Event], None]
    ) -> None:
        self._in_use = in_use
        self._report = report
        self._names: frozenset[str] = frozenset()

    def leave_out(self, wanted: Config, present: Config, sessions: Mapping[str, Peer]) -> Config:
        """Return what is wanted without those of its neighbours; all of it where no neighbour is new."""
        if present.lines == wanted.lines:
            self._names = frozenset()
            return wanted
        neighbors = {key[:3] for key in present.lines if key[0] == "neighbor"}
        new = {
            name: peer
            for name, peer in sessions.items()
            if not peer.shutdown and ("neighbor", peer.vrf, peer.id) not in neighbors
        }
        # Distinguished from what goes only now, too: a connection may be that of bgpd's own session in another VRF.
        known = [
            peer
            for peer in told_apart(new.values(), sessions.values())
            if not any(key[2] == peer.id and key[1] != peer.vrf for key in neighbors)
        ]
        names = self._in_use(known) if known else frozenset()
        for name in names - self._names:
            self._report(PeerInUse(new[name]))
        self._names = names
        if not names:
            return wanted
        wanted = wanted.copy()
        for name in names:
            wanted.remove(("neighbor", new[name].vrf, new[name].id))
        return wanted

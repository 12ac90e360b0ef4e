"""Routers with which another program of this node has a session: Calico's BIRD, kube-router, a router daemon.

A router takes one session from an address. A second one is a collision (RFC 4271, section 6.8) that can end the
first, and with it the network of the node's pods. So nobody is dialled to whom the node has an established connection
that is not bgpd's, nor before QUIET_SECONDS after it was last seen: programs that restart come back within that time.

Whose a connection is the kernel does not say without rights over other processes. Before bgpd has a neighbour, none
is bgpd's. Later one is not if it stays while bgpd says that its session is down. Nor does it say of which VRF one is:
where a node has sessions to one address in several VRFs, nobody is looked for. A peer on an interface is in use by a
connection over that interface to a link-local address, as unnumbered sessions are: bgpd takes whichever router it
finds there, and its other addresses nobody knows.
"""

from __future__ import annotations

import socket
import time
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping
from functools import partial

from allocator.bgp.inputs import Peer
from allocator.core.addresses import Address, AddressError, Family
from allocator.process.logs import EventLog
from speaker.bgp.reports import SessionState
from speaker.netdev.tcp_connections import Connection, established

log = EventLog("bgp")

QUIET_SECONDS = 120.0
LOOK_SECONDS = 10.0
_BGP_PORT = 179
_LINK_LOCAL, _LINK_LOCAL_SHIFT = 0xFE80 >> 6, 128 - 10
"""fe80::/10 (RFC 4291, section 2.5.6)."""
_WITHOUT_CONNECTION = frozenset({"Idle", "Connect", "Active"})
"""The states in which bgpd has no established connection (RFC 4271, section 8.2.2)."""

Look = Callable[[Collection[int]], frozenset[Connection]]
"""Returns the established connections with one of these ports at the other end, or BGP's at this one."""


def _look(ports: Collection[int]) -> frozenset[Connection]:
    return established(local_ports={_BGP_PORT}, remote_ports=ports)


def in_use(peers: Collection[Peer], *, look: Look = _look) -> frozenset[str]:
    """Return the peers that must not be dialled, of such that bgpd does not have as neighbours. Any thread."""
    connections = _connections(peers, look)
    return frozenset(peer.name for peer in peers if connections.get(peer.name))


def told_apart(peers: Iterable[Peer], among: Collection[Peer]) -> list[Peer]:
    """Return those of the peers whose address no other has in another VRF: its connections are theirs alone."""
    vrfs = {(peer.id, peer.vrf) for peer in among}
    several = {neighbor for neighbor, count in Counter(neighbor for neighbor, _ in vrfs).items() if count > 1}
    return [peer for peer in peers if peer.id not in several]


class PeersInUse:
    """Remembers who is in use, and notices who comes to be while bgpd cannot connect. Belongs to one thread."""

    def __init__(self, *, look: Look = _look, clock: Callable[[], float] = time.monotonic) -> None:
        self._look = partial(_connections, look=look)
        self._clock = clock
        self._last_seen: dict[str, tuple[Peer, float]] = {}
        self._suspected: Mapping[str, frozenset[Connection]] = {}
        self._looked_at: float | None = None

    @property
    def names(self) -> frozenset[str]:
        """The peers that are not to be dialled."""
        return frozenset(self._last_seen)

    @property
    def due(self) -> float | None:
        """When to call `watch` again; None for when something else has changed."""
        if not (self._last_seen or self._suspected) or self._looked_at is None:
            return None
        return self._looked_at + LOOK_SECONDS

    def note(self, peer: Peer) -> None:
        """Take in that this one is in use."""
        if peer.name not in self._last_seen:
            log.warning("bgp.peer-in-use", peer=peer.name, neighbor=peer.id)
        self._last_seen[peer.name] = (peer, self._clock())

    def watch(self, peers: Mapping[str, Peer], states: Mapping[str, SessionState]) -> None:
        """Look again, if it is time: `peers` are all that there are, `states` those of bgpd's sessions."""
        for name, (peer, _) in list(self._last_seen.items()):
            if peers.get(name) != peer or not told_apart([peer], peers.values()):
                # Another address or VRF: its own connection is looked at before it is dialled.
                del self._last_seen[name]
        now = self._clock()
        if self._looked_at is not None and now < self._looked_at + LOOK_SECONDS:
            return
        tried = {
            name: peers[name]
            for name, state in states.items()
            if name in peers and name not in self._last_seen and state.state in _WITHOUT_CONNECTION
        }
        tried = {peer.name: peer for peer in told_apart(tried.values(), peers.values())}
        waiting = {name: peer for name, (peer, _) in self._last_seen.items()}
        if not tried and not waiting:
            self._suspected = {}
            return
        self._looked_at = now
        found = self._look([*tried.values(), *waiting.values()])
        for name, peer in tried.items():
            if found.get(name, frozenset()) & self._suspected.get(name, frozenset()):
                self.note(peer)
        self._suspected = {name: found[name] for name in tried if found.get(name)}
        for name, peer in waiting.items():
            if found.get(name):
                self._last_seen[name] = (peer, now)
            elif now - self._last_seen[name][1] >= QUIET_SECONDS:
                log.info("bgp.peer-free", peer=name, neighbor=peer.id)
                del self._last_seen[name]


def _connections(peers: Iterable[Peer], look: Look) -> dict[str, frozenset[Connection]]:
    """Return the connections that take the place of a session with each peer."""
    peers = list(peers)
    try:
        every = look({peer.port for peer in peers})
    except OSError as error:
        log.debug("bgp.connections-unread", error=error)
        return {}
    return {peer.name: _to(peer, frozenset(each for each in every if _is_bgp(each, peer))) for peer in peers}


def _to(peer: Peer, connections: frozenset[Connection]) -> frozenset[Connection]:
    """Return those to the peer, from where its session would come."""
    if peer.address is None:
        index = _index(peer.interface)
        return frozenset(each for each in connections if _is_link_local(each.remote) and each.interface == index)
    ours = frozenset(each for each in connections if each.remote == peer.address)
    source = _source(peer, peer.address) if ours else None
    return frozenset(each for each in ours if source is None or each.local == source)


def _index(interface: str) -> int | None:
    try:
        return socket.if_nametoindex(interface)
    except OSError:
        return None


def _is_link_local(address: Address) -> bool:
    return address.family is Family.IPV6 and address.value >> _LINK_LOCAL_SHIFT == _LINK_LOCAL


def _is_bgp(connection: Connection, peer: Peer) -> bool:
    """Whether one side is where BGP listens: bgpd dials only, so that what the router has dialled is never bgpd's."""
    return connection.remote_port == peer.port or connection.local_port == _BGP_PORT


def _source(peer: Peer, address: Address) -> Address | None:
    """Return the node's address that a session comes from; None where that is not known."""
    if peer.source_address is not None:
        return peer.source_address
    if peer.vrf:
        return None
    family = socket.AF_INET if address.family is Family.IPV4 else socket.AF_INET6
    try:
        # Sends nothing: the kernel chooses route and source.
        with socket.socket(family, socket.SOCK_DGRAM) as choosing:
            choosing.connect((str(address), peer.port))
            return Address.parse(choosing.getsockname()[0])
    except (OSError, AddressError):
        return None

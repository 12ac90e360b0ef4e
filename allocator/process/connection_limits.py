"""How many connections to a port may wait for their request to come.

Whoever reaches a port can open connections. New ones are let in, and the oldest of whoever holds most goes for them:
a client in good order is done in milliseconds, one that waits is not. What a port asks for before it stops counting a
connection (a path with a token, an answer taken) is its own affair.
"""

from __future__ import annotations

from collections import Counter, OrderedDict
from collections.abc import Hashable
from ipaddress import IPv6Address, ip_address

PER_PEER = 16
TOTAL = 64
PER_KNOWN_PEER = 256
_MOST_KNOWN = 64
_HOST_BITS_OF_A_LINK = 64


class ConnectionLimits:
    """Counts waiting connections by peer; belongs to one thread.

    A peer is an IPv4 address or an IPv6 /64, of which one host may have every address. An address that is known (an
    API server's, which has sent a valid path) is bounded by itself alone, and by a higher number, because several API
    servers, or other hosts as well, may be behind it.
    """

    def __init__(self) -> None:
        self._peers: OrderedDict[Hashable, str] = OrderedDict()
        self._counts: Counter[str] = Counter()
        self._known: OrderedDict[str, None] = OrderedDict()

    def add(self, connection: Hashable, address: str) -> Hashable | None:
        """Count a connection; return which one has to be closed for it, None where there is room."""
        peer = address if address in self._known else peer_of(address)
        crowded = self._counts[peer] >= (PER_KNOWN_PEER if peer in self._known else PER_PEER)
        evicted = None
        if crowded:
            evicted = self._oldest(peer)
        elif peer not in self._known and self._unknown() >= TOTAL:
            evicted = self._oldest(self._largest_unknown())
        if evicted is not None:
            self.remove(evicted)
        self._peers[connection] = peer
        self._counts[peer] += 1
        return evicted

    def remove(self, connection: Hashable) -> None:
        """Count a connection no longer: it is closed, or has shown whose it is."""
        peer = self._peers.pop(connection, None)
        if peer is not None:
            self._counts[peer] -= 1
            if not self._counts[peer]:
                del self._counts[peer]

    def know(self, address: str) -> None:
        """Remember an address that has shown whose it is; the one unheard of longest is forgotten."""
        self._known[address] = None
        self._known.move_to_end(address)
        if len(self._known) > _MOST_KNOWN:
            self._known.popitem(last=False)

    def knows(self, address: str) -> bool:
        """Whether this address has shown whose it is."""
        return address in self._known

    def __len__(self) -> int:
        return len(self._peers)

    def _unknown(self) -> int:
        return sum(count for peer, count in self._counts.items() if peer not in self._known)

    def _largest_unknown(self) -> str:
        unknown = {peer: count for peer, count in self._counts.items() if peer not in self._known}
        return max(unknown, key=lambda peer: unknown[peer])

    def _oldest(self, peer: str) -> Hashable | None:
        return next((connection for connection, its in self._peers.items() if its == peer), None)


def peer_of(address: str) -> str:
    """Return what one host can be counted by: its IPv4 address, or the /64 of its IPv6 address."""
    try:
        ip = ip_address(address.partition("%")[0])
    except ValueError:
        return address
    if not isinstance(ip, IPv6Address):
        return str(ip)
    if ip.ipv4_mapped is not None:
        return str(ip.ipv4_mapped)
    return f"{IPv6Address(int(ip) >> _HOST_BITS_OF_A_LINK << _HOST_BITS_OF_A_LINK)}/64"

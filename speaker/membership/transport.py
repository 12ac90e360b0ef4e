"""The heartbeats' socket: both address families, every way to a node, none that a datagram merely claims."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence

from allocator.core.addresses import Address, AddressError
from speaker.membership.datagrams import Datagrams, socket_address
from speaker.membership.heartbeat import MAXIMUM_BYTES
from speaker.membership.link import Link, Subnet

_SOURCES_REMEMBERED = 4096

Restrict = Callable[[socket.socket, Collection[Subnet]], None]
"""Has the kernel drop what a socket would receive from outside these subnets. Raises OSError."""


def accept_all(*_: object) -> None:
    """Restrict nothing."""


class HeartbeatSocket:
    """Sends to nodes by name over the addresses they are known by.

    A node is reached at the first of them, or at all, where the interface that leads there has lost its link; one in
    trouble where it was last heard from, as long as that is one of its own. Owned by one thread.
    """

    def __init__(self, port: int, address: str | None = None, restrict: Restrict = accept_all) -> None:
        """Open a socket for every address, or for one. Without its port (`bind`) it neither sends nor receives.

        `restrict` has the kernel drop what comes from outside the subnets in which there are nodes.
        """
        self._port = port
        self._socket, self._address = _open(address)
        self.bound = False
        self._datagrams = Datagrams(self._socket, longest_bytes=MAXIMUM_BYTES + 1)
        self._given: Mapping[str, tuple[str, ...]] = {}
        self._stated: dict[str, tuple[Address, ...]] = {}
        self._addresses: dict[str, tuple[str, ...]] = {}
        """Those given, then those that the node itself has stated."""
        self._restrict = restrict
        self._links: tuple[Link, ...] = ()
        self._lans: frozenset[Subnet] = frozenset()
        self._ways_lost: dict[str, bool] = {}
        self._sources: frozenset[Subnet] = frozenset()
        self._expected: dict[str, bool] = {}
        self._paths: dict[str, str] = {}
        self._named: dict[str, bytes] = {}
        self._waiting: dict[int, list[tuple[bytes, bytes]]] = {}

    def fileno(self) -> int:
        """The descriptor that becomes readable when a datagram waits."""
        return self._socket.fileno()

    def close(self) -> None:
        """Free the port."""
        self._socket.close()

    def bind(self) -> None:
        """Take the port. Raises OSError, as long as another program has it."""
        self._socket.bind((self._address, self._port))
        self.bound = True

    def set_addresses(self, addresses: Mapping[str, Sequence[str]]) -> None:
        """Know these nodes by these IP addresses."""
        self._given = {node: known_addresses(known) for node, known in addresses.items()}
        self._stated = {node: stated for node, stated in self._stated.items() if node in self._given}
        self._addresses = {node: self._addresses_of(node) for node in self._given}
        self._paths = {node: path for node, path in self._paths.items() if node in self._addresses}
        self._named = {}
        self._ways_lost.clear()
        self._name(address for known in self._addresses.values() for address in known)
        self._expect()

    def set_stated(self, node: str, addresses: tuple[Address, ...]) -> None:
        """Know a node by the addresses, too, that it says its interfaces have: they are known before its Lease is."""
        if node not in self._given or self._stated.get(node, ()) == addresses:
            return
        self._stated[node] = addresses
        self._ways_lost.pop(node, None)
        known = self._addresses[node] = self._addresses_of(node)
        self._name(known)
        if not all(map(self.expects, known)):
            self._expect()

    def _addresses_of(self, node: str) -> tuple[str, ...]:
        return tuple(dict.fromkeys((*self._given[node], *map(str, self._stated.get(node, ())))))

    def _name(self, addresses: Iterable[str]) -> None:
        for address in addresses:
            if address not in self._named:
                with contextlib.suppress(OSError):
                    self._named[address] = socket_address(address, self._port, self._socket.family)

    def set_links(self, links: Iterable[Link]) -> None:
        """Know this node's interfaces: nodes are expected in their subnets, too, and reached over them."""
        links = tuple(links)
        if links == self._links:
            # They come with every change of what this node claims.
            return
        self._links = links
        self._lans = frozenset(subnet for link in self._links for subnet in link.subnets)
        self._ways_lost.clear()
        self._expect()

    def expects(self, source: str) -> bool:
        """Return whether a node may have this address: a known one, or one in a subnet of this node's."""
        if (known := self._expected.get(source)) is not None:
            return known
        if len(self._expected) >= _SOURCES_REMEMBERED:
            self._expected.clear()
        address = Address.parse(source.partition("%")[0])
        found = self._expected[source] = not self._sources or any(address in each for each in self._sources)
        return found

    def _expect(self) -> None:
        known = {address for addresses in self._addresses.values() for address in addresses}
        sources = self._lans | {Subnet.parse(f"{address}/{128 if ':' in address else 32}") for address in known}
        if sources == self._sources or not known:
            return
        self._sources = sources
        self._expected.clear()
        with contextlib.suppress(OSError):
            # Every source is checked all the same.
            self._restrict(self._socket, sources)

    def receive(self, at_most: int) -> list[tuple[bytes, str]]:
        """Return the datagrams that wait, each with the IP address it claims to come from. Raises OSError."""
        return self._datagrams.receive(at_most) if self.bound else []

    def heard(self, node: str, source: str) -> None:
        """An authentic, timely heartbeat of the node came from there."""
        if self._paths.get(node) != source and source in self._addresses.get(node, ()):
            self._paths[node] = source

    def put(self, node: str, datagram: bytes, *, in_trouble: bool, met: bool) -> None:
        """Have `flush` send this to a node.

        With a cable out, the usual way to it may be the one that is gone. With the cable in, a way that fails means
        that clients do not get through either: going round it would keep this node elected. So would going round it
        because of some other interface that is down.

        To one that was `met` the kernel goes on sending where it was, also while it is silent. It would come to ask
        for the hardware address, once a second, and until that is answered nothing would pass when the network is
        whole again. A node that comes back with another one says so itself: it asks for ours.
        """
        addresses = self._addresses.get(node, ())
        path = self._paths.get(node)
        if not self._way_is_lost(node):
            addresses = (path,) if in_trouble and path in addresses else addresses[:1]
        waiting = self._waiting.setdefault(socket.MSG_CONFIRM if met else 0, [])
        waiting += [(self._named[address], datagram) for address in addresses if address in self._named]

    def _way_is_lost(self, node: str) -> bool:
        """Whether an interface that leads to the node's first address has no link."""
        lost = self._ways_lost.get(node)
        if lost is None:
            usual = self.usual(node)
            lost = self._ways_lost[node] = usual is not None and _is_lost(Address.parse(usual), self._links)
        return lost

    def usual(self, node: str) -> str | None:
        """Return the address at which a node gets what is sent to it in the regular way."""
        return next(iter(self._addresses.get(node, ())), None)

    def put_on_lan(self, address: str, datagram: bytes) -> None:
        """Have `flush` send this to an IP address over the LAN that it is in, not through a router."""
        with contextlib.suppress(OSError):
            name = socket_address(address, self._port, self._socket.family)
            self._waiting.setdefault(socket.MSG_DONTROUTE, []).append((name, datagram))

    def flush(self) -> list[tuple[str, OSError]]:
        """Send what was put, and return the addresses to which it was refused, and why."""
        refused = []
        for flags, waiting in self._waiting.items():
            # From another port the others would hear this node, and it not them.
            if waiting and self.bound:
                refused += self._datagrams.send(waiting, flags=flags)
            waiting.clear()
        return refused


def _is_lost(address: Address, links: Iterable[Link]) -> bool:
    """Return whether an interface to the address has no link: one in its subnet; else one with the default route."""
    links = tuple(links)
    leading = [link for link in links if any(address in subnet for subnet in link.subnets)]
    return any(link.lost for link in leading or [link for link in links if link.default_route])


def _open(address: str | None) -> tuple[socket.socket, str]:
    """Return a socket for both families, or for that of the address, or for IPv4 where there is no IPv6, and the
    address to bind."""
    kind = socket.SOCK_DGRAM | socket.SOCK_NONBLOCK
    if address is not None:
        return socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, kind), address
    try:
        both = socket.socket(socket.AF_INET6, kind)
    except OSError:
        return socket.socket(socket.AF_INET, kind), "0.0.0.0"  # noqa: S104
    both.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
    return both, "::"


def known_addresses(addresses: Iterable[str]) -> tuple[str, ...]:
    """Return the valid ones in order, each once and in its usual form."""
    found: dict[str, None] = {}
    for text in addresses:
        with contextlib.suppress(AddressError):
            found[str(Address.parse(text))] = None
    return tuple(found)

"""The heartbeats' socket: both address families, every way to a node, none that a datagram merely claims."""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Iterable, Mapping, Sequence


class HeartbeatSocket:
    """Sends to nodes by name over the addresses they are known by.

    A node is reached at the first of them; one in trouble where it was last heard from, as long as that is one of its
    own. `everywhere` tries all of them. Guarded by its owner's lock.
    """

    def __init__(self, port: int, address: str | None = None) -> None:
        """Bind the port, on every address or on one. Raises OSError when it is taken."""
        self._port = port
        self._socket, self._mapped = _listen(port, address)
        self._addresses: Mapping[str, tuple[str, ...]] = {}
        self._paths: dict[str, str] = {}

    def fileno(self) -> int:
        """The descriptor that becomes readable when a datagram waits."""
        return self._socket.fileno()

    def close(self) -> None:
        """Free the port."""
        self._socket.close()

    def set_addresses(self, addresses: Mapping[str, Sequence[str]]) -> None:
        """Know these nodes by these addresses."""
        self._addresses = {node: tuple(map(self._wire_address, known)) for node, known in addresses.items()}

    def receive(self, limit_bytes: int) -> tuple[bytes, str]:
        """Return a waiting datagram and the address it claims to come from. Raises BlockingIOError, OSError."""
        datagram, source = self._socket.recvfrom(limit_bytes)
        return datagram, source[0]

    def heard(self, node: str, source: str) -> None:
        """An authentic, timely heartbeat of the node came from there."""
        if self._paths.get(node) != source and source in self._addresses.get(node, ()):
            self._paths[node] = source

    def send(self, node: str, datagram: bytes, *, everywhere: bool, in_trouble: bool, met: bool) -> None:
        """Send to a node. Raises OSError where there was one way and it failed.

        To one that was `met` the kernel goes on sending where it was, also while it is silent. It would come to ask
        for the hardware address, once a second, and until that is answered nothing would pass when the network is
        whole again. A node that comes back with another one says so itself: it asks for ours.
        """
        flags = socket.MSG_CONFIRM if met else 0
        addresses = self._addresses.get(node, ())
        path = self._paths.get(node)
        if in_trouble and path in addresses and not everywhere:
            addresses = (path,)
        elif not everywhere:
            addresses = addresses[:1]
        failure: OSError | None = None
        for address in addresses:
            try:
                self._socket.sendto(datagram, flags, (address, self._port))
            except OSError as error:
                failure = error
        if failure is not None and len(addresses) == 1:
            raise failure

    def _wire_address(self, address: str) -> str:
        mapped = self._mapped and ipaddress.ip_address(address).version == 4
        return f"::ffff:{address}" if mapped else address


def _listen(port: int, address: str | None) -> tuple[socket.socket, bool]:
    """Return a socket for both families, and whether it writes IPv4 addresses as IPv4-mapped."""
    kind = socket.SOCK_DGRAM | socket.SOCK_NONBLOCK
    if address is not None:
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        return _bound(socket.socket(family, kind), address, port), False
    try:
        both = socket.socket(socket.AF_INET6, kind)
    except OSError:
        return _bound(socket.socket(socket.AF_INET, kind), "0.0.0.0", port), False  # noqa: S104
    both.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
    return _bound(both, "::", port), True


def _bound(sock: socket.socket, address: str, port: int) -> socket.socket:
    try:
        sock.bind((address, port))
    except OSError:
        sock.close()
        raise
    return sock


def known_addresses(addresses: Iterable[str]) -> tuple[str, ...]:
    """Return the valid ones in order, each once and in its usual form."""
    found: dict[str, None] = {}
    for text in addresses:
        try:
            found[str(ipaddress.ip_address(text.strip()))] = None
        except ValueError:
            continue
    return tuple(found)

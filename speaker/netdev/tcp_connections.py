"""The TCP connections of this network namespace that are established, as the kernel lists them.

Asked of the kernel by netlink (net/ipv4/inet_diag.c), which sends only those with the ports that are asked for: on a
node with 20,000 sockets that is a tenth of the work of reading /proc/net/tcp, which is read where the kernel has no
inet_diag.
"""

from __future__ import annotations

import os
import socket
import struct
import sys
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path
from struct import Struct

from allocator.core.addresses import Address, Family
from allocator.process.logs import EventLog
from speaker.netdev import netlink
from speaker.netdev.netlink import Flag, Kind

log = EventLog("bgp")

_ESTABLISHED = 1
"""TCP_ESTABLISHED (linux/net/tcp_states.h)."""
_MAPPED = 0xFFFF
"""::ffff:0:0/96, for IPv4 of a socket that takes both families (RFC 4291)."""

_SOCK_DIAG, _BY_FAMILY = 4, 20
_REQUEST = Struct("=BBBxI48x")
"""inet_diag_req_v2: family, protocol, extensions, states; no socket in particular."""
_LISTED = Struct("!4xHH16s16s4s32x")
"""inet_diag_msg: of the socket's identity both ports, both addresses, and the interface in the host's byte order."""
_BYTECODE = 1
_JUMP, _LOCAL_AT_LEAST, _LOCAL_AT_MOST, _REMOTE_AT_LEAST, _REMOTE_AT_MOST = 1, 2, 3, 4, 5
_STEP = Struct("=BBH")
"""inet_diag_bc_op: code, how far to go on where it holds, and where it does not; of a port the next one has it."""
_RECEIVE_BYTES = 1 << 16
_SECONDS = 2.0


@dataclass(frozen=True, slots=True)
class Connection:
    """Both ends of a connection; that of a listener for both families over IPv4 is IPv4.

    `interface` is the number of the one that it is bound to, as each between link-local addresses is; 0 for none.
    """

    local: Address
    local_port: int
    remote: Address
    remote_port: int
    interface: int = 0


def established(*, local_ports: Collection[int], remote_ports: Collection[int]) -> frozenset[Connection]:
    """Return the established connections with one of these ports at that end, of whomsoever. Raises OSError."""
    try:
        return asked(local_ports=local_ports, remote_ports=remote_ports)
    except OSError as error:
        log.debug("connections.no-netlink", error=error)
        return read(local_ports=local_ports, remote_ports=remote_ports)


def asked(*, local_ports: Collection[int], remote_ports: Collection[int]) -> frozenset[Connection]:
    """The same by netlink alone. Raises OSError."""
    wanted = netlink.attribute(_BYTECODE, _program(local_ports, remote_ports))
    found: set[Connection] = set()
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, _SOCK_DIAG) as asking:
        asking.settimeout(_SECONDS)
        for family in (socket.AF_INET, socket.AF_INET6):
            body = _REQUEST.pack(family, socket.IPPROTO_TCP, 0, 1 << _ESTABLISHED) + wanted
            asking.send(netlink.message(_BY_FAMILY, body, flags=Flag.REQUEST | Flag.DUMP, sequence=family))
            found.update(_listed(body, family) for body in _answer(asking))
    return frozenset(found)


def _answer(asking: socket.socket) -> Iterator[bytes]:
    while True:
        for message in netlink.messages(asking.recv(_RECEIVE_BYTES)):
            if message.kind == Kind.DONE:
                return
            if message.kind == Kind.ERROR:
                code = -struct.unpack_from("=i", message.body)[0]
                raise OSError(code, os.strerror(code))
            yield message.body


def _listed(body: bytes, family: int) -> Connection:
    local_port, remote_port, local, remote, interface = _LISTED.unpack_from(body)
    length = 4 if family == socket.AF_INET else 16
    ends = (int.from_bytes(end[:length]) for end in (local, remote))
    near, far = (_address(value, length) for value in ends)
    return Connection(near, local_port, far, remote_port, int.from_bytes(interface, sys.byteorder))


def _program(local_ports: Collection[int], remote_ports: Collection[int]) -> bytes:
    """Return the filter for the kernel: one range of a single port after the other, any of which is enough.

    At the end of a program a connection is listed, and beyond it it is not.
    """
    chosen = [(port, _LOCAL_AT_LEAST, _LOCAL_AT_MOST) for port in sorted(set(local_ports))]
    chosen += [(port, _REMOTE_AT_LEAST, _REMOTE_AT_MOST) for port in sorted(set(remote_ports))]
    comparison = 2 * _STEP.size
    program = b""
    for number, (port, at_least, at_most) in enumerate(chosen):
        beyond = 2 * comparison + _STEP.size
        value = _STEP.pack(0, 0, port)
        program += _STEP.pack(at_least, comparison, beyond) + value
        program += _STEP.pack(at_most, comparison, beyond - comparison) + value
        if others := len(chosen) - number - 1:
            program += _STEP.pack(_JUMP, _STEP.size, others * beyond)
    return program


def read(
    *, local_ports: Collection[int], remote_ports: Collection[int], folder: Path = Path("/proc/thread-self/net")
) -> frozenset[Connection]:
    """The same from the kernel's text, which names no interface. Raises OSError."""
    near, far = (frozenset(f"{port:04X}" for port in ports) for ports in (local_ports, remote_ports))
    found: set[Connection] = set()
    for name in ("tcp", "tcp6"):
        try:
            text = (folder / name).read_text()
        except FileNotFoundError:
            continue  # a kernel without IPv6
        for line in text.splitlines()[1:]:
            words = line.split(maxsplit=4)
            if len(words) < 4 or int(words[3], 16) != _ESTABLISHED:
                continue
            if words[1].rpartition(":")[2] in near or words[2].rpartition(":")[2] in far:
                found.add(Connection(*_end(words[1]), *_end(words[2])))
    return frozenset(found)


def _end(text: str) -> tuple[Address, int]:
    """Read an address, in words of 32 bits of the host's byte order, and a port."""
    written, _, port = text.partition(":")
    words = [int(written[start : start + 8], 16) for start in range(0, len(written), 8)]
    value = int.from_bytes(struct.pack(f"={len(words)}I", *words))
    return _address(value, 4 * len(words)), int(port, 16)


def _address(value: int, length: int) -> Address:
    if length == 4 or value >> 32 == _MAPPED:
        return Address(Family.IPV4, value & 0xFFFFFFFF)
    return Address(Family.IPV6, value)

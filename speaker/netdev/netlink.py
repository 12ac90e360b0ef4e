"""Netlink messages about links, addresses and routes (linux/netlink.h, linux/rtnetlink.h): bytes and values.

By hand, because a node may have thousands of addresses and routes that concern nobody here: whether a message does is
read from its first bytes, and only what is used is decoded.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import IntEnum
from struct import Struct

_HEADER = Struct("=IHHII")
_ATTRIBUTE = Struct("=HH")
_ALIGNMENT = 4
_TYPE_MASK = 0x3FFF
"""Of an attribute's type: the upper two bits say that it is nested, or in network byte order."""

LINK = Struct("=BxHiII")
"""ifinfomsg: family, hardware type, index, flags, and which flags changed."""
ADDRESS = Struct("=BBBBI")
"""ifaddrmsg: family, length of the prefix, flags, scope, index of the link."""
ROUTE = Struct("=8BI")
"""rtmsg: family, length of the destination's prefix, of the source's, TOS, table, protocol, scope, type; flags."""


class Kind(IntEnum):
    """What a message is."""

    ERROR = 2
    DONE = 3
    NEW_LINK = 16
    DELETE_LINK = 17
    GET_LINK = 18
    NEW_ADDRESS = 20
    DELETE_ADDRESS = 21
    GET_ADDRESS = 22
    NEW_ROUTE = 24
    DELETE_ROUTE = 25
    GET_ROUTE = 26


class Flag(IntEnum):
    """Flags of a message's header."""

    REQUEST = 0x1
    DUMP_INTERRUPTED = 0x10
    DUMP = 0x300


@dataclass(frozen=True, slots=True)
class Message:
    """One message; `body` is what follows the header, of the layout of its kind and then attributes."""

    kind: int
    flags: int
    sequence: int
    body: bytes


def messages(data: bytes) -> Iterator[Message]:
    """Yield the messages of one datagram; what is cut off at its end is left out."""
    at = 0
    while at + _HEADER.size <= len(data):
        length, kind, flags, sequence, _ = _HEADER.unpack_from(data, at)
        if length < _HEADER.size or at + length > len(data):
            return
        yield Message(kind, flags, sequence, data[at + _HEADER.size : at + length])
        at += _aligned(length)


def attributes(data: bytes, start: int = 0) -> dict[int, bytes]:
    """Return the attributes from `start` on, by type."""
    found = {}
    at = start
    while at + _ATTRIBUTE.size <= len(data):
        length, kind = _ATTRIBUTE.unpack_from(data, at)
        if length < _ATTRIBUTE.size or at + length > len(data):
            break
        found[kind & _TYPE_MASK] = data[at + _ATTRIBUTE.size : at + length]
        at += _aligned(length)
    return found


def attribute(kind: int, value: bytes) -> bytes:
    """Return one attribute."""
    length = _ATTRIBUTE.size + len(value)
    return _ATTRIBUTE.pack(length, kind) + value.ljust(_aligned(length) - _ATTRIBUTE.size, b"\0")


def message(kind: int, body: bytes, *, flags: int = Flag.REQUEST, sequence: int = 0) -> bytes:
    """Return a message to, or as from, the kernel."""
    return _HEADER.pack(_HEADER.size + len(body), kind, flags, sequence, 0) + body


def _aligned(length: int) -> int:
    return length + -length % _ALIGNMENT

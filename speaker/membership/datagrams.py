"""Many UDP datagrams with one system call each way, during which no other thread gets the interpreter.

Python's own socket calls let go of the interpreter lock, and while other threads compute, each call then waits for
the lock again: 60 datagrams cost a third of a second. These calls never block, so the lock is kept, and a turn of the
heartbeats waits for it once, when it wakes up.
"""

from __future__ import annotations

import ctypes
import errno
import os
import socket
from collections.abc import Sequence
from functools import lru_cache
from struct import Struct, calcsize

_BATCH = 64
_NAME_BYTES = 28
_IOVEC = Struct("@PN")
_MSGHDR = "@PIPNPNi0P"
_MMSGHDR = Struct(_MSGHDR + "I0P")
"""`struct mmsghdr` (sendmmsg(2)): name, its length, vector, its length, control, its length, flags; bytes passed."""
_PASSED = Struct("@I")
_MAPPED = bytes(10) + b"\xff\xff"

_libc = ctypes.PyDLL(None, use_errno=True)
_libc.sendmmsg.argtypes = (ctypes.c_int, ctypes.c_void_p, ctypes.c_uint, ctypes.c_int)
_libc.recvmmsg.argtypes = (*_libc.sendmmsg.argtypes, ctypes.c_void_p)


def socket_address(address: str, port: int, family: int) -> bytes:
    """Write a `struct sockaddr` for a socket of that family, an IPv4 address as IPv4-mapped IPv6 if it must be.

    Raises OSError for what is no address of the family.
    """
    number = port.to_bytes(2, "big")
    if family == socket.AF_INET:
        return _native(family) + number + socket.inet_pton(family, address) + bytes(8)
    if ":" in address:
        packed = socket.inet_pton(socket.AF_INET6, address)
    else:
        packed = _MAPPED + socket.inet_pton(socket.AF_INET, address)
    return _native(family) + number + bytes(4) + packed + bytes(4)


def _native(family: int) -> bytes:
    return Struct("@H").pack(family)


@lru_cache(maxsize=4096)
def _text(packed: bytes) -> str:
    packed = packed.removeprefix(_MAPPED)
    return socket.inet_ntop(socket.AF_INET if len(packed) == 4 else socket.AF_INET6, packed)


class Datagrams:
    """A UDP socket's traffic in batches. Owned by one thread."""

    def __init__(self, sock: socket.socket, *, longest_bytes: int) -> None:
        """Of what is longer than `longest_bytes` no more than that is received, and nothing may be sent."""
        self._socket = sock
        length, self._host = (16, slice(4, 8)) if sock.family == socket.AF_INET else (_NAME_BYTES, slice(8, 24))
        self._incoming = _Batch(longest_bytes, length)
        self._outgoing = _Batch(longest_bytes, length)

    def receive(self, at_most: int) -> list[tuple[bytes, str]]:
        """Return what waits, and the IP address that each claims to come from. Raises OSError."""
        found: list[tuple[bytes, str]] = []
        batch, count = self._incoming, _BATCH
        while count == _BATCH and len(found) < at_most:
            batch.clear()
            count = _libc.recvmmsg(self._socket.fileno(), batch.address, _BATCH, socket.MSG_DONTWAIT, None)
            if count < 0:
                number = ctypes.get_errno()
                if number in (errno.EAGAIN, errno.EINTR):
                    break
                raise OSError(number, os.strerror(number))
            found += [(batch.data(slot), _text(batch.name(slot)[self._host])) for slot in range(count)]
        return found

    def send(self, datagrams: Sequence[tuple[bytes, bytes]], *, flags: int = 0) -> list[tuple[str, OSError]]:
        """Send each to its socket address; return which were refused. Where the buffer is full, the rest is."""
        refused: list[tuple[str, OSError]] = []
        for start in range(0, len(datagrams), _BATCH):
            self._send_batch(datagrams[start : start + _BATCH], flags, refused)
        return refused

    def _send_batch(
        self, datagrams: Sequence[tuple[bytes, bytes]], flags: int, refused: list[tuple[str, OSError]]
    ) -> None:
        for slot, (name, data) in enumerate(datagrams):
            self._outgoing.put(slot, name, data)
        done = 0
        while done < len(datagrams):
            first, left = self._outgoing.address + done * _MMSGHDR.size, len(datagrams) - done
            count = _libc.sendmmsg(self._socket.fileno(), first, left, flags | socket.MSG_DONTWAIT)
            if count < 0:
                # That is of the first of them; those after it may pass.
                number = ctypes.get_errno()
                error = OSError(number, os.strerror(number))
                refused.append((_text(datagrams[done][0][self._host]), error))
                count = 1
            done += count


class _Batch:
    """Room for datagrams that the kernel finds by address: the buffers are pinned, so that none can move."""

    def __init__(self, longest_bytes: int, name_bytes: int) -> None:
        self._longest = longest_bytes
        self._name_bytes = name_bytes
        sizes = (longest_bytes, _NAME_BYTES, _IOVEC.size, _MMSGHDR.size)
        buffers = [bytearray(_BATCH * size) for size in sizes]
        self._data, self._names, self._iovecs, self._headers = buffers
        self._pins = [ctypes.c_char.from_buffer(buffer) for buffer in buffers]
        self._data_at, names_at, iovecs_at, self.address = map(ctypes.addressof, self._pins)
        for slot in range(_BATCH):
            self._point(slot, longest_bytes)
            name, iovec = names_at + slot * _NAME_BYTES, iovecs_at + slot * _IOVEC.size
            header = (name, name_bytes, iovec, 1, 0, 0, 0, 0)
            _MMSGHDR.pack_into(self._headers, slot * _MMSGHDR.size, *header)
        self._cleared = bytes(self._headers)

    def clear(self) -> None:
        """Make room again for what is received: the kernel shortened the names."""
        self._headers[:] = self._cleared

    def data(self, slot: int) -> bytes:
        """Return what was received."""
        (length,) = _PASSED.unpack_from(self._headers, slot * _MMSGHDR.size + calcsize(_MSGHDR))
        return bytes(self._data[slot * self._longest : slot * self._longest + length])

    def name(self, slot: int) -> bytes:
        """Return the socket address from where."""
        return bytes(self._names[slot * _NAME_BYTES : slot * _NAME_BYTES + self._name_bytes])

    def put(self, slot: int, name: bytes, data: bytes) -> None:
        """Write what is to be sent. Raises ValueError for what does not fit."""
        if len(data) > self._longest or len(name) != self._name_bytes:
            raise ValueError(f"{len(data)} bytes to an address of {len(name)}")
        self._data[slot * self._longest : slot * self._longest + len(data)] = data
        self._names[slot * _NAME_BYTES : slot * _NAME_BYTES + len(name)] = name
        self._point(slot, len(data))

    def _point(self, slot: int, length: int) -> None:
        _IOVEC.pack_into(self._iovecs, slot * _IOVEC.size, self._data_at + slot * self._longest, length)

"""Questions to the kernel about its links, addresses and routes, and the notifications when they change."""

from __future__ import annotations

import errno
import itertools
import os
import socket
from collections.abc import Collection
from struct import Struct

from speaker.netdev import bpf, filters, netlink
from speaker.netdev.netlink import Flag, Kind, Message

_SOL_NETLINK, _GET_STRICT_CHECK = 270, 12
_GROUPS = 0x1 | 0x10 | 0x40 | 0x100 | 0x400 | 0x800
"""Links; addresses and routes of IPv4; addresses, routes and interface states of IPv6 (RTMGRP_*)."""
_EXTENDED_MASK, _SKIP_STATISTICS = 29, 8
_NUMBER = Struct("=I")
_ERROR = Struct("=i")
_WITHOUT_STATISTICS = netlink.attribute(_EXTENDED_MASK, _NUMBER.pack(_SKIP_STATISTICS))
_RECEIVE_BYTES = 65536
_QUEUE_BYTES = 1024 * 1024
_ANSWER_SECONDS = 5.0


class DumpInterrupted(Exception):
    """What was listed changed meanwhile: the list may lack something that was there all along. To be repeated."""


class RouteSocket:
    """Asks one question at a time. For one thread."""

    def __init__(self) -> None:
        self._socket = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, socket.NETLINK_ROUTE)
        self._socket.settimeout(_ANSWER_SECONDS)
        try:
            # Before Linux 4.20 whole tables are listed; whoever asks looks only at what it asked for.
            self._socket.setsockopt(_SOL_NETLINK, _GET_STRICT_CHECK, 1)
        except OSError as error:
            if error.errno != errno.ENOPROTOOPT:
                self._socket.close()
                raise
        self._sequence = itertools.count(1)

    def links(self) -> list[Message]:
        """List every link. Raises DumpInterrupted, OSError."""
        body = netlink.LINK.pack(socket.AF_UNSPEC, 0, 0, 0, 0)
        return self._dump(Kind.GET_LINK, body + _WITHOUT_STATISTICS)

    def link(self, index: int) -> list[Message]:
        """Return one link, nothing if it is gone. Raises OSError."""
        body = netlink.LINK.pack(socket.AF_UNSPEC, 0, index, 0, 0)
        sequence = self._ask(Kind.GET_LINK, body + _WITHOUT_STATISTICS, flags=0)
        while True:
            for message in self._receive(sequence):
                if message.kind != Kind.ERROR:
                    return [message]
                if _error_of(message) == errno.ENODEV:
                    return []
                raise OSError(_error_of(message), os.strerror(_error_of(message)))

    def addresses(self, index: int) -> list[Message]:
        """List the addresses of one link, or of more. Raises DumpInterrupted, OSError."""
        return self._dump(Kind.GET_ADDRESS, netlink.ADDRESS.pack(socket.AF_UNSPEC, 0, 0, 0, index))

    def routes(self, family: int) -> list[Message]:
        """List the routes of an address family, of all tables or of the main one. Raises DumpInterrupted, OSError."""
        return self._dump(Kind.GET_ROUTE, netlink.ROUTE.pack(family, 0, 0, 0, 0, 0, 0, 0, 0))

    def close(self) -> None:
        """Free the socket."""
        self._socket.close()

    def _dump(self, kind: Kind, body: bytes) -> list[Message]:
        sequence = self._ask(kind, body, flags=Flag.DUMP)
        found: list[Message] = []
        interrupted = False
        while True:
            for message in self._receive(sequence):
                interrupted |= bool(message.flags & Flag.DUMP_INTERRUPTED)
                if message.kind == Kind.ERROR:
                    raise OSError(_error_of(message), os.strerror(_error_of(message)))
                if message.kind != Kind.DONE:
                    found.append(message)
                elif interrupted:
                    # Only now: the kernel refuses another question while this one is being answered.
                    raise DumpInterrupted(kind.name)
                else:
                    return found

    def _ask(self, kind: Kind, body: bytes, *, flags: int) -> int:
        sequence = next(self._sequence)
        self._socket.send(netlink.message(kind, body, flags=Flag.REQUEST | flags, sequence=sequence))
        return sequence

    def _receive(self, sequence: int) -> list[Message]:
        """Return the next messages that answer the question of this number; an answer that came late is another's."""
        data = self._socket.recv(_RECEIVE_BYTES)
        return [message for message in netlink.messages(data) if message.sequence == sequence]


class NotificationSocket:
    """What changes, as it changes: links, the addresses of those named, default routes; the kernel drops the rest.

    `follow`, `take` and `close` are for one thread.
    """

    def __init__(self) -> None:
        self._socket = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_NONBLOCK, socket.NETLINK_ROUTE)
        try:
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _QUEUE_BYTES)
            self.follow(())
            self._socket.bind((0, _GROUPS))
        except OSError:
            self._socket.close()
            raise

    def fileno(self) -> int:
        """The descriptor that becomes readable when something changed."""
        return self._socket.fileno()

    def follow(self, indexes: Collection[int]) -> None:
        """From now on take in changes of addresses on exactly these links. Raises OSError."""
        bpf.attach(self._socket, filters.route_changes(indexes))

    def take(self) -> list[Message] | None:
        """Return the next changes, an empty list if there are none now; None if some were lost. Raises OSError."""
        try:
            return list(netlink.messages(self._socket.recv(_RECEIVE_BYTES)))
        except BlockingIOError:
            return []
        except OSError as error:
            if error.errno == errno.ENOBUFS:
                return None
            raise

    def close(self) -> None:
        """Free the socket."""
        self._socket.close()


def _error_of(message: Message) -> int:
    (code,) = _ERROR.unpack_from(message.body)
    return -int(code)

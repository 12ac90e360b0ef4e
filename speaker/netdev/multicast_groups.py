"""IPv6 multicast groups as routers and switches see them: joined by MLD, from an ordinary socket.

A switch that snoops MLD forwards a group's frames to no port behind which nobody has reported the group. The kernel
has the interface take them in as well.
"""

from __future__ import annotations

import errno
import socket
import struct
from contextlib import suppress

from allocator.core.addresses import Address
from speaker.netdev.interfaces import Interface

_REQUEST = struct.Struct("16sI")
_FULL = (errno.ENOBUFS, errno.ENOMEM)


class GroupMemberships:
    """The groups one interface is in on our behalf. Not for use by two threads at once.

    A socket holds only as many as net.core.optmem_max has room for (some 300), so there may be several.
    """

    def __init__(self, interface: Interface) -> None:
        self._interface = interface
        self._sockets: list[socket.socket] = []
        self._joined: dict[Address, socket.socket] = {}

    def join(self, group: Address) -> None:
        """Report membership. Raises OSError, for one where the interface has no IPv6."""
        if group in self._joined:
            return
        for sock in reversed(self._sockets):
            try:
                self._request(sock, socket.IPV6_JOIN_GROUP, group)
            except OSError as error:
                if error.errno not in _FULL:
                    raise
            else:
                self._joined[group] = sock
                return
        fresh = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
        try:
            self._request(fresh, socket.IPV6_JOIN_GROUP, group)
        except OSError:
            fresh.close()
            raise
        self._sockets.append(fresh)
        self._joined[group] = fresh

    def leave(self, group: Address) -> None:
        """Report that nobody here is in the group any more."""
        sock = self._joined.pop(group, None)
        if sock is not None:
            # The membership ended with the interface if that is gone.
            with suppress(OSError):
                self._request(sock, socket.IPV6_LEAVE_GROUP, group)

    def close(self) -> None:
        """Leave all groups."""
        for sock in self._sockets:
            sock.close()
        self._sockets.clear()
        self._joined.clear()

    def _request(self, sock: socket.socket, operation: int, group: Address) -> None:
        request = _REQUEST.pack(group.value.to_bytes(16), self._interface.index)
        sock.setsockopt(socket.IPPROTO_IPV6, operation, request)

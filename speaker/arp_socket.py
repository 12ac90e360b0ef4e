"""A raw socket for ARP on one interface: it receives what its filter lets through, and never blocks."""

from __future__ import annotations

import socket

from speaker import bpf
from speaker.frames.ethernet import ETHERTYPE_ARP
from speaker.interfaces import Interface

_RECEIVE_BYTES = 128  # an ARP frame has 42, padded 60


def require_raw_sockets() -> None:
    """Raise PermissionError, saying what is missing, where this process may not open raw sockets."""
    try:
        socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0).close()
    except PermissionError:
        raise PermissionError("raw sockets are refused; the speaker needs the capability NET_RAW") from None


class ArpSocket:
    """Sends and receives whole Ethernet frames; needs CAP_NET_RAW.

    Several threads may send while one receives: the kernel keeps each call whole.
    """

    def __init__(self, interface: Interface) -> None:
        """Open the socket with a filter that accepts nothing. Raises OSError (no such interface, no capability)."""
        # Protocol 0 receives nothing: the filter is in place before bind() names ARP, so no frame ever
        # reaches the queue unfiltered and there is nothing to drain.
        self._socket = socket.socket(socket.AF_PACKET, socket.SOCK_RAW | socket.SOCK_NONBLOCK, 0)
        try:
            bpf.attach(self._socket, bpf.arp_requests_for(()))
            self._socket.bind((interface.name, ETHERTYPE_ARP))
            # The name may have passed to another link since it was looked up.
            if socket.if_nametoindex(interface.name) != interface.index:
                raise OSError(f"{interface.name} is no longer link {interface.index}")
        except OSError:
            self._socket.close()
            raise

    def fileno(self) -> int:
        """The descriptor to wait on."""
        return self._socket.fileno()

    def set_filter(self, program: bpf.Program) -> None:
        """Replace the filter. Frames queued under the old one stay queued. Raises OSError."""
        bpf.attach(self._socket, program)

    def receive(self) -> bytes | None:
        """Return the next frame, None when there is none. Raises OSError once when the interface goes down."""
        try:
            return self._socket.recv(_RECEIVE_BYTES)
        except BlockingIOError:
            return None

    def send(self, frame: bytes) -> None:
        """Hand a frame to the driver. Raises OSError (ENETDOWN, ENOBUFS, EAGAIN when the queue is full)."""
        self._socket.send(frame)

    def close(self) -> None:
        """Stop receiving; the interface keeps no trace."""
        self._socket.close()

"""Hearing the first frame on an interface: the switch port behind it passes frames from now on."""

from __future__ import annotations

import socket
from collections.abc import Callable

from speaker.netdev import bpf, filters
from speaker.netdev.interfaces import Interface

ETH_P_ALL = 0x0003


class FirstFrame:
    """Reports the first frame that comes through the switch, and then nothing (`event_loop.Listener`).

    A port that is blocked, or still learns (spanning tree), and one that negotiates (LACP) send frames of their own,
    to addresses that no switch forwards; those do not count.
    """

    protocol = "any"

    def __init__(self, interface: Interface, on_frame: Callable[[], None]) -> None:
        """Open the socket. Raises OSError."""
        self.interface = interface
        self._on_frame = on_frame
        self._heard = False
        self._socket = socket.socket(socket.AF_PACKET, socket.SOCK_RAW | socket.SOCK_NONBLOCK, 0)
        try:
            bpf.attach(self._socket, filters.forwarded())
            self._socket.bind((interface.name, ETH_P_ALL))
        except OSError:
            self._socket.close()
            raise

    def fileno(self) -> int:
        """The descriptor that becomes readable when a frame waits."""
        return self._socket.fileno()

    def handle_readable(self) -> None:
        """Report it, once."""
        if not self._heard:
            self._heard = True
            self._on_frame()

    def count_overflow(self) -> None:
        """Nothing is counted: one frame is enough."""

    def close(self) -> None:
        """Free the socket."""
        self._socket.close()

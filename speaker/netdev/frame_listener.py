"""What all that waits for frames of one protocol on one interface has in common."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar

from allocator.core.addresses import Family
from allocator.process.logs import EventLog
from speaker.frames.ethernet import MalformedFrame
from speaker.metrics import SpeakerMetrics
from speaker.netdev.interfaces import Interface
from speaker.netdev.packet_socket import MaySend, PacketSocket, always


class FrameListener(ABC):
    """A socket of its own, served by the packet thread (`speaker.netdev.event_loop.Listener`)."""

    protocol: str
    family: ClassVar[Family]
    ethertype: ClassVar[int]

    def __init__(self, interface: Interface, metrics: SpeakerMetrics, may_send: MaySend = always) -> None:
        """Open the socket, taking in nothing yet. Raises OSError."""
        self.interface = interface
        self._socket = PacketSocket(interface, self.ethertype, metrics, may_send)
        self._log = EventLog(self.protocol)

    def fileno(self) -> int:
        """The descriptor that becomes readable when a frame waits."""
        return self._socket.fileno()

    def handle_readable(self) -> None:
        """Take in waiting frames and answer or report them."""
        for data in self._socket.frames():
            try:
                ours = self._handle(data)
            except MalformedFrame as error:
                self._socket.dropped(error.reason)
                self._log.debug(f"{self.protocol}.malformed", interface=self.interface.name, error=error)
                continue
            if not ours:
                self._socket.dropped("not-ours")

    def count_overflow(self) -> None:
        """Count the frames lost because they came faster than they were taken."""
        self._socket.count_overflow()

    def close(self) -> None:
        """Free the socket."""
        self._socket.close()

    @abstractmethod
    def _handle(self, data: bytes) -> bool:
        """Answer or report the frame; return whether it concerned us. Raises MalformedFrame."""

"""A raw socket for one protocol on one interface: what its filter lets through comes in, and it never blocks."""

from __future__ import annotations

import errno
import socket
import struct
from collections.abc import Callable, Iterator

from allocator.process.logs import EventLog
from speaker.metrics import SpeakerMetrics
from speaker.netdev import bpf
from speaker.netdev.interfaces import Interface

log = EventLog("packets")

_RECEIVE_BYTES = 2048
_FRAMES_A_TURN = 64
"""Frames taken from one socket before the others get their turn."""

LINK_GONE = (errno.ENODEV, errno.ENXIO, errno.ENETDOWN, errno.EADDRNOTAVAIL)
"""Whoever watches the interfaces reports it as well."""

# linux/if_packet.h, which the socket module does not know
_SOL_PACKET, _STATISTICS = 263, 6
_COUNTERS = struct.Struct("II")


def require_raw_sockets() -> None:
    """Raise PermissionError, saying what is missing, where this process may not open raw sockets."""
    try:
        socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0).close()
    except PermissionError:
        raise PermissionError("raw sockets are refused; the speaker needs the capability NET_RAW") from None


MaySend = Callable[[], bool]
"""Asked before every frame: a process that was paused wakes up with frames waiting, and may hold nothing any more."""


def always() -> bool:
    """No reason against sending."""
    return True


class Refused(OSError):
    """The kernel does not let a socket take in what it has to: frames to a filter's addresses, or to a group."""

    def __init__(self, operation: str, error: OSError) -> None:
        super().__init__(error.errno, error.strerror)
        self.operation = operation


class PacketSocket:
    """Sends and receives whole Ethernet frames; needs CAP_NET_RAW.

    What the network does to an open socket (link down, queue full) is counted and logged, never raised: whoever
    watches the interfaces deals with it. Several threads may send while one receives: the kernel keeps each call
    whole.
    """

    def __init__(
        self, interface: Interface, ethertype: int, metrics: SpeakerMetrics, may_send: MaySend = always
    ) -> None:
        """Open the socket with a filter that accepts nothing. Raises OSError (no such interface, no capability)."""
        self.interface = interface
        self._metrics = metrics
        self._may_send = may_send
        self._received = metrics.frames_received.labels(interface.name)
        # Protocol 0 receives nothing: the filter is in place before bind() names one, so no frame ever reaches
        # the queue unfiltered and there is nothing to drain.
        self._socket = socket.socket(socket.AF_PACKET, socket.SOCK_RAW | socket.SOCK_NONBLOCK, 0)
        try:
            bpf.attach(self._socket, bpf.NOTHING)
            self._socket.bind((interface.name, ethertype))
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
        """Replace the filter. Frames queued under the old one stay queued. Raises Refused; the old one stays then."""
        try:
            bpf.attach(self._socket, program)
        except OSError as error:
            self.failed("filter", error)
            raise Refused("filter", error) from None

    def frames(self) -> Iterator[bytes]:
        """Yield frames that wait, up to a limit: with more, the descriptor stays readable."""
        for _ in range(_FRAMES_A_TURN):
            try:
                frame = self._socket.recv(_RECEIVE_BYTES)
            except BlockingIOError:
                return
            except OSError as error:
                # Reported once when the interface goes down.
                self.failed("receive", error)
                return
            yield frame
            # Counted once it is dealt with: nobody waits for the counters.
            self._received.inc()

    def send(self, frame: bytes) -> bool:
        """Hand a frame to the driver; return whether it took it (no: link down, queue full, not allowed now)."""
        if not self._may_send():
            return False
        try:
            self._socket.send(frame)
        except OSError as error:
            self.failed("send", error)
            return False
        return True

    def dropped(self, reason: str) -> None:
        """Count a frame that came through the filter and needs no answer."""
        self._metrics.frames_dropped.labels(self.interface.name, reason).inc()

    def count_overflow(self) -> None:
        """Count the frames that the kernel dropped since the last call because none were taken for too long."""
        try:
            # Reading the counters sets them to zero.
            counters = self._socket.getsockopt(_SOL_PACKET, _STATISTICS, _COUNTERS.size)
        except OSError as error:
            self.failed("statistics", error)
            return
        _, overflowed = _COUNTERS.unpack(counters)
        if overflowed:
            self._metrics.frames_dropped.labels(self.interface.name, "overflow").inc(overflowed)

    def failed(self, operation: str, error: OSError) -> None:
        """Count an operation that the kernel refused; what comes of it, others report."""
        self._metrics.errors.labels(self.interface.name, operation).inc()
        log.debug("socket.failed", interface=self.interface.name, operation=operation, error=error)

    def close(self) -> None:
        """Stop receiving and leave every group; the interface keeps no trace."""
        self._socket.close()

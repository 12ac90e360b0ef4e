"""Listens on one interface for advertisements by others of our IPv6 addresses, and asks for them."""

from __future__ import annotations

from collections.abc import Callable

from allocator.core.addresses import Address, Family
from allocator.logs import EventLog
from speaker import filters
from speaker.conflicts import Claim
from speaker.frames.ethernet import ETHERTYPE_IPV6, MalformedFrame
from speaker.frames.ndp import Advertisement, decode, probe
from speaker.interfaces import Interface
from speaker.metrics import SpeakerMetrics
from speaker.packet_socket import MaySend, PacketSocket, always

log = EventLog("ndp")


class NdpWatch:
    """Reports every advertisement of a watched address; who sent it, and what to do about it, others decide.

    All nodes are told of a probe's answer and of a changed holder, so no group has to be joined. `_addresses` is
    replaced whole by the announcer's caller and read by the packet thread.
    """

    protocol = "ndp"

    def __init__(
        self,
        interface: Interface,
        metrics: SpeakerMetrics,
        on_claim: Callable[[Claim], None],
        may_send: MaySend = always,
    ) -> None:
        """Open the socket, watching nothing yet. Raises OSError."""
        self.interface = interface
        self._on_claim = on_claim
        self._addresses: frozenset[Address] = frozenset()
        self._socket = PacketSocket(interface, ETHERTYPE_IPV6, metrics, may_send)

    def fileno(self) -> int:
        """The descriptor that becomes readable when a frame waits."""
        return self._socket.fileno()

    def covers(self, address: Address) -> bool:
        """Tell whether the address is of this watch's family."""
        return address.family is Family.IPV6

    def watch_for(self, addresses: frozenset[Address]) -> None:
        """From now on report advertisements of exactly the IPv6 addresses among these."""
        mine = frozenset(address for address in addresses if self.covers(address))
        if mine == self._addresses:
            return
        self._addresses = mine
        self._socket.set_filter(filters.ndp_claims_of(mine))

    def probe(self, address: Address) -> None:
        """Ask the LAN whether anyone has the address."""
        self._socket.send(probe(address, self.interface.mac).encode())

    def handle_readable(self) -> None:
        """Take in waiting frames and report the claims among them."""
        for data in self._socket.frames():
            try:
                frame = decode(data)
            except MalformedFrame as error:
                self._socket.dropped(error.reason)
                log.debug("ndp.malformed", interface=self.interface.name, error=error)
                continue
            if isinstance(frame, Advertisement) and frame.target in self._addresses:
                mac = frame.link_address or frame.source
                self._on_claim(Claim(address=frame.target, interface=self.interface.name, mac=mac))
            else:
                self._socket.dropped("not-ours")

    def count_overflow(self) -> None:
        """Count the frames lost because they came faster than they were taken."""
        self._socket.count_overflow()

    def close(self) -> None:
        """Free the socket."""
        self._socket.close()

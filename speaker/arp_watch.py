"""Listens on one interface for ARP by others that calls our addresses theirs, and asks for them."""

from __future__ import annotations

from collections.abc import Callable

from allocator.core.addresses import Address, Family
from allocator.logs import EventLog
from speaker import filters
from speaker.conflicts import Claim
from speaker.frames.arp import ArpFrame, probe
from speaker.frames.ethernet import ETHERTYPE_ARP, MalformedFrame
from speaker.interfaces import Interface
from speaker.metrics import SpeakerMetrics
from speaker.packet_socket import MaySend, PacketSocket, always

log = EventLog("arp")


class ArpWatch:
    """Reports every frame that claims a watched address; who sent it, and what to do about it, others decide.

    A socket of its own keeps the filter of the one that answers small. `_addresses` is replaced whole by the
    announcer's caller and read by the packet thread.
    """

    protocol = "arp"

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
        self._socket = PacketSocket(interface, ETHERTYPE_ARP, metrics, may_send)

    def fileno(self) -> int:
        """The descriptor that becomes readable when a frame waits."""
        return self._socket.fileno()

    def covers(self, address: Address) -> bool:
        """Tell whether the address is of this watch's family."""
        return address.family is Family.IPV4

    def watch_for(self, addresses: frozenset[Address]) -> None:
        """From now on report claims of exactly the IPv4 addresses among these."""
        mine = frozenset(address for address in addresses if self.covers(address))
        if mine == self._addresses:
            return
        self._addresses = mine
        self._socket.set_filter(filters.arp_claims_of(mine))

    def probe(self, address: Address) -> None:
        """Ask the LAN whether anyone has the address."""
        self._socket.send(probe(address, self.interface.mac).encode())

    def handle_readable(self) -> None:
        """Take in waiting frames and report the claims among them."""
        for data in self._socket.frames():
            try:
                frame = ArpFrame.decode(data)
            except MalformedFrame as error:
                self._socket.dropped(error.reason)
                log.debug("arp.malformed", interface=self.interface.name, error=error)
                continue
            if frame.sender_ip in self._addresses:
                self._on_claim(Claim(address=frame.sender_ip, interface=self.interface.name, mac=frame.sender_mac))
            else:
                self._socket.dropped("not-ours")

    def count_overflow(self) -> None:
        """Count the frames lost because they came faster than they were taken."""
        self._socket.count_overflow()

    def close(self) -> None:
        """Free the socket."""
        self._socket.close()

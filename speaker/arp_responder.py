"""Answers ARP on one interface."""

from __future__ import annotations

from collections.abc import Mapping
from collections.abc import Set as AbstractSet
from dataclasses import replace

from allocator.core.addresses import Address, Family
from allocator.logs import EventLog
from speaker import filters
from speaker.frames.arp import ArpFrame, Operation, gratuitous, reply_to
from speaker.frames.ethernet import BROADCAST, ETHERTYPE_ARP, MalformedFrame
from speaker.interfaces import Interface
from speaker.metrics import SpeakerMetrics
from speaker.packet_socket import MaySend, PacketSocket, always

log = EventLog("arp")

_OWN: Mapping[Address, bytes] = {}
"""Nothing is lent: the interface's own hardware address is the answer."""


def answer(request: ArpFrame, *, mac: bytes, addresses: AbstractSet[Address]) -> ArpFrame | None:
    """Return the reply that `request` deserves from the holder of `addresses` at `mac`, None if none.

    Only requests, sent to everyone or to us, for an address we hold; the sender's own address does not matter,
    which defends the address against probes (MetalLB internal/layer2/arp.go processRequest; RFC 5227 2.4).
    """
    if request.operation is not Operation.REQUEST or request.destination not in (BROADCAST, mac):
        return None
    return reply_to(request, mac) if request.target_ip in addresses else None


class ArpResponder:
    """Answers and announces IPv4 addresses on one interface, with that interface's own MAC.

    `_addresses` and `_lent` are replaced whole by the announcer's caller and read by the packet thread. The kernel's
    filter is a hint that may let more through; `_addresses` decides.
    """

    protocol = "arp"

    def __init__(self, interface: Interface, metrics: SpeakerMetrics, may_send: MaySend = always) -> None:
        """Open the socket, answering for nothing yet. Raises OSError."""
        self.interface = interface
        self._metrics = metrics
        self._addresses: frozenset[Address] = frozenset()
        self._lent: Mapping[Address, bytes] = _OWN
        self._socket = PacketSocket(interface, ETHERTYPE_ARP, metrics, may_send)

    def fileno(self) -> int:
        """The descriptor that becomes readable when a frame waits."""
        return self._socket.fileno()

    def covers(self, address: Address) -> bool:
        """Tell whether the address is of this responder's family."""
        return address.family is Family.IPV4

    def answer_for(self, addresses: frozenset[Address], lent: Mapping[Address, bytes] = _OWN) -> None:
        """From now on answer for exactly the IPv4 addresses among these."""
        mine = frozenset(address for address in addresses if self.covers(address))
        self._lent = lent
        if mine == self._addresses:
            return
        # Both orders of filter and set are safe: what only one of them knows is not answered.
        self._addresses = mine
        self._socket.set_filter(filters.arp_requests_for(mine))

    def handle_readable(self) -> None:
        """Take in waiting frames and answer them."""
        for data in self._socket.frames():
            try:
                request = ArpFrame.decode(data)
            except MalformedFrame as error:
                self._socket.dropped(error.reason)
                log.debug("arp.malformed", interface=self.interface.name, error=error)
                continue
            reply = answer(request, mac=self.interface.mac, addresses=self._addresses)
            if reply is None:
                self._socket.dropped("not-ours")
                continue
            lent = self._lent.get(request.target_ip)
            if lent is not None:
                # Only inside: the frame itself comes from here, or switches would send that node's traffic here.
                reply = replace(reply, sender_mac=lent)
            # Counted when the answer is on its way: nobody waits for the counters.
            sent = self._socket.send(reply.encode())
            address = str(request.target_ip)
            self._metrics.requests_received.add(address)
            if sent:
                self._metrics.responses_sent.add(address)

    def announce(self, address: Address) -> bool:
        """Broadcast the address in both gratuitous forms, request and reply; return whether any went out."""
        if address in self._lent:
            return False
        frames = [gratuitous(operation, address, self.interface.mac).encode() for operation in Operation]
        sent = sum(self._socket.send(frame) for frame in frames)
        if sent:
            self._metrics.gratuitous_sent.add(str(address), sent)
        return bool(sent)

    def count_overflow(self) -> None:
        """Count the frames lost because they came faster than they were taken."""
        self._socket.count_overflow()

    def close(self) -> None:
        """Free the socket."""
        self._socket.close()

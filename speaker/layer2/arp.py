"""Answers ARP on one interface."""

from __future__ import annotations

from collections.abc import Mapping
from collections.abc import Set as AbstractSet
from dataclasses import replace

from allocator.core.addresses import Address, Family
from speaker.frames.arp import ArpFrame, Operation, gratuitous, reply_to
from speaker.frames.ethernet import BROADCAST, ETHERTYPE_ARP
from speaker.metrics import SpeakerMetrics
from speaker.netdev import filters
from speaker.netdev.frame_listener import FrameListener
from speaker.netdev.interfaces import Interface
from speaker.netdev.packet_socket import MaySend, Refused, always

_OWN: Mapping[Address, bytes] = {}
"""Nobody is helped: the interface's own hardware address is the answer."""


def answer(request: ArpFrame, *, mac: bytes, addresses: AbstractSet[Address]) -> ArpFrame | None:
    """Return the reply of the holder of `addresses` at `mac` to `request`, None if none.

    Only requests, sent to everyone or to us, for an address we hold; the sender's own address does not matter,
    which defends the address against probes (MetalLB internal/layer2/arp.go processRequest; RFC 5227 2.4).
    """
    if request.operation is not Operation.REQUEST or request.destination not in (BROADCAST, mac):
        return None
    return reply_to(request, mac) if request.target_ip in addresses else None


class ArpResponder(FrameListener):
    """Answers and announces IPv4 addresses on one interface, with that interface's own MAC.

    `_addresses` and `_helped` are replaced whole by the announcer's caller and read by the packet thread.
    The kernel's filter is a hint that may let more through; `_addresses` decides.
    """

    protocol = "arp"
    family = Family.IPV4
    ethertype = ETHERTYPE_ARP

    def __init__(self, interface: Interface, metrics: SpeakerMetrics, may_send: MaySend = always) -> None:
        """Open the socket, answering for nothing yet. Raises OSError."""
        super().__init__(interface, metrics, may_send)
        self._metrics = metrics
        self._addresses: frozenset[Address] = frozenset()
        self._helped: Mapping[Address, bytes] = _OWN

    def answer_for(self, addresses: frozenset[Address]) -> None:
        """From now on answer for exactly these. Raises Refused: then of these those answered before still are."""
        before = self._addresses
        # Both orders of filter and set are safe: what only one of them knows is not answered.
        self._addresses = addresses
        try:
            self._socket.set_filter(filters.arp_requests_for(addresses))
        except Refused:
            self._addresses = before & addresses
            raise

    def help_with(self, helped: Mapping[Address, bytes]) -> None:
        """Answer for these with other hardware addresses than the interface's, and announce none of them."""
        self._helped = helped

    def answers(self, address: Address) -> bool:
        """Return whether the address is answered for."""
        return address in self._addresses

    def announce(self, address: Address) -> bool:
        """Broadcast the address in both gratuitous forms, request and reply; return whether any went out."""
        if address in self._helped or address not in self._addresses:
            return False
        frames = [gratuitous(operation, address, self.interface.mac).encode() for operation in Operation]
        sent = sum(self._socket.send(frame) for frame in frames)
        if sent:
            self._metrics.gratuitous_sent.add(str(address), sent)
        return bool(sent)

    def _handle(self, data: bytes) -> bool:
        request = ArpFrame.decode(data)
        reply = answer(request, mac=self.interface.mac, addresses=self._addresses)
        if reply is None:
            return False
        helped = self._helped.get(request.target_ip)
        if helped is not None:
            # Only inside: the frame itself comes from here, or switches would send that node's traffic here.
            reply = replace(reply, sender_mac=helped)
        # Counted when the answer is on its way: nobody waits for the counters.
        sent = self._socket.send(reply.encode())
        address = str(request.target_ip)
        self._metrics.requests_received.add(address)
        if sent:
            self._metrics.responses_sent.add(address)
        return True

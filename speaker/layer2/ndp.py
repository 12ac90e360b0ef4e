"""Answers neighbour solicitations on one interface."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from collections.abc import Set as AbstractSet
from dataclasses import replace

from allocator.core.addresses import Address, Family
from speaker.frames.ethernet import ETHERTYPE_IPV6
from speaker.frames.ipv6 import group_mac, is_multicast, solicited_node
from speaker.frames.ndp import Advertisement, Solicitation, decode, reply_to, unsolicited
from speaker.metrics import SpeakerMetrics
from speaker.netdev import filters
from speaker.netdev.frame_listener import FrameListener
from speaker.netdev.interfaces import Interface
from speaker.netdev.multicast_groups import GroupMemberships
from speaker.netdev.packet_socket import LINK_GONE, MaySend, Refused, always

_OWN: Mapping[Address, bytes] = {}
"""Nobody is helped: the interface's own hardware address is the answer."""


def answer(
    frame: Solicitation | Advertisement, *, mac: bytes, addresses: AbstractSet[Address]
) -> Advertisement | None:
    """Return the advertisement by which the holder of `addresses` at `mac` answers `frame`, None if none.

    Solicitations for an address we hold, sent to a group or to us, multicast or (NUD) unicast, with or without the
    asker's link-layer address; a probe for it is answered so that the prober desists (RFC 4862 5.4.3).
    """
    if not isinstance(frame, Solicitation) or frame.target not in addresses:
        return None
    to_all = is_multicast(frame.receiver) and frame.destination == group_mac(frame.receiver)
    if not to_all and frame.destination != mac:
        return None
    # A loop in the LAN may bring back what this node sent itself.
    return None if frame.source == mac else reply_to(frame, mac)


class NdpResponder(FrameListener):
    """Answers and announces IPv6 addresses on one interface, with that interface's own MAC.

    `_addresses` and `_helped` are replaced whole by the announcer's caller and read by the packet thread; `_groups`
    and `_members` belong to the caller. The filter is a hint that may let more through; `_addresses` decides.
    """

    protocol = "ndp"
    family = Family.IPV6
    ethertype = ETHERTYPE_IPV6

    def __init__(self, interface: Interface, metrics: SpeakerMetrics, may_send: MaySend = always) -> None:
        """Open the socket, answering for nothing yet. Raises OSError."""
        super().__init__(interface, metrics, may_send)
        self._metrics = metrics
        self._addresses: frozenset[Address] = frozenset()
        self._helped: Mapping[Address, bytes] = _OWN
        self._groups: set[Address] = set()
        self._members = GroupMemberships(interface)

    def answer_for(self, addresses: frozenset[Address], helped: Mapping[Address, bytes] = _OWN) -> None:
        """From now on answer for exactly these, and be in exactly their groups.

        Raises Refused: then all others of these are answered, or those that were before.
        """
        self._helped = helped
        before = self._addresses
        if addresses == before:
            return
        # Addresses that end alike share a group: it is the set of groups that is joined, so none is left too early.
        groups = {solicited_node(address) for address in addresses}
        refusal = self._join(groups - self._groups)
        if refusal is not None:
            addresses = frozenset(each for each in addresses if solicited_node(each) in self._groups)
        self._addresses = addresses
        try:
            self._socket.set_filter(filters.solicitations_for(addresses))
        except Refused as error:
            self._addresses = before & addresses
            refusal = error
        self._leave(self._groups - {solicited_node(address) for address in self._addresses})
        if refusal is not None:
            raise refusal

    def answers(self, address: Address) -> bool:
        """Return whether the address is answered for."""
        return address in self._addresses

    def announce(self, address: Address) -> bool:
        """Advertise the address to all nodes, overriding what they had; return whether that went out."""
        if address in self._helped or address not in self._addresses:
            return False
        sent = self._socket.send(unsolicited(address, self.interface.mac).encode())
        if sent:
            self._metrics.gratuitous_sent.add(str(address))
        return sent

    def close(self) -> None:
        """Free the sockets, and with them leave every group."""
        super().close()
        self._members.close()

    def _handle(self, data: bytes) -> bool:
        frame = decode(data)
        reply = answer(frame, mac=self.interface.mac, addresses=self._addresses)
        if reply is None:
            return False
        helped = self._helped.get(frame.target)
        if helped is not None:
            reply = replace(reply, link_address=helped)
        # Counted when the answer is on its way: nobody waits for the counters.
        sent = self._socket.send(reply.encode())
        address = str(frame.target)
        self._metrics.requests_received.add(address)
        if sent:
            self._metrics.responses_sent.add(address)
        return True

    def _join(self, groups: Iterable[Address]) -> Refused | None:
        """Join what can be joined; return a refusal if there was one."""
        refusal = None
        for group in groups:
            try:
                self._socket.join(group_mac(group))
                self._report(group)
            except Refused as error:
                refusal = error
            else:
                self._groups.add(group)
        return refusal

    def _report(self, group: Address) -> None:
        """Have switches that snoop MLD pass the group's frames on to here. Raises Refused."""
        try:
            self._members.join(group)
        except OSError as error:
            self._socket.failed("report", error)
            if error.errno not in LINK_GONE:
                self._socket.leave(group_mac(group))
                raise Refused("report", error) from None

    def _leave(self, groups: Iterable[Address]) -> None:
        for group in groups:
            self._socket.leave(group_mac(group))
            self._members.leave(group)
            self._groups.discard(group)

"""Answers neighbour solicitations on one interface."""

from __future__ import annotations

from collections.abc import Mapping
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
        self._groups: dict[Address, set[Address]] = {}
        self._members = GroupMemberships(interface)

    def answer_for(self, addresses: frozenset[Address]) -> None:
        """From now on answer for exactly these. Raises Refused: then of these those answered before still are.

        Their groups are joined as they are announced: each takes the kernel a while, and nobody is to wait for all.
        """
        before = self._addresses
        self._addresses = addresses
        try:
            self._socket.set_filter(filters.solicitations_for(addresses))
        except Refused:
            self._addresses = before & addresses
            raise
        finally:
            for address in before - self._addresses:
                self._leave(address)

    def help_with(self, helped: Mapping[Address, bytes]) -> None:
        """Answer for these with other hardware addresses than the interface's, and announce none of them."""
        self._helped = helped

    def answers(self, address: Address) -> bool:
        """Return whether the address is answered for."""
        return address in self._addresses

    def announce(self, address: Address) -> bool:
        """Advertise the address to all nodes, overriding what they had; return whether that went out.

        From the first time on, questions to its group arrive. Raises Refused where the kernel does not allow that.
        """
        if address not in self._addresses:
            return False
        self._join(address)
        if address in self._helped:
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

    def _join(self, address: Address) -> None:
        group = solicited_node(address)
        if group not in self._groups:
            try:
                self._members.join(group)
            except OSError as error:
                self._socket.failed("join", error)
                if error.errno in LINK_GONE:
                    return
                self._addresses -= {address}
                raise Refused("join", error) from None
            self._groups[group] = set()
        self._groups[group].add(address)

    def _leave(self, address: Address) -> None:
        group = solicited_node(address)
        members = self._groups.get(group, set())
        members.discard(address)
        # Addresses that end alike share a group.
        if not members and self._groups.pop(group, None) is not None:
            self._members.leave(group)

"""Neighbour discovery for IPv6 over Ethernet (RFC 4861): solicitations and advertisements as values."""

from __future__ import annotations

from dataclasses import dataclass
from struct import Struct
from typing import ClassVar

from allocator.core.addresses import Address, Family
from speaker.frames.ethernet import MalformedFrame, is_group
from speaker.frames.ipv6 import (
    ALL_NODES,
    UNSPECIFIED,
    Icmpv6Packet,
    group_mac,
    is_multicast,
    solicited_node,
)

HOP_LIMIT = 255
"""What no router can forge: it takes one off (RFC 4861 3.1)."""

_MESSAGE = Struct("!BBHI16s")
"""Type, code, checksum, flags (reserved in a solicitation), target."""
_SOLICITATION, _ADVERTISEMENT = 135, 136
_SOURCE_LINK_ADDRESS, _TARGET_LINK_ADDRESS = 1, 2
_LINK_ADDRESS_BYTES = 8
_ROUTER, _SOLICITED, _OVERRIDE = 1 << 31, 1 << 30, 1 << 29


@dataclass(frozen=True, slots=True, kw_only=True)
class Solicitation:
    """The question who is at `target`; `link_address` is the sender's own, from the option, if it says so.

    MACs are six bytes. From the unspecified address it is a probe: the sender wants the target for itself.
    """

    option: ClassVar[int] = _SOURCE_LINK_ADDRESS

    destination: bytes
    source: bytes
    sender: Address
    receiver: Address
    target: Address
    link_address: bytes | None

    def encode(self) -> bytes:
        """Write the frame."""
        return _encode(self, _SOLICITATION, 0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Advertisement:
    """The advertisement that `target` is at `link_address`."""

    option: ClassVar[int] = _TARGET_LINK_ADDRESS

    destination: bytes
    source: bytes
    sender: Address
    receiver: Address
    target: Address
    link_address: bytes | None
    router: bool
    solicited: bool
    override: bool

    def encode(self) -> bytes:
        """Write the frame."""
        flags = _ROUTER * self.router | _SOLICITED * self.solicited | _OVERRIDE * self.override
        return _encode(self, _ADVERTISEMENT, flags)


def decode(frame: bytes | memoryview) -> Solicitation | Advertisement:
    """Read a frame, with every check of RFC 4861 7.1. Raises MalformedFrame."""
    packet = Icmpv6Packet.decode(frame)
    if packet.hop_limit != HOP_LIMIT:
        raise MalformedFrame(f"hop limit {packet.hop_limit}: not from this LAN", reason="hop-limit")
    if len(packet.message) < _MESSAGE.size:
        raise MalformedFrame(f"a message of {len(packet.message)} bytes; the shortest has {_MESSAGE.size}")
    kind, code, _, flags, packed = _MESSAGE.unpack_from(packet.message)
    if kind not in (_SOLICITATION, _ADVERTISEMENT) or code != 0:
        raise MalformedFrame(f"ICMPv6 type {kind} code {code} is no neighbour message")
    target = Address(Family.IPV6, int.from_bytes(packed))
    if is_multicast(target) or is_multicast(packet.sender):
        raise MalformedFrame(f"sender {packet.sender} and target {target}: neither may be a group")
    if kind == _SOLICITATION:
        link_address = _link_address(packet.message, Solicitation.option)
        if packet.sender == UNSPECIFIED and (link_address or packet.receiver != solicited_node(target)):
            raise MalformedFrame("a probe has no link-layer address and goes to the target's group")
        return Solicitation(
            destination=packet.destination,
            source=packet.source,
            sender=packet.sender,
            receiver=packet.receiver,
            target=target,
            link_address=link_address,
        )
    if flags & _SOLICITED and is_multicast(packet.receiver):
        raise MalformedFrame("a multicast advertisement cannot be solicited")
    return Advertisement(
        destination=packet.destination,
        source=packet.source,
        sender=packet.sender,
        receiver=packet.receiver,
        target=target,
        link_address=_link_address(packet.message, Advertisement.option),
        router=bool(flags & _ROUTER),
        solicited=bool(flags & _SOLICITED),
        override=bool(flags & _OVERRIDE),
    )


def reply_to(solicitation: Solicitation, mac: bytes) -> Advertisement:
    """The answer "the target is at `mac`", to the asker alone, or to everyone if the asker has no address yet.

    The sender is the target itself, as of a kernel that holds the address (RFC 4861 7.2.4 lets the choice among
    the interface's addresses): it needs no link-local address on the interface, and the asker learns of no other
    address of this node. It goes to the hardware address the asker names or, where it names none, to the one its
    frame came from (RFC 4861 lets unicast solicitations omit the option, and routers do).

    Override is set, as the address is held here and not proxied; solicited unless it goes to everyone; router is
    not, since nobody has this address as a router, whether or not the node forwards.
    """
    probe = solicitation.sender == UNSPECIFIED
    receiver = ALL_NODES if probe else solicitation.sender
    return Advertisement(
        destination=group_mac(ALL_NODES) if probe else solicitation.link_address or solicitation.source,
        source=mac,
        sender=solicitation.target,
        receiver=receiver,
        target=solicitation.target,
        link_address=mac,
        router=False,
        solicited=not probe,
        override=True,
    )


def unsolicited(address: Address, mac: bytes) -> Advertisement:
    """The advertisement to everyone that `address` is at `mac` now (RFC 4861 7.2.6)."""
    return Advertisement(
        destination=group_mac(ALL_NODES),
        source=mac,
        sender=address,
        receiver=ALL_NODES,
        target=address,
        link_address=mac,
        router=False,
        solicited=False,
        override=True,
    )


def probe(address: Address, mac: bytes) -> Solicitation:
    """The question whether anyone has `address` already (RFC 4862 5.4.2); whoever has it answers to everyone."""
    group = solicited_node(address)
    return Solicitation(
        destination=group_mac(group),
        source=mac,
        sender=UNSPECIFIED,
        receiver=group,
        target=address,
        link_address=None,
    )


def _encode(frame: Solicitation | Advertisement, kind: int, flags: int) -> bytes:
    message = _MESSAGE.pack(kind, 0, 0, flags, frame.target.value.to_bytes(16))
    if frame.link_address is not None:
        message += bytes((frame.option, _LINK_ADDRESS_BYTES // 8)) + frame.link_address
    return Icmpv6Packet(
        destination=frame.destination,
        source=frame.source,
        sender=frame.sender,
        receiver=frame.receiver,
        hop_limit=HOP_LIMIT,
        message=message,
    ).encode()


def _link_address(message: bytes, wanted: int) -> bytes | None:
    """Walk the options; those of other kinds are skipped, as RFC 4861 demands."""
    found: bytes | None = None
    offset = _MESSAGE.size
    while offset < len(message):
        kind, size = message[offset], 8 * message[offset + 1] if offset + 1 < len(message) else 0
        if size == 0 or offset + size > len(message):
            raise MalformedFrame(f"option {kind} of {size} bytes at {offset} of {len(message)}")
        if kind == wanted:
            value = message[offset + 2 : offset + size]
            if size != _LINK_ADDRESS_BYTES or is_group(value):
                raise MalformedFrame(f"{value.hex(':')} is no Ethernet address of one interface")
            found = found or value
        offset += size
    return found

"""IPv6 packets that carry ICMPv6 over Ethernet (RFC 8200, RFC 4443, RFC 2464): headers, checksum, groups."""

from __future__ import annotations

from dataclasses import dataclass
from struct import Struct

from allocator.core.addresses import Address, Family
from speaker.frames.ethernet import ETHERTYPE_IPV6, MalformedFrame

UNSPECIFIED = Address(Family.IPV6, 0)
ALL_NODES = Address(Family.IPV6, 0xFF02 << 112 | 1)

_ICMPV6 = 58
_VERSION_6 = 6 << 28
_HEADERS = Struct("!6s6sH IHBB 16s16s")
"""Ethernet: destination, source, type. IPv6: version to flow label, payload length, next header, hop limit,
sender, receiver."""
_CHECKSUM_OFFSET = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Icmpv6Packet:
    """One untagged Ethernet frame with an ICMPv6 message, whose checksum is already taken care of."""

    destination: bytes
    source: bytes
    sender: Address
    receiver: Address
    hop_limit: int
    message: bytes

    @classmethod
    def decode(cls, frame: bytes | memoryview) -> Icmpv6Packet:
        """Read a frame and check its checksum; what follows the packet is padding. Raises MalformedFrame."""
        if len(frame) < _HEADERS.size:
            raise MalformedFrame(f"{len(frame)} bytes; an IPv6 frame has at least {_HEADERS.size}")
        fields = _HEADERS.unpack_from(frame)
        destination, source, ethertype, version, length, following, hop_limit, sender, receiver = fields
        if ethertype != ETHERTYPE_IPV6:
            raise MalformedFrame(f"EtherType {ethertype:#06x}; IPv6 is {ETHERTYPE_IPV6:#06x}")
        if version >> 28 != 6 or following != _ICMPV6:
            raise MalformedFrame(f"not ICMPv6 in IPv6: version {version >> 28}, next header {following}")
        message = bytes(frame[_HEADERS.size : _HEADERS.size + length])
        if len(message) < length:
            raise MalformedFrame(f"{len(message)} bytes of a message of {length}")
        if _sum(sender, receiver, message) % 0xFFFF:
            raise MalformedFrame("the checksum is wrong", reason="checksum")
        return cls(
            destination=destination,
            source=source,
            sender=_address(sender),
            receiver=_address(receiver),
            hop_limit=hop_limit,
            message=message,
        )

    def encode(self) -> bytes:
        """Write the frame, the checksum put into its place in the message.

        Nothing shorter than Ethernet's minimum comes out as long as the message has six bytes.
        """
        sender, receiver = _packed(self.sender), _packed(self.receiver)
        message = bytearray(self.message)
        message[_CHECKSUM_OFFSET : _CHECKSUM_OFFSET + 2] = b"\x00\x00"
        # The one's complement sum is the remainder by 2^16-1, but never 0, as the next header adds to it.
        checksum = 0xFFFF - (_sum(sender, receiver, message) % 0xFFFF or 0xFFFF)
        message[_CHECKSUM_OFFSET : _CHECKSUM_OFFSET + 2] = checksum.to_bytes(2)
        headers = _HEADERS.pack(
            self.destination,
            self.source,
            ETHERTYPE_IPV6,
            _VERSION_6,
            len(message),
            _ICMPV6,
            self.hop_limit,
            sender,
            receiver,
        )
        return headers + bytes(message)


def is_multicast(address: Address) -> bool:
    """Return whether the address names a group (ff00::/8)."""
    return address.value >> 120 == 0xFF


def solicited_node(address: Address) -> Address:
    """The group in which whoever holds `address` is asked for it (RFC 4291 2.7.1)."""
    return Address(Family.IPV6, 0xFF02 << 112 | 0x1_FF << 24 | address.value & 0xFF_FFFF)


def group_mac(group: Address) -> bytes:
    """The Ethernet address of a multicast group (RFC 2464 7)."""
    return b"\x33\x33" + (group.value & 0xFFFF_FFFF).to_bytes(4)


def _sum(sender: bytes, receiver: bytes, message: bytes | bytearray) -> int:
    """Pseudo header and message (RFC 8200 8.1) as one number: its remainder by 2^16-1 is the sum of its words."""
    even = message if len(message) % 2 == 0 else message + b"\x00"
    words = sender + receiver + len(message).to_bytes(4) + _ICMPV6.to_bytes(4) + even
    return int.from_bytes(words)


def _address(packed: bytes) -> Address:
    return Address(Family.IPV6, int.from_bytes(packed))


def _packed(address: Address) -> bytes:
    return address.value.to_bytes(16)

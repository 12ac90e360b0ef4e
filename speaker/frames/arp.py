"""ARP for IPv4 over Ethernet (RFC 826, RFC 5227): frames as values."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from struct import Struct

from allocator.core.addresses import Address, Family
from speaker.frames.ethernet import BROADCAST, ETHERTYPE_ARP, MINIMUM_FRAME_BYTES, UNKNOWN, MalformedFrame

_HARDWARE_ETHERNET = 1
_PROTOCOL_IPV4 = 0x0800

_FRAME = Struct("!6s6sH HHBBH 6sI6sI")
"""Ethernet header (destination, source, type); ARP header; sender and target as (MAC, IPv4) pairs."""


class Operation(IntEnum):
    """What an ARP frame does."""

    REQUEST = 1
    REPLY = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class ArpFrame:
    """One untagged Ethernet frame that carries ARP for IPv4; MACs are six bytes."""

    destination: bytes
    source: bytes
    operation: Operation
    sender_mac: bytes
    sender_ip: Address
    target_mac: bytes
    target_ip: Address

    @classmethod
    def decode(cls, frame: bytes | memoryview) -> ArpFrame:
        """Read a frame; whatever follows the ARP packet is padding. Raises MalformedFrame."""
        if len(frame) < _FRAME.size:
            raise MalformedFrame(f"{len(frame)} bytes; an ARP frame has at least {_FRAME.size}")
        fields = _FRAME.unpack_from(frame)
        destination, source, ethertype, hardware, protocol, mac_size, ip_size, operation = fields[:8]
        if ethertype != ETHERTYPE_ARP:
            raise MalformedFrame(f"EtherType {ethertype:#06x}; ARP is {ETHERTYPE_ARP:#06x}")
        if (hardware, protocol, mac_size, ip_size) != (_HARDWARE_ETHERNET, _PROTOCOL_IPV4, 6, 4):
            raise MalformedFrame(f"not IPv4 over Ethernet: {hardware=} {protocol=:#06x} {mac_size=} {ip_size=}")
        if operation not in (Operation.REQUEST, Operation.REPLY):
            raise MalformedFrame(f"operation {operation} is neither request nor reply")
        sender_mac, sender_ip, target_mac, target_ip = fields[8:]
        return cls(
            destination=destination,
            source=source,
            operation=Operation(operation),
            sender_mac=sender_mac,
            sender_ip=Address(Family.IPV4, sender_ip),
            target_mac=target_mac,
            target_ip=Address(Family.IPV4, target_ip),
        )

    def encode(self) -> bytes:
        """Write the frame, padded to Ethernet's minimum: a raw socket hands it to the driver as it is, and
        virtual drivers do not pad."""
        packed = _FRAME.pack(
            self.destination,
            self.source,
            ETHERTYPE_ARP,
            _HARDWARE_ETHERNET,
            _PROTOCOL_IPV4,
            6,
            4,
            self.operation,
            self.sender_mac,
            self.sender_ip.value,
            self.target_mac,
            self.target_ip.value,
        )
        return packed.ljust(MINIMUM_FRAME_BYTES, b"\x00")


def reply_to(request: ArpFrame, mac: bytes) -> ArpFrame:
    """The unicast answer "the address you ask for is at `mac`", also to a probe from 0.0.0.0 (RFC 5227 2.4)."""
    return ArpFrame(
        destination=request.sender_mac,
        source=mac,
        operation=Operation.REPLY,
        sender_mac=mac,
        sender_ip=request.target_ip,
        target_mac=request.sender_mac,
        target_ip=request.sender_ip,
    )


def gratuitous(operation: Operation, address: Address, mac: bytes) -> ArpFrame:
    """The broadcast "`address` is at `mac`"; both operations are sent because some hosts heed only one.

    Sender and target are the address, the target MAC is broadcast: MetalLB's form (internal/layer2/arp.go
    Gratuitous); RFC 5227 3 leaves the target MAC open.
    """
    return ArpFrame(
        destination=BROADCAST,
        source=mac,
        operation=operation,
        sender_mac=mac,
        sender_ip=address,
        target_mac=BROADCAST,
        target_ip=address,
    )


def probe(address: Address, mac: bytes) -> ArpFrame:
    """The question whether anyone has `address` already, by a sender that has none yet (RFC 5227 2.1.1)."""
    return ArpFrame(
        destination=BROADCAST,
        source=mac,
        operation=Operation.REQUEST,
        sender_mac=mac,
        sender_ip=Address(Family.IPV4, 0),
        target_mac=UNKNOWN,
        target_ip=address,
    )

"""Ethernet addresses, and what every frame codec says about bytes it cannot read."""

from __future__ import annotations

ETHERTYPE_ARP = 0x0806
ETHERTYPE_IPV6 = 0x86DD
BROADCAST = b"\xff" * 6
UNKNOWN = b"\x00" * 6
MINIMUM_FRAME_BYTES = 60


class MalformedFrame(ValueError):
    """Bytes that are not a frame of the expected kind; the message says which field is wrong, `reason` counts it."""

    def __init__(self, message: str, *, reason: str = "malformed") -> None:
        super().__init__(message)
        self.reason = reason


def mac_text(mac: bytes) -> str:
    """Write six bytes as people read them: `aa:bb:cc:dd:ee:ff`."""
    return mac.hex(":")


def mac_bytes(text: str) -> bytes:
    """Read `aa:bb:cc:dd:ee:ff`. Raises MalformedFrame."""
    try:
        mac = bytes.fromhex(text.replace(":", ""))
    except ValueError:
        mac = b""
    if len(mac) != 6:
        raise MalformedFrame(f"{text!r} is not an Ethernet address of six bytes")
    return mac


def is_group(mac: bytes) -> bool:
    """Return whether the address names a group (multicast or broadcast) rather than one interface."""
    return bool(mac[0] & 1)

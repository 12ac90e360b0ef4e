"""Questions and claims on the wire: bytes and values. No sockets.

Questions are built by scapy. Claims are read by the speaker's own codecs, which raise one error whatever another host
sends; scapy's dissectors raise several, of their implementation.
"""

from __future__ import annotations

from dataclasses import dataclass

from allocator.core.addresses import Address, Family
from speaker.frames import ndp
from speaker.frames.arp import ArpFrame
from speaker.frames.ethernet import (
    BROADCAST,
    ETHERTYPE_ARP,
    ETHERTYPE_IPV6,
    MINIMUM_FRAME_BYTES,
    UNKNOWN,
    MalformedFrame,
    mac_text,
)
from speaker.frames.ipv6 import UNSPECIFIED, group_mac, solicited_node

ETHERTYPES = {Family.IPV4: ETHERTYPE_ARP, Family.IPV6: ETHERTYPE_IPV6}

_NO_SENDER = Address(Family.IPV4, 0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Claimed:
    """A frame that says `address` is at `mac` (`aa:bb:cc:dd:ee:ff`).

    `gratuitous` means that it answers no question and goes to everyone: gratuitous ARP, or an unsolicited neighbour
    advertisement. `kind` names it for people.
    """

    address: Address
    mac: str
    kind: str
    gratuitous: bool


def question(target: Address, *, mac: bytes, sender: Address | None) -> bytes:
    """Return the frame that asks everyone for `target`.

    From `sender`, an address of the interface with this `mac` (six bytes); without one as a probe, which names no
    sender (RFC 5227 2.1.1, RFC 4862 5.4.2) and is answered as well.
    """
    # Imported here: it takes longer than all the rest of the command, and listening does without.
    from scapy.layers.inet6 import ICMPv6ND_NS, ICMPv6NDOptSrcLLAddr, IPv6  # noqa: PLC0415
    from scapy.layers.l2 import ARP, Ether  # noqa: PLC0415

    source = mac_text(mac)
    if target.family is Family.IPV4:
        asked = ARP(
            op="who-has", hwsrc=source, psrc=str(sender or _NO_SENDER), hwdst=mac_text(UNKNOWN), pdst=str(target)
        )
        return bytes(Ether(src=source, dst=mac_text(BROADCAST), type=ETHERTYPE_ARP) / asked).ljust(
            MINIMUM_FRAME_BYTES, b"\0"
        )
    group = solicited_node(target)
    packet = IPv6(src=str(sender or UNSPECIFIED), dst=str(group), hlim=ndp.HOP_LIMIT) / ICMPv6ND_NS(tgt=str(target))
    if sender is not None:
        packet /= ICMPv6NDOptSrcLLAddr(lladdr=source)
    return bytes(Ether(src=source, dst=mac_text(group_mac(group)), type=ETHERTYPE_IPV6) / packet)


def claim_in(frame: bytes) -> Claimed | None:
    """Return what an ARP frame or a neighbour advertisement claims; None for any other frame, or a malformed one."""
    try:
        if frame[12:14] == ETHERTYPE_ARP.to_bytes(2):
            return _in_arp(ArpFrame.decode(frame))
        decoded = ndp.decode(frame)
    except MalformedFrame:
        return None
    return _in_advertisement(decoded) if isinstance(decoded, ndp.Advertisement) else None


def _in_arp(frame: ArpFrame) -> Claimed | None:
    if not frame.sender_ip.value:
        return None
    gratuitous = frame.sender_ip == frame.target_ip
    operation = frame.operation.name.lower()
    return Claimed(
        address=frame.sender_ip,
        mac=mac_text(frame.sender_mac),
        kind=f"gratuitous ARP ({operation})" if gratuitous else f"ARP {operation}",
        gratuitous=gratuitous,
    )


def _in_advertisement(frame: ndp.Advertisement) -> Claimed:
    return Claimed(
        address=frame.target,
        mac=mac_text(frame.link_address or frame.source),
        kind="neighbour advertisement" if frame.solicited else "unsolicited neighbour advertisement",
        gratuitous=not frame.solicited,
    )

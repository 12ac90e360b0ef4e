"""What asks a LAN writes questions that scapy reads, and reads answers that scapy writes, but takes nothing else."""

from __future__ import annotations

import ipaddress

import pytest
from scapy.layers.inet6 import ICMPv6ND_NA, ICMPv6ND_NS, ICMPv6NDOptDstLLAddr, ICMPv6NDOptSrcLLAddr, IPv6
from scapy.layers.l2 import ARP, Ether

from tests.bench.speaker_asking import Answer, answer_in, question

ASKER, NODE, HELPED = "02:00:00:00:00:f2", "02:00:00:00:00:c9", "02:00:00:00:00:ca"
VIP4, VIP6 = "203.0.113.30", "2001:db8:1::30"


def asked(address: str, own: str) -> bytes:
    mac = bytes.fromhex(ASKER.replace(":", ""))
    return question(address, mac=mac, own=ipaddress.ip_address(own).packed)


def test_an_arp_question_is_what_scapy_would_send() -> None:
    expected = Ether(src=ASKER, dst="ff:ff:ff:ff:ff:ff") / ARP(hwsrc=ASKER, psrc="203.0.113.242", pdst=VIP4)
    assert asked(VIP4, "203.0.113.242") == bytes(expected)


def test_a_solicitation_is_what_scapy_would_send() -> None:
    own = "2001:db8:1::f2"
    expected = (
        Ether(src=ASKER, dst="33:33:ff:00:00:30")
        / IPv6(src=own, dst="ff02::1:ff00:30", hlim=255)
        / ICMPv6ND_NS(tgt=VIP6)
        / ICMPv6NDOptSrcLLAddr(lladdr=ASKER)
    )
    assert asked(VIP6, own) == bytes(expected)


def test_an_arp_reply_names_the_place_and_its_sender() -> None:
    frame = Ether(src=NODE, dst=ASKER) / ARP(op="is-at", hwsrc=HELPED, psrc=VIP4, hwdst=ASKER, pdst="203.0.113.242")
    assert answer_in(bytes(frame), at=1.0) == Answer(at=1.0, address=VIP4, mac=HELPED, sender=NODE)


def test_an_advertisement_names_the_place_and_its_sender() -> None:
    frame = (
        Ether(src=NODE, dst=ASKER)
        / IPv6(src=VIP6, dst="2001:db8:1::f2", hlim=255)
        / ICMPv6ND_NA(tgt=VIP6, R=0, S=1)
        / ICMPv6NDOptDstLLAddr(lladdr=HELPED)
    )
    assert answer_in(bytes(frame), at=1.0) == Answer(at=1.0, address=VIP6, mac=HELPED, sender=NODE)


@pytest.mark.parametrize(
    "frame",
    [
        Ether(src=NODE, dst="ff:ff:ff:ff:ff:ff") / ARP(op="is-at", hwsrc=NODE, psrc=VIP4, pdst=VIP4),
        Ether(src=NODE, dst="ff:ff:ff:ff:ff:ff") / ARP(op="who-has", hwsrc=NODE, psrc=VIP4, pdst=VIP4),
        Ether(src=NODE, dst="33:33:00:00:00:01")
        / IPv6(src=VIP6, dst="ff02::1", hlim=255)
        / ICMPv6ND_NA(tgt=VIP6, S=0),
        Ether(src=NODE, dst=ASKER) / IPv6(src=VIP6, dst="2001:db8:1::f2") / ICMPv6ND_NS(tgt=VIP6),
        Ether(src=NODE, dst=ASKER, type=0x0806) / b"",
    ],
    ids=["reply to all", "announcement", "unsolicited advertisement", "solicitation", "nothing inside"],
)
def test_what_nobody_asked_for_is_no_answer(frame: Ether) -> None:
    assert answer_in(bytes(frame), at=1.0) is None

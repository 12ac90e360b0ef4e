"""Neighbour messages, held against scapy byte by byte."""

from __future__ import annotations

import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scapy.layers.inet import UDP
from scapy.layers.inet6 import (
    ICMPv6EchoRequest,
    ICMPv6ND_NA,
    ICMPv6ND_NS,
    ICMPv6NDOptDstLLAddr,
    ICMPv6NDOptSrcLLAddr,
    ICMPv6NDOptUnknown,
    IPv6,
)
from scapy.layers.l2 import Dot1Q, Ether
from scapy.packet import Raw

from allocator.core.addresses import Address, Family
from speaker.frames.ethernet import MalformedFrame, mac_bytes, mac_text
from speaker.frames.ipv6 import ALL_NODES, UNSPECIFIED, group_mac, is_multicast, solicited_node
from speaker.frames.ndp import Advertisement, Solicitation, decode, probe, reply_to, unsolicited
from speaker.layer2.ndp import answer

NODE_MAC, CLIENT_MAC = mac_bytes("02:00:00:00:00:01"), mac_bytes("02:00:00:00:00:02")
VIP, CLIENT = Address.parse("2001:db8::100"), Address.parse("2001:db8::2")

macs = st.binary(min_size=6, max_size=6)
nics = macs.filter(lambda mac: not mac[0] & 1)
hosts = st.integers(1, 0xFF << 120).filter(lambda value: value < 0xFF << 120).map(lambda n: Address(Family.IPV6, n))
groups = st.integers(0, 2**112 - 1).map(lambda value: Address(Family.IPV6, 0xFF02 << 112 | value))
solicitations = st.builds(
    Solicitation,
    destination=macs,
    source=macs,
    sender=hosts,
    receiver=hosts | groups,
    target=hosts,
    link_address=st.none() | nics,
)
unicast_advertisements = st.builds(
    Advertisement,
    destination=macs,
    source=macs,
    sender=hosts,
    receiver=hosts,
    target=hosts,
    link_address=st.none() | nics,
    router=st.booleans(),
    solicited=st.booleans(),
    override=st.booleans(),
)
probes = st.builds(probe, hosts, nics)
announcements = st.builds(unsolicited, hosts, nics)
frames = st.one_of(solicitations, unicast_advertisements, probes, announcements)


def by_scapy(frame: Solicitation | Advertisement) -> bytes:
    headers = Ether(dst=mac_text(frame.destination), src=mac_text(frame.source), type=0x86DD) / IPv6(
        src=str(frame.sender), dst=str(frame.receiver), hlim=255
    )
    if isinstance(frame, Solicitation):
        message, option = ICMPv6ND_NS(tgt=str(frame.target)), ICMPv6NDOptSrcLLAddr
    else:
        flags = {"R": int(frame.router), "S": int(frame.solicited), "O": int(frame.override)}
        message, option = ICMPv6ND_NA(tgt=str(frame.target), **flags), ICMPv6NDOptDstLLAddr
    if frame.link_address is not None:
        message = message / option(lladdr=mac_text(frame.link_address))
    return bytes(headers / message)


def solicitation_packet(*, hop_limit: int = 255, target: str = "2001:db8::100", **ip: str) -> IPv6:
    """What a client kernel sends, without the link-layer option."""
    addresses = {"src": "2001:db8::2", "dst": "ff02::1:ff00:100", **ip}
    return IPv6(hlim=hop_limit, **addresses) / ICMPv6ND_NS(tgt=target)


def framed(packet: object) -> bytes:
    return bytes(Ether(src="02:00:00:00:00:02", dst="33:33:ff:00:01:00") / packet)


SHORT_OPTION = ICMPv6NDOptSrcLLAddr(lladdr="02:00:00:00:00:02")


@given(frames)
def test_every_frame_is_written_as_scapy_writes_it(frame: Solicitation | Advertisement) -> None:
    assert frame.encode() == by_scapy(frame)
    assert len(frame.encode()) >= 60


@given(frames, st.binary(max_size=1000))
def test_reading_gives_back_what_was_written_whatever_the_padding(
    frame: Solicitation | Advertisement, padding: bytes
) -> None:
    assert decode(by_scapy(frame) + padding) == frame


@given(st.binary(max_size=200) | st.binary(max_size=90).map(lambda data: framed(solicitation_packet())[:54] + data))
def test_garbage_is_a_malformed_frame_and_nothing_worse(data: bytes) -> None:
    try:
        decode(data)
    except MalformedFrame as error:
        assert str(error)
        assert error.reason


@given(frames, st.integers(12, 77), st.integers(1, 255))
def test_no_single_damaged_byte_of_what_the_checksum_covers_gets_through(
    frame: Solicitation | Advertisement, position: int, damage: int
) -> None:
    data = bytearray(frame.encode())
    data[position] ^= damage
    try:
        read = decode(bytes(data))
    except MalformedFrame:
        return
    # Traffic class and flow label are nobody's business here, and not covered.
    assert 14 <= position <= 17
    assert read == frame


def test_options_of_other_kinds_are_skipped() -> None:
    nonce = ICMPv6NDOptUnknown(type=14, len=1, data=b"nonce!")
    packet = solicitation_packet() / nonce / SHORT_OPTION
    assert decode(framed(packet)) == decode(framed(solicitation_packet() / SHORT_OPTION))


def flawed(data: bytes, position: int) -> bytes:
    return data[:position] + bytes((data[position] ^ 0xFF,)) + data[position + 1 :]


@pytest.mark.parametrize(
    ("data", "complaint", "reason"),
    [
        (framed(Dot1Q(vlan=5) / solicitation_packet()), "EtherType 0x8100", "malformed"),
        (framed(solicitation_packet())[:53], "53 bytes", "malformed"),
        (framed(solicitation_packet())[:77], "23 bytes of a message of 24", "malformed"),
        (framed(IPv6(dst="ff02::1", src="fe80::1") / UDP()), "next header 17", "malformed"),
        (flawed(framed(solicitation_packet()), 14), "version 9", "malformed"),
        (flawed(framed(solicitation_packet()), 70), "checksum", "checksum"),
        (framed(solicitation_packet(hop_limit=254)), "hop limit 254", "hop-limit"),
        (framed(solicitation_packet(hop_limit=0)), "hop limit 0", "hop-limit"),
        (framed(IPv6(src="2001:db8::2", dst="ff02::1", hlim=255) / ICMPv6EchoRequest()), "8 bytes", "malformed"),
        (
            framed(IPv6(src="2001:db8::2", dst="ff02::1", hlim=255) / ICMPv6EchoRequest(data=bytes(16))),
            "type 128",
            "malformed",
        ),
        (framed(solicitation_packet(target="ff02::1")), "neither may be a group", "malformed"),
        (framed(solicitation_packet(src="ff02::1")), "neither may be a group", "malformed"),
        (framed(solicitation_packet(src="::", dst="ff02::1")), "a probe", "malformed"),
        (framed(solicitation_packet(src="::") / SHORT_OPTION), "a probe", "malformed"),
        (framed(solicitation_packet() / Raw(b"\x01\x00\x02\x00\x00\x00\x00\x02")), "option 1 of 0", "malformed"),
        (framed(solicitation_packet() / Raw(b"\x01\x02\x02\x00\x00\x00\x00\x02")), "option 1 of 16", "malformed"),
        (framed(solicitation_packet() / Raw(b"\x01")), "option 1 of 0", "malformed"),
        (
            framed(solicitation_packet() / ICMPv6NDOptSrcLLAddr(lladdr="33:33:00:00:00:01")),
            "no Ethernet address of one interface",
            "malformed",
        ),
        (
            framed(IPv6(src="2001:db8::2", dst="ff02::1", hlim=255) / ICMPv6ND_NA(tgt="2001:db8::2", S=1)),
            "cannot be solicited",
            "malformed",
        ),
    ],
)
def test_what_is_no_valid_neighbour_message_is_refused_with_the_reason(
    data: bytes, complaint: str, reason: str
) -> None:
    with pytest.raises(MalformedFrame, match=complaint) as refused:
        decode(data)
    assert refused.value.reason == reason


def asked(**fields: object) -> Solicitation:
    group = solicited_node(VIP)
    usual = {
        "destination": group_mac(group),
        "source": CLIENT_MAC,
        "sender": CLIENT,
        "receiver": group,
        "target": VIP,
        "link_address": CLIENT_MAC,
    }
    return Solicitation(**{**usual, **fields})  # type: ignore[arg-type]


def test_the_answer_is_solicited_overriding_unicast_and_from_the_address_itself() -> None:
    assert reply_to(asked(), NODE_MAC) == Advertisement(
        destination=CLIENT_MAC,
        source=NODE_MAC,
        sender=VIP,
        receiver=CLIENT,
        target=VIP,
        link_address=NODE_MAC,
        router=False,
        solicited=True,
        override=True,
    )


def test_an_asker_that_does_not_name_its_hardware_address_is_answered_where_its_frame_came_from() -> None:
    assert reply_to(asked(link_address=None), NODE_MAC) == reply_to(asked(), NODE_MAC)


def test_a_prober_and_everyone_else_is_told_that_the_address_is_taken() -> None:
    said = reply_to(probe(VIP, CLIENT_MAC), NODE_MAC)
    assert said == unsolicited(VIP, NODE_MAC)
    assert (said.receiver, said.destination, said.solicited) == (ALL_NODES, mac_bytes("33:33:00:00:00:01"), False)


def test_a_probe_is_that_of_a_host_without_an_address() -> None:
    sent = probe(VIP, NODE_MAC)
    assert (sent.sender, sent.link_address) == (UNSPECIFIED, None)
    assert sent.receiver == Address.parse("ff02::1:ff00:100")
    assert sent.destination == mac_bytes("33:33:ff:00:01:00")


def test_only_solicitations_for_held_addresses_sent_to_the_group_or_to_us_are_answered() -> None:
    held = frozenset({VIP})
    assert answer(asked(), mac=NODE_MAC, addresses=held)
    assert answer(asked(destination=NODE_MAC, receiver=VIP), mac=NODE_MAC, addresses=held)
    assert answer(asked(destination=NODE_MAC), mac=NODE_MAC, addresses=held)
    assert answer(asked(destination=CLIENT_MAC, receiver=VIP), mac=NODE_MAC, addresses=held) is None
    assert answer(asked(destination=mac_bytes("33:33:ff:00:00:01")), mac=NODE_MAC, addresses=held) is None
    assert answer(asked(source=NODE_MAC), mac=NODE_MAC, addresses=held) is None
    assert answer(asked(target=CLIENT), mac=NODE_MAC, addresses=held) is None
    assert answer(unsolicited(VIP, CLIENT_MAC), mac=NODE_MAC, addresses=held) is None


@given(hosts)
def test_groups_and_their_hardware_addresses_are_those_of_the_rfcs(address: Address) -> None:
    packed = ipaddress.IPv6Address(str(address)).packed
    group = solicited_node(address)
    assert ipaddress.IPv6Address(str(group)).packed == bytes.fromhex("ff0200000000000000000001ff") + packed[-3:]
    assert group_mac(group) == b"\x33\x33\xff" + packed[-3:]
    assert is_multicast(group)
    assert not is_multicast(address)

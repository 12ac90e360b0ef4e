"""ARP frames, held against scapy byte by byte."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scapy.layers.l2 import ARP, Dot1Q, Ether

from allocator.core.addresses import Address, Family
from speaker.frames.arp import ArpFrame, Operation, gratuitous, reply_to
from speaker.frames.ethernet import BROADCAST, MalformedFrame, mac_bytes, mac_text
from speaker.layer2.arp import answer

NODE_MAC = mac_bytes("02:00:00:00:00:01")
CLIENT_MAC = mac_bytes("02:00:00:00:00:02")
VIP = Address.parse("192.0.2.100")
CLIENT_IP = Address.parse("192.0.2.2")

# Everything is given, or scapy would look for a route on the machine that runs the test.
HEADER = Ether(src="02:00:00:00:00:02", dst="ff:ff:ff:ff:ff:ff")
FIELDS = {"hwsrc": "02:00:00:00:00:02", "psrc": "192.0.2.2", "hwdst": "00:00:00:00:00:00", "pdst": "192.0.2.100"}
PACKET = ARP(**FIELDS)

macs = st.binary(min_size=6, max_size=6)
ipv4 = st.integers(0, 2**32 - 1).map(lambda value: Address(Family.IPV4, value))
frames = st.builds(
    ArpFrame,
    destination=macs,
    source=macs,
    operation=st.sampled_from(Operation),
    sender_mac=macs,
    sender_ip=ipv4,
    target_mac=macs,
    target_ip=ipv4,
)


def by_scapy(frame: ArpFrame) -> bytes:
    return bytes(
        Ether(dst=mac_text(frame.destination), src=mac_text(frame.source), type=0x0806)
        / ARP(
            op=int(frame.operation),
            hwsrc=mac_text(frame.sender_mac),
            psrc=str(frame.sender_ip),
            hwdst=mac_text(frame.target_mac),
            pdst=str(frame.target_ip),
        )
    )


def asked(
    address: Address = VIP, *, destination: bytes = BROADCAST, operation: Operation = Operation.REQUEST
) -> ArpFrame:
    return ArpFrame(
        destination=destination,
        source=CLIENT_MAC,
        operation=operation,
        sender_mac=CLIENT_MAC,
        sender_ip=CLIENT_IP,
        target_mac=bytes(6),
        target_ip=address,
    )


@given(frames)
def test_every_frame_is_written_as_scapy_writes_it_and_padded_to_60_bytes(frame: ArpFrame) -> None:
    assert frame.encode() == by_scapy(frame).ljust(60, b"\x00")


@given(frames, st.binary(max_size=1500))
def test_reading_gives_back_what_was_written_whatever_the_padding(frame: ArpFrame, padding: bytes) -> None:
    assert ArpFrame.decode(by_scapy(frame) + padding) == frame


@given(st.binary(max_size=200))
def test_garbage_is_a_malformed_frame_and_nothing_worse(data: bytes) -> None:
    try:
        ArpFrame.decode(data)
    except MalformedFrame as error:
        assert str(error)


@given(frames, st.integers(0, 41), st.integers(1, 255))
def test_a_damaged_frame_is_read_as_what_it_says_or_refused(frame: ArpFrame, position: int, damage: int) -> None:
    data = bytearray(frame.encode())
    data[position] ^= damage
    try:
        read = ArpFrame.decode(bytes(data))
    except MalformedFrame:
        assert 12 <= position <= 21
    else:
        assert read.encode() == data


@pytest.mark.parametrize(
    ("data", "complaint"),
    [
        (bytes(HEADER / Dot1Q(vlan=5) / PACKET), "EtherType 0x8100"),
        (bytes(HEADER / ARP(hwtype=6, **FIELDS)), "not IPv4 over Ethernet"),
        (bytes(HEADER / ARP(ptype=0x86DD, hwlen=6, plen=4, **FIELDS)), "not IPv4 over Ethernet"),
        (bytes(HEADER / ARP(op=3, **FIELDS)), "operation 3"),
        (bytes(HEADER / PACKET)[:41], "41 bytes"),
    ],
)
def test_what_is_no_arp_for_ipv4_over_ethernet_is_refused_with_the_reason(data: bytes, complaint: str) -> None:
    with pytest.raises(MalformedFrame, match=complaint):
        ArpFrame.decode(data)


def test_a_reply_goes_to_the_asker_alone_and_names_the_nodes_own_address() -> None:
    reply = reply_to(asked(), NODE_MAC)
    assert reply == ArpFrame(
        destination=CLIENT_MAC,
        source=NODE_MAC,
        operation=Operation.REPLY,
        sender_mac=NODE_MAC,
        sender_ip=VIP,
        target_mac=CLIENT_MAC,
        target_ip=CLIENT_IP,
    )


@pytest.mark.parametrize("operation", Operation)
def test_gratuitous_frames_have_metallbs_form(operation: Operation) -> None:
    assert gratuitous(operation, VIP, NODE_MAC) == ArpFrame(
        destination=BROADCAST,
        source=NODE_MAC,
        operation=operation,
        sender_mac=NODE_MAC,
        sender_ip=VIP,
        target_mac=BROADCAST,
        target_ip=VIP,
    )


def test_only_requests_for_held_addresses_sent_to_all_or_to_us_are_answered() -> None:
    held = frozenset({VIP})
    assert answer(asked(), mac=NODE_MAC, addresses=held)
    assert answer(asked(destination=NODE_MAC), mac=NODE_MAC, addresses=held)
    assert answer(asked(destination=CLIENT_MAC), mac=NODE_MAC, addresses=held) is None
    assert answer(asked(operation=Operation.REPLY), mac=NODE_MAC, addresses=held) is None
    assert answer(asked(CLIENT_IP), mac=NODE_MAC, addresses=held) is None
    assert answer(asked(), mac=NODE_MAC, addresses=frozenset()) is None


@pytest.mark.parametrize("text", ["", "02:00:00:00:00", "02:00:00:00:00:0g", "02:00:00:00:00:00:00"])
def test_what_is_no_hardware_address_is_refused(text: str) -> None:
    with pytest.raises(MalformedFrame, match="six bytes"):
        mac_bytes(text)

"""What who-has asks and reads, compared with the speaker's own codecs."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from allocator.core.addresses import Address, Family
from speaker.frames import arp, ndp
from speaker.frames.arp import ArpFrame, Operation
from speaker.frames.ethernet import BROADCAST
from speaker.frames.ipv6 import group_mac, solicited_node
from speaker.who_has.messages import claim_in, question

MACS = st.binary(min_size=6, max_size=6).map(lambda mac: bytes([mac[0] & 0xFE]) + mac[1:])
IPV4 = st.integers(0x0100_0000, 0xDFFF_FFFF).map(lambda value: Address(Family.IPV4, value))
IPV6 = st.integers(1, 0x3FFF << 112).map(lambda value: Address(Family.IPV6, 0x2001 << 112 | value & (1 << 112) - 1))


@given(target=IPV4, mac=MACS, sender=st.none() | IPV4)
def test_an_arp_question_is_one_that_a_speaker_reads(target: Address, mac: bytes, sender: Address | None) -> None:
    frame = ArpFrame.decode(question(target, mac=mac, sender=sender))
    assert (frame.operation, frame.target_ip, frame.sender_mac) == (Operation.REQUEST, target, mac)
    assert frame.destination == BROADCAST
    assert frame.sender_ip == (sender or Address(Family.IPV4, 0))


@given(target=IPV6, mac=MACS, sender=st.none() | IPV6)
def test_a_solicitation_is_one_that_a_speaker_reads(target: Address, mac: bytes, sender: Address | None) -> None:
    frame = ndp.decode(question(target, mac=mac, sender=sender))
    assert isinstance(frame, ndp.Solicitation)
    assert (frame.target, frame.link_address) == (target, mac if sender else None)
    assert frame.receiver == solicited_node(target)
    assert frame.destination == group_mac(frame.receiver)


@given(target=IPV4, mac=MACS, asker=MACS)
def test_a_speakers_arp_reply_is_read_and_is_not_gratuitous(target: Address, mac: bytes, asker: bytes) -> None:
    asked = ArpFrame.decode(question(target, mac=asker, sender=Address.parse("192.0.2.2")))
    claimed = claim_in(arp.reply_to(asked, mac).encode())
    assert claimed is not None
    assert (claimed.address, claimed.mac) == (target, mac.hex(":"))
    assert claimed.gratuitous == (target == Address.parse("192.0.2.2"))


@given(target=IPV6, mac=MACS, asker=MACS)
def test_a_speakers_advertisement_is_read_and_is_not_gratuitous(target: Address, mac: bytes, asker: bytes) -> None:
    asked = ndp.decode(question(target, mac=asker, sender=Address.parse("2001:db8::2")))
    assert isinstance(asked, ndp.Solicitation)
    claimed = claim_in(ndp.reply_to(asked, mac).encode())
    assert claimed is not None
    assert (claimed.address, claimed.mac, claimed.gratuitous) == (target, mac.hex(":"), False)


@given(target=IPV4, mac=MACS, operation=st.sampled_from(Operation))
def test_a_gratuitous_arp_of_either_form_is_one(target: Address, mac: bytes, operation: Operation) -> None:
    claimed = claim_in(arp.gratuitous(operation, target, mac).encode())
    assert claimed is not None
    assert (claimed.address, claimed.mac, claimed.gratuitous) == (target, mac.hex(":"), True)
    assert claimed.kind == f"gratuitous ARP ({operation.name.lower()})"


@given(target=IPV6, mac=MACS)
def test_an_unsolicited_advertisement_is_an_announcement(target: Address, mac: bytes) -> None:
    claimed = claim_in(ndp.unsolicited(target, mac).encode())
    assert claimed is not None
    assert (claimed.address, claimed.mac, claimed.gratuitous) == (target, mac.hex(":"), True)


@given(target=IPV4, mac=MACS)
def test_a_probe_claims_nothing(target: Address, mac: bytes) -> None:
    assert claim_in(arp.probe(target, mac).encode()) is None


def test_an_advertisement_that_a_router_forwarded_is_not_believed() -> None:
    frame = bytearray(ndp.unsolicited(Address.parse("2001:db8::1"), b"\x02" * 6).encode())
    assert claim_in(bytes(frame)) is not None
    frame[14 + 7] = 254
    assert claim_in(bytes(frame)) is None


@given(frame=st.binary(max_size=200))
def test_no_bytes_raise(frame: bytes) -> None:
    claim_in(frame)


@pytest.mark.parametrize("family", list(Family))
@given(data=st.data())
def test_no_damaged_claim_raises(family: Family, data: st.DataObject) -> None:
    address = Address.parse("192.0.2.1" if family is Family.IPV4 else "2001:db8::1")
    sound = (
        arp.gratuitous(Operation.REPLY, address, b"\x02" * 6).encode()
        if family is Family.IPV4
        else ndp.unsolicited(address, b"\x02" * 6).encode()
    )
    damaged = bytearray(sound)
    for _ in range(data.draw(st.integers(1, 4))):
        damaged[data.draw(st.integers(12, len(damaged) - 1))] = data.draw(st.integers(0, 255))
    claim_in(bytes(damaged[: data.draw(st.integers(0, len(damaged)))]))

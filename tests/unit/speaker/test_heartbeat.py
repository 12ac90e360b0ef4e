"""Heartbeats as datagrams: only who has the key can write one."""

from __future__ import annotations

import hashlib
import hmac
import struct
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from allocator.core.addresses import Address
from speaker.membership.heartbeat import (
    MAXIMUM_BYTES,
    VERSION,
    ForgedHeartbeat,
    Heartbeat,
    MalformedHeartbeat,
    Phase,
)
from speaker.membership.link import Link, Subnet
from speaker.membership.state_sync import CHUNK_BYTES, AdvertisedState, Chunk, Claim, ReceivedState

KEY = b"key"
numbers = st.integers(0, 2**64 - 1)
chunks = st.builds(
    Chunk,
    base=numbers,
    version=numbers,
    index=st.integers(0, 2**16 - 1),
    count=st.integers(0, 2**16 - 1),
    data=st.binary(max_size=CHUNK_BYTES),
)
heartbeats = st.builds(
    Heartbeat,
    sender=st.text(max_size=63),
    phase=st.sampled_from(Phase),
    incarnation=numbers,
    challenge=numbers,
    echo=numbers,
    sequence=numbers,
    version=numbers,
    have=numbers,
    probe=st.booleans(),
    hears=st.booleans(),
    lan=st.booleans(),
    linked=st.integers(0, 2**16 - 1),
    side=st.integers(0, 2**16 - 1),
    chunks=st.lists(chunks, max_size=1).map(tuple),
    reads=st.integers(1, 255),
)
EXAMPLE = Heartbeat(sender="node-1", phase=Phase.SERVING, incarnation=7, challenge=6, echo=8, sequence=9)


@given(heartbeats, st.binary(max_size=80))
def test_reading_gives_back_what_was_written(heartbeat: Heartbeat, key: bytes) -> None:
    datagram = heartbeat.encode(key)
    assert len(datagram) <= MAXIMUM_BYTES
    assert Heartbeat.decode(datagram, key) == heartbeat


@given(heartbeats, st.binary(max_size=40), st.binary(max_size=40))
def test_another_key_is_a_forgery(heartbeat: Heartbeat, key: bytes, other: bytes) -> None:
    # HMAC pads short keys with zeros: those two are one key.
    if key.rstrip(b"\x00") == other.rstrip(b"\x00"):
        return
    with pytest.raises(ForgedHeartbeat):
        Heartbeat.decode(heartbeat.encode(key), other)


@given(heartbeats, st.data())
def test_any_changed_byte_is_noticed(heartbeat: Heartbeat, data: st.DataObject) -> None:
    datagram = bytearray(heartbeat.encode(KEY))
    position = data.draw(st.integers(0, len(datagram) - 1))
    datagram[position] ^= data.draw(st.integers(1, 255))
    with pytest.raises((ForgedHeartbeat, MalformedHeartbeat)):
        Heartbeat.decode(bytes(datagram), KEY)


@given(st.binary(max_size=2000))
def test_garbage_is_refused_and_nothing_worse(datagram: bytes) -> None:
    with pytest.raises((ForgedHeartbeat, MalformedHeartbeat)):
        Heartbeat.decode(datagram, KEY)


@pytest.mark.parametrize("length", [0, 4, 37])
def test_a_cut_datagram_is_malformed(length: int) -> None:
    with pytest.raises(MalformedHeartbeat):
        Heartbeat.decode(EXAMPLE.encode(KEY)[:length], KEY)


GOLDEN_STATE = AdvertisedState(
    claims={
        Address.parse("192.0.2.1"): Claim(term=3),
        Address.parse("192.0.2.3"): Claim(term=2, apart=True),
        Address.parse("2001:db8::1"): Claim(term=4, offered=True),
    },
    probed=frozenset({Address.parse("192.0.2.2")}),
    helped={Address.parse("192.0.2.1"): "node-2"},
    links=(
        Link(
            name="eth0",
            mac=bytes.fromhex("020000000001"),
            subnets=(Subnet.parse("192.0.2.0/24"), Subnet.parse("2001:db8::/64")),
            addresses=(Address.parse("192.0.2.11"), Address.parse("2001:db8::11")),
            default_route=True,
        ),
        Link(name="eth1", mac=bytes.fromhex("020000000002"), lost=True),
        Link(name="eth2", mac=bytes.fromhex("020000000003"), cut_off=True, ipv6=False),
    ),
    hears=frozenset({"node-2", "node-3"}),
    lans={Subnet.parse("192.0.2.0/24"): frozenset({"node-2"}), Subnet.parse("2001:db8::/64"): frozenset()},
    booting=True,
)
GOLDEN = {
    1: (
        "414c424801010203000000000000000700000000000000060000000000000008000000000000000900000000000000010000"
        "00000000000400030002066e6f64652d310100f7000000000000000000000000000000010000000101000000580202000000"
        "0001040202657468300418c0000200104020010db800000000000000000000000004c000020b1020010db800000000000000"
        "000000001101020000000002040000657468310c02000000000304000065746832020000000e066e6f64652d32066e6f6465"
        "2d33030000000101040000000c04c0000201066e6f64652d3207000000210418c000020001066e6f64652d32104020010db8"
        "000000000000000000000000000500000018c000020100000003c000020280000000c000020320000002060000001420010d"
        "b8000000000000000000000001400000042de897744aca928c2e6bf7f42668a81c6bb7d03dd226f7067211d75b48c7c94b"
    ),
}
"""One heartbeat of each version of the format that was ever released, authenticated with `KEY`."""


@pytest.mark.parametrize("version", GOLDEN)
def test_the_bytes_of_every_released_version_are_read(version: int) -> None:
    heartbeat = Heartbeat.decode(bytes.fromhex(GOLDEN[version]), KEY)
    assert replace(heartbeat, chunks=()) == Heartbeat(
        sender="node-1",
        phase=Phase.SERVING,
        incarnation=7,
        challenge=6,
        echo=8,
        sequence=9,
        version=1,
        have=4,
        probe=True,
        hears=True,
        linked=3,
        side=2,
    )
    received = ReceivedState()
    assert [received.take(chunk) for chunk in heartbeat.chunks] == [True]
    assert received.state == GOLDEN_STATE


def test_what_is_written_is_the_present_version() -> None:
    assert Heartbeat.decode(bytes.fromhex(GOLDEN[VERSION]), KEY).encode(KEY).hex() == GOLDEN[VERSION]


def signed(body: bytes) -> bytes:
    return body + hmac.digest(KEY, body, hashlib.sha256)


def test_a_record_of_an_unknown_type_is_skipped() -> None:
    chunk = Chunk(base=0, version=1, index=0, count=1, data=b"data")
    body = replace(EXAMPLE, chunks=(chunk,)).encode(KEY)[:-32]
    extended = body + struct.pack("!BH", 200, 3) + b"new"
    assert Heartbeat.decode(signed(extended), KEY).chunks == (chunk,)


@pytest.mark.parametrize("tail", [b"\xc8", b"\xc8\x00\x05new", b"\x01\x00\x02ab"])
def test_a_record_that_is_cut_is_malformed(tail: bytes) -> None:
    with pytest.raises(MalformedHeartbeat):
        Heartbeat.decode(signed(EXAMPLE.encode(KEY)[:-32] + tail), KEY)


def test_another_version_of_the_format_is_told_from_a_forgery() -> None:
    body = bytearray(EXAMPLE.encode(KEY)[:-32])
    body[4] = 2
    with pytest.raises(MalformedHeartbeat, match="version 2"):
        Heartbeat.decode(signed(bytes(body)), KEY)

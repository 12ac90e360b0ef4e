"""Heartbeats as datagrams: only who has the key can write one."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from speaker.membership.heartbeat import (
    MAXIMUM_BYTES,
    ForgedHeartbeat,
    Heartbeat,
    MalformedHeartbeat,
    News,
    Phase,
    Tidings,
)
from speaker.membership.state_sync import CHUNK_BYTES, Chunk

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
    chunks=st.lists(chunks, max_size=1).map(tuple),
    news=st.lists(
        st.builds(News, about=st.text(max_size=15), tidings=st.sampled_from(Tidings), incarnation=numbers), max_size=1
    ).map(tuple),
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


@pytest.mark.parametrize("length", [0, 4, 80])
def test_a_cut_datagram_is_malformed(length: int) -> None:
    with pytest.raises(MalformedHeartbeat):
        Heartbeat.decode(EXAMPLE.encode(KEY)[:length], KEY)

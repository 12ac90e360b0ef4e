"""The lab's SPDY: what a peer sends, however it comes in pieces, and what it is sent."""

from __future__ import annotations

import struct
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.lab.spdy import DICTIONARY, Opened, Received, Spdy


def control(kind: int, payload: bytes, *, version: int = 3) -> bytes:
    return struct.pack(">HHI", 0x8000 | version, kind, len(payload)) + payload


class Peer:
    """Opens streams as kubectl does."""

    def __init__(self) -> None:
        self._deflate = zlib.compressobj(zdict=DICTIONARY)

    def open(self, stream: int, headers: dict[str, str]) -> bytes:
        words = [word.encode() for pair in headers.items() for word in pair]
        block = struct.pack(">I", len(headers)) + b"".join(struct.pack(">I", len(word)) + word for word in words)
        packed = self._deflate.compress(block) + self._deflate.flush(zlib.Z_SYNC_FLUSH)
        return control(1, struct.pack(">IIH", stream, 0, 0) + packed)


@given(st.lists(st.integers(min_value=1, max_value=9), min_size=1, max_size=30))
def test_frames_are_the_same_in_whatever_pieces_they_come(lengths: list[int]) -> None:
    peer, spdy = Peer(), Spdy()
    sent = (
        peer.open(1, {"streamtype": "error"})
        + peer.open(3, {"streamtype": "stdin", "other": "ä"})
        + control(4, bytes(12))
        + struct.pack(">II", 3, 5)
        + b"hello"
        + struct.pack(">II", 3, 1 << 24)
    )
    found: list[Opened | Received] = []
    at = 0
    while at < len(sent):
        length = lengths[at % len(lengths)]
        found += spdy.receive(sent[at : at + length])
        at += length
    assert found == [
        Opened(1, {"streamtype": "error"}),
        Opened(3, {"streamtype": "stdin", "other": "ä"}),
        Received(3, b"hello", last=False),
        Received(3, b"", last=True),
    ]


def test_a_ping_is_answered_as_it_came() -> None:
    spdy, ping = Spdy(), control(6, struct.pack(">I", 7))
    assert list(spdy.receive(ping)) == []
    assert spdy.answers == ping


def test_another_version_is_refused() -> None:
    with pytest.raises(ValueError, match="must be 3"):
        list(Spdy().receive(control(1, bytes(10), version=2)))


def test_replies_name_their_stream_and_carry_no_header() -> None:
    spdy, inflate = Spdy(), zlib.decompressobj(zdict=DICTIONARY)
    for stream in (1, 3):
        frame = spdy.reply(stream)
        assert frame[:4] == struct.pack(">HH", 0x8003, 2)
        assert int.from_bytes(frame[4:8], "big") == len(frame) - 8
        assert int.from_bytes(frame[8:12], "big") == stream
        assert inflate.decompress(frame[12:]) == bytes(4)


def test_what_is_written_names_its_stream_its_length_and_its_end() -> None:
    data = bytes(70000)
    assert Spdy.write(5, data) == struct.pack(">II", 5, len(data)) + data
    assert Spdy.write(5, b"", last=True) == struct.pack(">II", 5, 1 << 24)

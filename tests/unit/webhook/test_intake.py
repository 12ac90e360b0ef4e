"""What is read of a request before a thread has it."""

from __future__ import annotations

import ssl
from itertools import pairwise
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from webhook.app import BODY_LIMIT_BYTES
from webhook.intake import LINE_SECONDS, REQUEST_SECONDS, Intake, Progress, body_length, path_in


@pytest.mark.parametrize(
    ("line", "path"),
    [
        (b"POST /a/b HTTP/1.1\r", "/a/b"),
        (b"POST /a/b?timeout=3s&x=/c HTTP/1.1\r", "/a/b"),
        (b"POST /a/b HTTP/1.1", "/a/b"),
        (b"POST  /a/b HTTP/1.1\r", ""),
        (b"POST /a /b HTTP/1.1\r", ""),
        (b"POST /a/b\r", ""),
        (b"\x16\x03\x01", ""),
        (b"", ""),
    ],
)
def test_the_path_of_a_request_line(line: bytes, path: str) -> None:
    assert path_in(line) == path


@pytest.mark.parametrize(
    ("fields", "length"),
    [
        (b"", 0),
        (b"Content-Length: 12\r\n", 12),
        (b"content-length:12 \r\n", 12),
        (b"Host: x\r\nContent-Length: 12\r\nAccept: y\r\n", 12),
        (b"Content-Length: 12\r\nContent-Length: 13\r\n", 0),
        (b"Content-Length: -1\r\n", 0),
        (b"Content-Length: 1e3\r\n", 0),
        (b"Content-Length: " + b"9" * 5000 + b"\r\n", 0),
        (b"Content-Length: %d\r\n" % BODY_LIMIT_BYTES, BODY_LIMIT_BYTES),
        (b"Content-Length: %d\r\n" % (BODY_LIMIT_BYTES + 1), 0),
        (b"X-Content-Length: 12\r\n", 0),
        (b"Content-Length: 12\r\nTransfer-Encoding: chunked\r\n", 0),
        (b"Expect: 100-continue\r\nContent-Length: 12\r\n", 0),
    ],
)
def test_only_a_body_of_one_known_length_within_the_limit_is_waited_for(fields: bytes, length: int) -> None:
    assert body_length(b"POST /a HTTP/1.1\r\n" + fields) == length


@given(st.binary(max_size=300))
def test_whatever_comes_has_a_path_and_a_length(data: bytes) -> None:
    assert isinstance(path_in(data), str)
    assert 0 <= body_length(data) <= BODY_LIMIT_BYTES


class Script:
    """A socket from which these pieces come, one at each turn, and then nothing for now."""

    def __init__(self, *pieces: bytes) -> None:
        self.pieces = list(pieces)
        self.sent = b""
        self.now = 100.0

    def clock(self) -> float:
        return self.now

    def do_handshake(self) -> None:
        """Done at once."""

    def recv(self, _size: int) -> bytes:
        if not self.pieces:
            raise ssl.SSLWantReadError
        return self.pieces.pop(0)

    def send(self, data: bytes) -> int:
        self.sent += data
        return len(data)

    def intake(self, **options: Any) -> Intake:
        return Intake(
            cast(ssl.SSLSocket, self),
            handshaken=False,
            opens=lambda path: path == "/open",
            refusal=lambda: b"refused",
            clock=self.clock,
            **options,
        )


WHOLE = b"POST /open HTTP/1.1\r\nContent-Length: 5\r\n\r\nhello"


@given(st.lists(st.integers(0, len(WHOLE)), max_size=8).map(sorted))
def test_a_request_is_whole_when_its_last_byte_is_here_however_it_comes(cuts: list[int]) -> None:
    bounds = [0, *cuts, len(WHOLE)]
    pieces = [WHOLE[start:end] for start, end in pairwise(bounds) if start < end]
    script = Script()
    intake = script.intake()
    for piece in pieces[:-1]:
        script.pieces.append(piece)
        assert intake.advance() is Progress.READ
    script.pieces.append(pieces[-1])
    assert intake.advance() is Progress.WHOLE
    assert bytes(intake.received) == WHOLE


def test_a_path_that_opens_nothing_is_refused_at_its_line_and_the_rest_thrown_away() -> None:
    script = Script(b"POST /shut HTTP/1.1\r\n", b"Content-Length: 5\r\n\r\nhello")
    intake = script.intake()
    assert intake.advance() is Progress.READ
    assert (script.sent, intake.refused, intake.proven, len(intake.received)) == (b"refused", True, False, 0)


@pytest.mark.parametrize(
    "line", [b"POST /shut HTTP/1.1\r\n", b"POST /open HTTP/1.1\r\nContent-Length: 4000000\r\n\r\n"]
)
def test_who_sends_without_an_end_has_its_turn_like_everybody(line: bytes) -> None:
    script = Script(line, *[b"x" * 16 * 1024] * 100)
    intake = script.intake()
    turns = 0
    while script.pieces:
        assert intake.advance() is Progress.READ
        turns += 1
    assert turns >= 6


def test_the_line_has_its_deadline_and_the_request_another_and_no_byte_puts_them_off() -> None:
    script = Script(b"POST /op")
    intake = script.intake()
    intake.advance()
    assert intake.expires_at == 100.0 + LINE_SECONDS
    script.now += 1
    script.pieces.append(b"en HTTP/1.1\r\n")
    intake.advance()
    assert intake.expires_at == 100.0 + REQUEST_SECONDS
    script.now += 1
    script.pieces.append(b"Host: x\r\n")
    intake.advance()
    assert intake.expires_at == 100.0 + REQUEST_SECONDS


def test_a_connection_that_may_be_silent_has_its_deadlines_from_the_first_byte_on() -> None:
    script = Script()
    intake = script.intake(idle_seconds=75)
    assert intake.expires_at == 100.0 + LINE_SECONDS  # for the handshake
    intake.advance()
    assert intake.expires_at == 175.0
    script.now += 50
    script.pieces.append(b"POST /op")
    intake.advance()
    assert intake.expires_at == 150.0 + LINE_SECONDS
    script.now += 1
    script.pieces.append(b"e")
    intake.advance()
    assert intake.expires_at == 150.0 + LINE_SECONDS

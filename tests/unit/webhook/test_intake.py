"""What is read of a request before a thread has it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from webhook.app import BODY_LIMIT_BYTES
from webhook.intake import body_length, path_in


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

"""As much of SPDY/3.1 as a kubelet speaks: bytes of one connection <-> streams that are opened, filled and closed.

`kubectl exec` reaches a kubelet so. draft-mbelshe-httpbis-spdy-00, sections 2.2 (frames) and 2.6.10 (header blocks);
without flow control, which the peer (moby/spdystream) does not have either.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

_CONTROL = 0x8000_0000
_VERSION = 3
_SYN_STREAM, _SYN_REPLY, _PING = 1, 2, 6
_FIN = 1
_HEAD = struct.Struct(">IBBH")
"""A word, then flags and a length of 24 bits: of a control frame version and type, of a data frame the stream."""
_MOST_BYTES = (1 << 24) - 1

_WORDS = """\
options head post put delete trace accept accept-charset accept-encoding accept-language accept-ranges age allow \
authorization cache-control connection content-base content-encoding content-language content-length \
content-location content-md5 content-range content-type date etag expect expires from host if-match \
if-modified-since if-none-match if-range if-unmodified-since last-modified location max-forwards pragma \
proxy-authenticate proxy-authorization range referer retry-after server te trailer transfer-encoding upgrade \
user-agent vary via warning www-authenticate method get status 200_OK version HTTP/1.1 url public set-cookie \
keep-alive origin"""
_TEXT = (
    "100101201202205206300302303304305306307402405406407408409410411412413414415416417502504505"
    "203 Non-Authoritative Information204 No Content301 Moved Permanently400 Bad Request401 Unauthorized"
    "403 Forbidden404 Not Found500 Internal Server Error501 Not Implemented503 Service Unavailable"
    "Jan Feb Mar Apr May Jun Jul Aug Sept Oct Nov Dec 00:00:00 Mon, Tue, Wed, Thu, Fri, Sat, Sun, GMT"
    "chunked,text/html,image/png,image/jpg,image/gif,application/xml,application/xhtml+xml,text/plain,"
    "text/javascript,publicprivatemax-age=gzip,deflate,sdchcharset=utf-8charset=iso-8859-1,utf-,*,enq=0."
)
DICTIONARY = b"".join(
    len(word).to_bytes(4, "big") + word.replace("_", " ").encode() for word in _WORDS.split()
) + _TEXT.encode("ascii")
"""What both sides' compression of headers begins with (section 2.6.10.1)."""


@dataclass(frozen=True, slots=True)
class Opened:
    """The peer opened a stream and waits for `reply`."""

    stream: int
    headers: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Received:
    """The peer wrote into a stream; `last` says that it will write no more."""

    stream: int
    data: bytes
    last: bool


class Spdy:
    """The kubelet's side of one connection; used by one thread. What it returns as bytes is to be sent as it is."""

    def __init__(self) -> None:
        self._unread = bytearray()
        self._inflate = zlib.decompressobj(zdict=DICTIONARY)
        self._deflate = zlib.compressobj(zdict=DICTIONARY)
        self.answers = bytearray()
        """What has to be sent without anybody's asking; whoever sends it empties it."""

    def receive(self, data: bytes) -> Iterator[Opened | Received]:
        """Take in the next bytes of the connection and yield what they complete. Raises ValueError."""
        self._unread += data
        while len(self._unread) >= _HEAD.size:
            word, flags, high, low = _HEAD.unpack_from(self._unread)
            end = _HEAD.size + (high << 16 | low)
            if len(self._unread) < end:
                return
            frame = bytes(self._unread[:end])
            del self._unread[:end]
            payload = frame[_HEAD.size :]
            if not word & _CONTROL:
                yield Received(word, payload, bool(flags & _FIN))
                continue
            version, kind = (word & ~_CONTROL) >> 16, word & 0xFFFF
            if version != _VERSION:
                raise ValueError(f"SPDY version {version}: must be {_VERSION}")
            if kind == _SYN_STREAM:
                (stream,) = struct.unpack_from(">I", payload)
                yield Opened(stream, _headers(self._inflate.decompress(payload[10:])))
            elif kind == _PING:
                self.answers += frame

    def reply(self, stream: int) -> bytes:
        """Return the frame that accepts a stream."""
        block = self._deflate.compress(bytes(4)) + self._deflate.flush(zlib.Z_SYNC_FLUSH)
        payload = struct.pack(">I", stream) + block
        return _head(_CONTROL | _VERSION << 16 | _SYN_REPLY, 0, len(payload)) + payload

    @staticmethod
    def write(stream: int, data: bytes, *, last: bool = False) -> bytes:
        """Return the frame that writes into a stream; `last` closes it for us."""
        return _head(stream, _FIN if last else 0, len(data)) + data


def _head(word: int, flags: int, length: int) -> bytes:
    if length > _MOST_BYTES:
        raise ValueError(f"a frame of {length} bytes: {_MOST_BYTES} at most")
    return _HEAD.pack(word, flags, length >> 16, length & 0xFFFF)


def _headers(block: bytes) -> dict[str, str]:
    """Numbers of 32 bits: how many pairs, then the length of each name and of each value before it."""
    (count,) = struct.unpack_from(">I", block)
    at, words = 4, []
    for _ in range(2 * count):
        (length,) = struct.unpack_from(">I", block, at)
        words.append(block[at + 4 : at + 4 + length].decode())
        at += 4 + length
    return dict(zip(words[::2], words[1::2], strict=True))

"""Heartbeats on the wire: small datagrams that only holders of the speakers' key can write."""

from __future__ import annotations

import hashlib
import hmac
import struct
from dataclasses import dataclass
from enum import IntEnum
from struct import Struct

from speaker.membership.state_sync import Chunk

_MAGIC = b"ALB3"
_HEADER = Struct("!4sBBQQQQQQB")
_CHUNK = Struct("!BQQHHH")
_NEWS = Struct("!BQB")
_MAC_BYTES = 32
_IS_CHUNK = 1
_PROBE = 1
MAXIMUM_BYTES = 1232
"""What fits, with IPv6 and UDP headers, into the smallest packet every network carries whole."""
NEWS_BYTES = 800
"""How much news one heartbeat carries; chunks go one to a heartbeat, without news."""


class MalformedHeartbeat(ValueError):
    """A datagram that is not a heartbeat; the message says why."""


class ForgedHeartbeat(ValueError):
    """A heartbeat whose authentication code is not of our key: another cluster's, or nobody's."""


class Phase(IntEnum):
    """Where a speaker stands: only one that is serving can announce."""

    STARTING = 1
    SERVING = 2
    LEAVING = 3


class Tidings(IntEnum):
    """What one speaker tells another about a third."""

    SUSPECTED = 2
    """I do not hear it; do you?"""
    VOUCHED = 3
    """I hear it."""
    DEAD = 4
    """Nobody who should hears it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class News:
    """Tidings of a node, as long as it runs the process of this incarnation."""

    about: str
    tidings: Tidings
    incarnation: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Heartbeat:
    """One speaker's sign of life to one other speaker.

    `incarnation` is a random number of the sending process, and `sequence` grows with every heartbeat of it;
    `challenge` is a random number the receiver is to send back, `echo` the receiver's as the sender last heard it
    (0 before). Together they make a recorded heartbeat worthless.

    `version` is the sender's present statement, `have` the version of the receiver's that it has taken in, and
    `chunks` lead there. `probe` asks for a heartbeat in return at once, and for frequent ones from now on.
    """

    sender: str
    phase: Phase
    incarnation: int
    challenge: int
    echo: int
    sequence: int
    version: int = 0
    have: int = 0
    probe: bool = False
    chunks: tuple[Chunk, ...] = ()
    news: tuple[News, ...] = ()

    def encode(self, key: bytes) -> bytes:
        """Write the datagram, authenticated with HMAC-SHA256."""
        name = self.sender.encode()
        header = _HEADER.pack(
            _MAGIC,
            self.phase,
            _PROBE if self.probe else 0,
            self.incarnation,
            self.challenge,
            self.echo,
            self.sequence,
            self.version,
            self.have,
            len(name),
        )
        parts = [header, name]
        for news in self.news:
            about = news.about.encode()
            parts += [_NEWS.pack(news.tidings, news.incarnation, len(about)), about]
        for chunk in self.chunks:
            fields = (chunk.base, chunk.version, chunk.index, chunk.count, len(chunk.data))
            parts += [_CHUNK.pack(_IS_CHUNK, *fields), chunk.data]
        body = b"".join(parts)
        return body + hmac.digest(key, body, hashlib.sha256)

    @classmethod
    def decode(cls, datagram: bytes, key: bytes) -> Heartbeat:
        """Read a datagram, the authentication first. Raises MalformedHeartbeat, ForgedHeartbeat."""
        if not _HEADER.size + _MAC_BYTES <= len(datagram) <= MAXIMUM_BYTES or not datagram.startswith(_MAGIC):
            raise MalformedHeartbeat(f"{len(datagram)} bytes that are not a heartbeat")
        body, code = datagram[:-_MAC_BYTES], datagram[-_MAC_BYTES:]
        if not hmac.compare_digest(code, hmac.digest(key, body, hashlib.sha256)):
            raise ForgedHeartbeat("the authentication code is not of this cluster's key")
        try:
            return cls._read(body)
        except (ValueError, struct.error) as error:
            raise MalformedHeartbeat(f"an authentic heartbeat of another version: {error}") from None

    @classmethod
    def _read(cls, body: bytes) -> Heartbeat:
        _, phase, flags, incarnation, challenge, echo, sequence, version, have, length = _HEADER.unpack_from(body)
        at = _HEADER.size
        sender, at = _text(body, at, length)
        news: list[News] = []
        chunks: list[Chunk] = []
        while at < len(body):
            if body[at] == _IS_CHUNK:
                _, base, leads_to, index, count, size = _CHUNK.unpack_from(body, at)
                data, at = _bytes(body, at + _CHUNK.size, size)
                chunks.append(Chunk(base=base, version=leads_to, index=index, count=count, data=data))
            else:
                tidings, of, length = _NEWS.unpack_from(body, at)
                about, at = _text(body, at + _NEWS.size, length)
                news.append(News(about=about, tidings=Tidings(tidings), incarnation=of))
        return cls(
            sender=sender,
            phase=Phase(phase),
            incarnation=incarnation,
            challenge=challenge,
            echo=echo,
            sequence=sequence,
            version=version,
            have=have,
            probe=bool(flags & _PROBE),
            chunks=tuple(chunks),
            news=tuple(news),
        )


def _bytes(body: bytes, at: int, length: int) -> tuple[bytes, int]:
    end = at + length
    if end > len(body):
        raise ValueError("it ends too early")
    return body[at:end], end


def _text(body: bytes, at: int, length: int) -> tuple[str, int]:
    data, end = _bytes(body, at, length)
    return data.decode(), end

"""Heartbeats on the wire: small datagrams that only holders of the speakers' key can write.

A datagram is a header, records, and an authentication code. The header names the version of the format and the
highest version that its sender reads; a record has its type and length, and one of an unknown type is skipped. A
release may add records; what the header means changes with the version only. It writes the version of its predecessor
until all peers that are heard read its own.
"""

from __future__ import annotations

import hmac
import struct
from dataclasses import dataclass
from enum import IntEnum
from functools import lru_cache
from struct import Struct

from speaker.membership.state_sync import Chunk

VERSION = 1
"""Of the format. The first that is kept; there is no predecessor."""

_MAGIC = b"ALBH"
_HEADER = Struct("!4sBBBBQQQQQQHHB")
_RECORD = Struct("!BH")
_CHUNK = Struct("!QQHH")
_MAC_BYTES = 32
_IS_CHUNK = 1
_PROBE, _HEARS, _LAN = 1, 2, 4
_MOST = 2**16 - 1
MAXIMUM_BYTES = 1232
"""What fits, with IPv6 and UDP headers, into the smallest packet every network carries whole."""


class MalformedHeartbeat(ValueError):
    """A datagram that is not a heartbeat of a version that is read here; the message says why."""


class ForgedHeartbeat(ValueError):
    """A heartbeat whose authentication code is not of our key: another cluster's, or nobody's."""


class Phase(IntEnum):
    """Where a speaker is in its life: only one that is serving can announce."""

    STARTING = 1
    SERVING = 2
    LEAVING = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Heartbeat:
    """One speaker's sign of life to one other speaker.

    `incarnation` is a random number of the sending process, and `sequence` grows with every heartbeat of it;
    `challenge` is a random number the receiver is to send back, `echo` the receiver's as the sender last heard it
    (0 before). Together they make a recorded heartbeat worthless. `hears` says that the receiver's own heartbeats
    arrive: only then is hearing mutual. `linked` is how many nodes are on the sender's side now, itself included,
    `side` how many of those count (`side.Side`): here and not in the state, because who hears nobody sends no state.

    `version` is that of the sender's present state, `have` the version of the receiver's that it has taken in, and
    `chunks` lead there. One that counts for the `lan` it comes over is no sign of life otherwise: the regular ones
    are. `probe` asks for a heartbeat in return at once, and for frequent ones from now on. `reads` is the highest
    version of the format that the sender reads.
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
    hears: bool = False
    lan: bool = False
    linked: int = 0
    side: int = 0
    chunks: tuple[Chunk, ...] = ()
    reads: int = VERSION

    def encode(self, key: bytes) -> bytes:
        """Write the datagram, authenticated with HMAC-SHA256."""
        name = self.sender.encode()
        header = _HEADER.pack(
            _MAGIC,
            VERSION,
            self.reads,
            self.phase,
            (_PROBE if self.probe else 0) | (_HEARS if self.hears else 0) | (_LAN if self.lan else 0),
            self.incarnation,
            self.challenge,
            self.echo,
            self.sequence,
            self.version,
            self.have,
            min(self.linked, _MOST),
            min(self.side, _MOST),
            len(name),
        )
        parts = [header, name]
        for chunk in self.chunks:
            fields = _CHUNK.pack(chunk.base, chunk.version, chunk.index, chunk.count)
            parts += [_RECORD.pack(_IS_CHUNK, len(fields) + len(chunk.data)), fields, chunk.data]
        body = b"".join(parts)
        return body + _authentication(key, body)

    @classmethod
    def decode(cls, datagram: bytes, key: bytes) -> Heartbeat:
        """Read a datagram, the authentication first. Raises MalformedHeartbeat, ForgedHeartbeat."""
        if not _HEADER.size + _MAC_BYTES <= len(datagram) <= MAXIMUM_BYTES or not datagram.startswith(_MAGIC):
            raise MalformedHeartbeat(f"{len(datagram)} bytes that are not a heartbeat")
        body, code = datagram[:-_MAC_BYTES], datagram[-_MAC_BYTES:]
        if not hmac.compare_digest(code, _authentication(key, body)):
            raise ForgedHeartbeat("the authentication code is not of this cluster's key")
        if body[len(_MAGIC)] != VERSION:
            raise MalformedHeartbeat(f"version {body[len(_MAGIC)]} of the format; this release reads {VERSION}")
        try:
            return cls._read(body)
        except (ValueError, struct.error) as error:
            raise MalformedHeartbeat(f"an authentic heartbeat that cannot be read: {error}") from None

    @classmethod
    def _read(cls, body: bytes) -> Heartbeat:
        _, _, reads, phase, flags, *numbers, linked, side, length = _HEADER.unpack_from(body)
        incarnation, challenge, echo, sequence, version, have = numbers
        at = _HEADER.size
        name, at = _bytes(body, at, length)
        chunks: list[Chunk] = []
        while at < len(body):
            kind, size = _RECORD.unpack_from(body, at)
            data, at = _bytes(body, at + _RECORD.size, size)
            if kind == _IS_CHUNK:
                base, leads_to, index, count = _CHUNK.unpack_from(data)
                chunks.append(Chunk(base=base, version=leads_to, index=index, count=count, data=data[_CHUNK.size :]))
        return cls(
            sender=name.decode(),
            phase=Phase(phase),
            incarnation=incarnation,
            challenge=challenge,
            echo=echo,
            sequence=sequence,
            version=version,
            have=have,
            probe=bool(flags & _PROBE),
            hears=bool(flags & _HEARS),
            lan=bool(flags & _LAN),
            linked=linked,
            side=side,
            chunks=tuple(chunks),
            reads=reads,
        )


@lru_cache(maxsize=4)
def _authenticator(key: bytes) -> hmac.HMAC:
    return hmac.new(key, digestmod="sha256")


def _authentication(key: bytes, body: bytes) -> bytes:
    # Not hmac.digest: it lets go of the interpreter, and where other threads compute it comes back a whole switch
    # interval later, for every heartbeat.
    code = _authenticator(key).copy()
    code.update(body)
    return code.digest()


def _bytes(body: bytes, at: int, length: int) -> tuple[bytes, int]:
    end = at + length
    if end > len(body):
        raise ValueError("it ends too early")
    return body[at:end], end

"""Heartbeats on the wire: small datagrams that only holders of the speakers' key can write.

A datagram is a head, a body, and an authentication code. The head is that of every version: it names the version of
the format and the newest that the sender reads. In the body of version 1 a header is followed by records, each with
its type and length; one of an unknown type is skipped. A release may add records; anything else is another version.

A release reads its own version and that of its predecessor, and writes the predecessor's until all peers that are
heard read its own. `FORMATS` has both; a version goes once no release needs it any more.
"""

from __future__ import annotations

import hmac
import struct
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from enum import IntEnum
from functools import lru_cache
from struct import Struct

from speaker.membership.state_sync import Chunk

VERSION = 1
"""The newest version of the format. The first that is kept; there is no predecessor."""

_MAGIC = b"ALBH"
_HEAD = Struct("!4sBB")
_HEADER = Struct("!BBQQQQQQHHB")
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
    are. `probe` asks for a heartbeat in return at once, and for frequent ones from now on. It is written in version
    `format` of the format; `reads` is the newest that the sender reads.
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
    format: int = VERSION
    reads: int = VERSION

    def encode(self, key: bytes) -> bytes:
        """Write the datagram, authenticated with HMAC-SHA256."""
        body = _HEAD.pack(_MAGIC, self.format, self.reads) + FORMATS[self.format].write(self)
        return body + _authentication(key, body)

    @classmethod
    def decode(cls, datagram: bytes, key: bytes, *, newest: int = VERSION) -> Heartbeat:
        """Read a datagram, the authentication first; a release reads `newest` and its predecessor.

        Raises MalformedHeartbeat, ForgedHeartbeat.
        """
        if not _HEAD.size + _MAC_BYTES <= len(datagram) <= MAXIMUM_BYTES or not datagram.startswith(_MAGIC):
            raise MalformedHeartbeat(f"{len(datagram)} bytes that are not a heartbeat")
        body, code = datagram[:-_MAC_BYTES], datagram[-_MAC_BYTES:]
        if not hmac.compare_digest(code, _authentication(key, body)):
            raise ForgedHeartbeat("the authentication code is not of this cluster's key")
        _, version, reads = _HEAD.unpack_from(body)
        if version not in (newest, newest - 1) or version not in FORMATS:
            raise MalformedHeartbeat(
                f"version {version} of the format; this release reads {newest} and the one before"
            )
        try:
            return FORMATS[version].read(body[_HEAD.size :], reads)
        except (ValueError, struct.error) as error:
            raise MalformedHeartbeat(f"an authentic heartbeat that cannot be read: {error}") from None


def version_for(reader: int, heard: Iterable[int], *, newest: int = VERSION) -> int:
    """Return the version in which to write to a peer that reads `reader` (0 if that is not known).

    The newest, once that peer and all that are heard read it; else that of the predecessor, if there is one.
    """
    if min([reader, *heard]) >= newest or newest - 1 not in FORMATS:
        return newest
    return newest - 1


@dataclass(frozen=True, slots=True)
class Format:
    """How a version writes what comes after the head, and reads it, given what the sender `reads`.

    Reading raises ValueError, struct.error.
    """

    write: Callable[[Heartbeat], bytes]
    read: Callable[[bytes, int], Heartbeat]


def _write_1(heartbeat: Heartbeat) -> bytes:
    name = heartbeat.sender.encode()
    flags = (_PROBE if heartbeat.probe else 0) | (_HEARS if heartbeat.hears else 0) | (_LAN if heartbeat.lan else 0)
    header = _HEADER.pack(
        heartbeat.phase,
        flags,
        heartbeat.incarnation,
        heartbeat.challenge,
        heartbeat.echo,
        heartbeat.sequence,
        heartbeat.version,
        heartbeat.have,
        min(heartbeat.linked, _MOST),
        min(heartbeat.side, _MOST),
        len(name),
    )
    parts = [header, name]
    for chunk in heartbeat.chunks:
        fields = _CHUNK.pack(chunk.base, chunk.version, chunk.index, chunk.count)
        parts += [_RECORD.pack(_IS_CHUNK, len(fields) + len(chunk.data)), fields, chunk.data]
    return b"".join(parts)


def _read_1(body: bytes, reads: int) -> Heartbeat:
    phase, flags, *numbers, linked, side, length = _HEADER.unpack_from(body)
    incarnation, challenge, echo, sequence, version, have = numbers
    name, at = _bytes(body, _HEADER.size, length)
    chunks: list[Chunk] = []
    while at < len(body):
        kind, size = _RECORD.unpack_from(body, at)
        data, at = _bytes(body, at + _RECORD.size, size)
        if kind == _IS_CHUNK:
            base, leads_to, index, count = _CHUNK.unpack_from(data)
            chunks.append(Chunk(base=base, version=leads_to, index=index, count=count, data=data[_CHUNK.size :]))
    return Heartbeat(
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
        format=1,
        reads=reads,
    )


FORMATS = {1: Format(write=_write_1, read=_read_1)}
"""The versions that this release writes and reads."""


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

"""Heartbeats on the wire: small datagrams that only holders of the speakers' key can write."""

from __future__ import annotations

import hashlib
import hmac
from dataclasses import dataclass
from enum import IntEnum
from struct import Struct

_MAGIC = b"ALB1"
_HEADER = Struct("!4sBQQQQB")
_MAC_BYTES = 32
MAXIMUM_BYTES = _HEADER.size + 255 + _MAC_BYTES


class MalformedHeartbeat(ValueError):
    """A datagram that is not a heartbeat; the message says why."""


class ForgedHeartbeat(ValueError):
    """A heartbeat whose authentication code is not of our key: another cluster's, or nobody's."""


class Phase(IntEnum):
    """Where a speaker stands: only one that is serving can announce."""

    STARTING = 1
    SERVING = 2
    LEAVING = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Heartbeat:
    """One speaker's sign of life to one other speaker.

    `incarnation` is a random number of the sending process, and `sequence` grows with every heartbeat of it;
    `challenge` is a random number the receiver is to send back, `echo` the receiver's as the sender last heard it
    (0 before). Together they make a recorded heartbeat worthless.
    """

    sender: str
    phase: Phase
    incarnation: int
    challenge: int
    echo: int
    sequence: int

    def encode(self, key: bytes) -> bytes:
        """Write the datagram, authenticated with HMAC-SHA256."""
        name = self.sender.encode()
        header = _HEADER.pack(
            _MAGIC, self.phase, self.incarnation, self.challenge, self.echo, self.sequence, len(name)
        )
        body = header + name
        return body + hmac.digest(key, body, hashlib.sha256)

    @classmethod
    def decode(cls, datagram: bytes, key: bytes) -> Heartbeat:
        """Read a datagram, the authentication first. Raises MalformedHeartbeat, ForgedHeartbeat."""
        if not _HEADER.size + _MAC_BYTES <= len(datagram) <= MAXIMUM_BYTES or not datagram.startswith(_MAGIC):
            raise MalformedHeartbeat(f"{len(datagram)} bytes that are not a heartbeat")
        body, code = datagram[:-_MAC_BYTES], datagram[-_MAC_BYTES:]
        if not hmac.compare_digest(code, hmac.digest(key, body, hashlib.sha256)):
            raise ForgedHeartbeat("the authentication code is not of this cluster's key")
        _, phase, incarnation, challenge, echo, sequence, name_bytes = _HEADER.unpack_from(body)
        name = body[_HEADER.size :]
        if len(name) != name_bytes or phase not in tuple(Phase):
            raise MalformedHeartbeat("an authentic heartbeat of another version")
        try:
            sender = name.decode()
        except UnicodeDecodeError:
            raise MalformedHeartbeat("the sender's name is not UTF-8") from None
        return cls(
            sender=sender,
            phase=Phase(phase),
            incarnation=incarnation,
            challenge=challenge,
            echo=echo,
            sequence=sequence,
        )

"""Takes in one request without a thread: handshake, path, header and body, each as its bytes come.

Threads decide; they are few, and whoever sends a byte every few seconds must not hold one. A request is handed to a
thread when all of it is here, and refused at its first line if the path opens nothing.
"""

from __future__ import annotations

import re
import ssl
import time
from collections.abc import Callable
from enum import Enum

from webhook.app import BODY_LIMIT_BYTES

LINE_SECONDS = 2.0
"""From the connection to the end of its request line, the handshake included."""
REQUEST_SECONDS = 10.0
"""From the connection, or the first byte on one that is kept alive, to the last byte of the body."""
_PARTING_SECONDS = 1.0
_LINE_LIMIT_BYTES = 4096
_HEAD_LIMIT_BYTES = 32 * 1024
_READ_BYTES = 64 * 1024
_READS_A_TURN = 16
"""Of one connection before the others have theirs; of each read comes one TLS record, 16 KiB at most."""

_LENGTH = re.compile(rb"^content-length:[ \t]*([0-9]{1,18})[ \t]*\r?$", re.IGNORECASE | re.MULTILINE)
_UNSIZED = re.compile(rb"^(?:transfer-encoding|expect)[ \t]*:", re.IGNORECASE | re.MULTILINE)


class Progress(Enum):
    """Where a request is."""

    READ = "more has to come"
    WRITE = "the handshake has something to send"
    WHOLE = "a thread can take it from here"
    GONE = "the connection is to be closed"


class Intake:
    """One request on a non-blocking TLS socket; belongs to the thread that polls.

    `opens` judges a path; `refusal` returns what to send to whoever has none. A body of unknown length, or one that
    is too long, is left to the thread, where the socket's deadline bounds it. With `idle_seconds` a connection may be
    silent for so long after its handshake: API servers open some that they use later, or never.
    """

    def __init__(
        self,
        sock: ssl.SSLSocket,
        *,
        handshaken: bool,
        idle_seconds: float = 0.0,
        opens: Callable[[str], bool],
        refusal: Callable[[], bytes],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._sock = sock
        self._handshaken = handshaken
        self._opens = opens
        self._refusal = refusal
        self._clock = clock
        self._idle_until = clock() + idle_seconds
        self._head_ends: int | None = None
        self._needed = 0
        self._refused = False
        self.received = bytearray()
        self.proven = False
        """Whether the path that came opens a route."""
        self.path = ""
        """That path, empty before."""
        self.line_deadline = clock() + LINE_SECONDS
        self.deadline = clock() + REQUEST_SECONDS

    @property
    def expires_at(self) -> float:
        """When to give up, on the clock given."""
        if self.proven:
            return self.deadline
        if self._handshaken and not self.received and not self._refused:
            return max(self.line_deadline, self._idle_until)
        return self.line_deadline

    @property
    def refused(self) -> bool:
        """Whether the path that came opens nothing."""
        return self._refused

    def advance(self) -> Progress:
        """Take in what has come, without waiting for more, and no more than one turn's: who sends without an end
        must not keep the thread. What is left is in the kernel, whole records, so that the socket polls readable."""
        try:
            if not self._handshaken:
                self._sock.do_handshake()
                self._handshaken = True
            for _ in range(_READS_A_TURN):
                chunk = self._sock.recv(_READ_BYTES)
                if not chunk:
                    return Progress.GONE
                if self._refused:
                    continue
                if not self.received:
                    self._begin()
                self.received += chunk
                if (progress := self._look()) is not Progress.READ:
                    return progress
        except ssl.SSLWantReadError:
            return Progress.READ
        except ssl.SSLWantWriteError:
            return Progress.WRITE
        except (OSError, ValueError):
            return Progress.GONE
        return Progress.READ

    def _begin(self) -> None:
        """Let the time of the request run from its first byte where the connection was allowed to be silent."""
        now = self._clock()
        if now < self._idle_until:
            self.line_deadline, self.deadline = now + LINE_SECONDS, now + REQUEST_SECONDS

    def _look(self) -> Progress:
        if not self.proven:
            line, ended, _ = self.received.partition(b"\n")
            if not ended:
                return Progress.GONE if len(line) > _LINE_LIMIT_BYTES else Progress.READ
            path = path_in(bytes(line))
            if not self._opens(path):
                return self._refuse()
            self.proven, self.path = True, path
        if self._head_ends is None:
            end = self.received.find(b"\r\n\r\n")
            if end < 0:
                return Progress.GONE if len(self.received) > _HEAD_LIMIT_BYTES else Progress.READ
            self._head_ends = end + 4
            self._needed = self._head_ends + body_length(bytes(self.received[: end + 2]))
        return Progress.WHOLE if len(self.received) >= self._needed else Progress.READ

    def _refuse(self) -> Progress:
        """Send the refusal and read on for a moment: closed while the client sends, it would lose the answer."""
        self._refused = True
        self.received.clear()
        self.line_deadline = self._clock() + _PARTING_SECONDS
        self._sock.send(self._refusal())
        return Progress.READ


def path_in(request_line: bytes) -> str:
    """Return the path of a request line, empty where there is none that could be ours."""
    words = request_line.rstrip(b"\r").split(b" ")
    return words[1].partition(b"?")[0].decode("latin-1") if len(words) == 3 else ""


def body_length(head: bytes) -> int:
    """Return how long a body to wait for before a thread gets the request of this head (its last line ended)."""
    lengths = _LENGTH.findall(head)
    if _UNSIZED.search(head) or len(lengths) != 1:
        return 0
    length = int(lengths[0])
    return length if length <= BODY_LIMIT_BYTES else 0

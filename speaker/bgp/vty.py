"""One connection to the vty socket of an FRR daemon: one command, one answer.

FRR lib/vty.c: a command ends with a zero byte; the answer is text, three zero bytes and a status (lib/command.h). The
server takes one command at a time, so that each is sent after the answer to the one before it.
"""

from __future__ import annotations

import socket
import struct
import time
from contextlib import suppress
from dataclasses import dataclass
from enum import Enum
from pathlib import Path

ANSWER_SECONDS = 10.0
"""How long a whole command may take; a daemon that takes longer counts as gone."""

UNKNOWN_COMMAND = 2
_LATE = "the daemon did not answer in time"
_SUCCESS, _WARNING, _CONFIGURATION_FAILED = 0, 1, 13
_END = b"\0\0\0"
_PART_BYTES = 1 << 16
_LONGEST_COMMAND = 8000
"""FRR's VTY_BUFSIZ is 8,192."""
_MOST_ANSWER_BYTES = 1 << 27
_CREDENTIALS = struct.Struct("3i")


class VtyError(OSError):
    """The daemon is gone, does not answer in time, or answers what is no answer."""


class Judgement(Enum):
    """What an answer says of its command."""

    DONE = "done"
    UNSURE = "unsure"
    """Only the running configuration shows it: FRR reports failures as success, and successes as failure."""
    REFUSED = "refused"


@dataclass(frozen=True, slots=True)
class Reply:
    """What a daemon answers one command."""

    status: int
    text: str

    @property
    def judgement(self) -> Judgement:
        """Judge by status, then text: `% Failed to edit configuration.` comes with status 0, like mere remarks.

        A warning may have no text, where the command did nothing (`update-source` of an unnumbered neighbour).
        """
        if self.status == _SUCCESS:
            return Judgement.UNSURE if self.text.strip() else Judgement.DONE
        return Judgement.UNSURE if self.status in (_WARNING, _CONFIGURATION_FAILED) else Judgement.REFUSED

    def __str__(self) -> str:
        return f"{' '.join(self.text.split()) or 'no text'} (status {self.status})"


class Vty:
    """A connection in enable mode. Belongs to one thread; after a VtyError it is of no more use."""

    def __init__(self, path: Path, *, timeout_seconds: float = ANSWER_SECONDS) -> None:
        """Connect. Raises VtyError."""
        self._received = bytearray()
        try:
            self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
        except OSError as error:
            # No file is left to open: as passing as any other reason, and no reason for FRR's supervisor to end.
            raise VtyError(f"{path}: {error}") from error
        try:
            self._socket.settimeout(timeout_seconds)
            self._socket.connect(str(path))
            credentials = self._socket.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
            self.pid: int = _CREDENTIALS.unpack(credentials)[0]
            """The daemon's process id; 0 where it is in a PID namespace of its own."""
            self.run("enable", timeout_seconds=timeout_seconds)
        except OSError as error:
            self._socket.close()
            raise error if isinstance(error, VtyError) else VtyError(f"{path}: {error}") from error

    def fileno(self) -> int:
        """Return the socket, which is readable between commands only when the daemon is gone."""
        return self._socket.fileno()

    def close(self) -> None:
        """End the connection."""
        self._socket.close()

    @property
    def ended(self) -> bool:
        """Whether the daemon has closed the connection, or sent what no command asked for; asked between two."""
        with suppress(BlockingIOError):
            self._socket.setblocking(False)
            try:
                self._socket.recv(1, socket.MSG_PEEK)
            except BlockingIOError:
                raise
            except OSError:
                return True
            return True
        return False

    def run(self, command: str, *, timeout_seconds: float = ANSWER_SECONDS) -> Reply:
        """Send a command and return its answer. Raises VtyError, ValueError for what cannot be sent."""
        deadline = time.monotonic() + timeout_seconds
        return self._exchange(_bytes(command), deadline, 1)[0]

    def run_together(self, first: str, second: str, *, timeout_seconds: float = ANSWER_SECONDS) -> list[Reply]:
        """Send two commands at once, so that the daemon does nothing between them; return both answers.

        The server takes all of one read of 512 bytes before it goes on; it need not.
        """
        deadline = time.monotonic() + timeout_seconds
        return self._exchange(_bytes(first) + _bytes(second), deadline, 2)

    def _exchange(self, sent: bytes, deadline: float, answers: int) -> list[Reply]:
        try:
            self._send(sent, deadline)
            return [self._answer(deadline) for _ in range(answers)]
        except VtyError:
            raise
        except TimeoutError as error:
            raise VtyError(_LATE) from error
        except OSError as error:
            raise VtyError(str(error)) from error

    def _send(self, rest: bytes, deadline: float) -> None:
        while rest:
            self._wait_no_longer_than(deadline)
            rest = rest[self._socket.send(rest) :]

    def _answer(self, deadline: float) -> Reply:
        searched = 0
        while (end := self._received.find(_END, searched)) < 0 or len(self._received) < end + len(_END) + 1:
            searched = max(0, len(self._received) - len(_END))
            if len(self._received) > _MOST_ANSWER_BYTES:
                raise VtyError("the daemon's answer does not end")
            self._wait_no_longer_than(deadline)
            part = self._socket.recv(_PART_BYTES)
            if not part:
                raise VtyError("the daemon closed the connection")
            self._received += part
        text, status = bytes(self._received[:end]), self._received[end + len(_END)]
        del self._received[: end + len(_END) + 1]
        return Reply(status, text.decode(errors="replace"))

    def _wait_no_longer_than(self, deadline: float) -> None:
        left = deadline - time.monotonic()
        if left <= 0:
            raise VtyError(_LATE)
        self._socket.settimeout(left)


def _bytes(command: str) -> bytes:
    try:
        sent = command.encode()
    except UnicodeEncodeError:
        raise ValueError("a command that is no text cannot be sent") from None
    if len(sent) > _LONGEST_COMMAND or b"\0" in sent or b"\n" in sent:
        raise ValueError(f"a command of {len(sent)} bytes, or with a line break, cannot be sent")
    return sent + b"\0"

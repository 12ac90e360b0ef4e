"""One connection to the vty socket of an FRR daemon: one command, one answer.

FRR lib/vty.c: a command ends with a zero byte; the answer is text, three zero bytes and a status (lib/command.h).
"""

from __future__ import annotations

import socket
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

SUCCESS, WARNING = 0, 1
_END = b"\0\0\0"
_ANSWER_SECONDS = 10.0
_REMARKS = ("% Echo mode works correctly for IPv4",)
"""What begins as a refusal does and is none."""


@dataclass(frozen=True, slots=True)
class Reply:
    """What a daemon answers one command."""

    command: str
    status: int
    text: str

    @property
    def refused(self) -> bool:
        """Whether the answer says that the command had no effect: by its status, or by its text alone, as for a BFD
        profile's long name and for a large community with too large a number."""
        lines = (line.strip() for line in self.text.splitlines())
        complaints = [line for line in lines if line.startswith("%") and not line.startswith(_REMARKS)]
        return self.status not in (SUCCESS, WARNING) or bool(complaints)

    def __str__(self) -> str:
        return f"{self.command!r}: status {self.status}, {' '.join(self.text.split()) or 'no text'}"


class Vty:
    """A connection in enable mode; belongs to one thread."""

    def __init__(self, path: Path) -> None:
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.settimeout(_ANSWER_SECONDS)
        self._socket.connect(str(path))
        self._received = b""
        self.run("enable")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._socket.close()

    def run(self, command: str) -> Reply:
        """Send a command and return its answer. Raises OSError when the daemon is gone or does not answer."""
        self._socket.sendall(command.encode() + b"\0")
        while (end := self._received.find(_END)) < 0 or len(self._received) < end + 4:
            part = self._socket.recv(65536)
            if not part:
                raise ConnectionResetError(f"the daemon ended at {command!r}")
            self._received += part
        text, status = self._received[:end], self._received[end + 3]
        self._received = self._received[end + 4 :]
        return Reply(command, status, text.decode(errors="replace"))

    def configure(self, *commands: str) -> list[Reply]:
        """Run commands from the top of configuration mode, and return the answers up to the first refusal."""
        replies = [self.run("end"), self.run("configure terminal")]
        for command in commands:
            replies.append(self.run(command))
            if replies[-1].refused:
                break
        self.run("end")
        return replies

"""One daemon of FRR: its connection, and what it is configured with."""

from __future__ import annotations

import re
from pathlib import Path

from allocator.bgp.command import Command, Daemon
from allocator.bgp.frr_config import Config
from speaker.bgp.running_config import read
from speaker.bgp.vty import ANSWER_SECONDS, UNKNOWN_COMMAND, Reply, Vty

_CONNECT_SECONDS = 2.0
"""A daemon that hangs takes connections and answers nothing; the other one waits for as long."""

_READ_SECONDS = 60.0
"""10,000 prefixes take FRR 8.4 some seconds to print."""
_BFD_QUESTION_SECONDS = 1.0
"""How long a question may keep changes waiting: each scrape of metrics asks bfdd, which has little to print."""
_VERSION = re.compile(r"FRRouting (\S+)")


class Link:
    """A connection to a daemon. Belongs to one thread. Every method may raise VtyError, which is the end of it."""

    def __init__(self, daemon: Daemon, sockets: Path) -> None:
        self.daemon = daemon
        self._vty = Vty(sockets / f"{daemon}.vty", timeout_seconds=_CONNECT_SECONDS)
        self._context: tuple[str, ...] | None = None
        found = _VERSION.search(self._vty.run("show version").text)
        self.version = found.group(1) if found else "unknown"

    @property
    def pid(self) -> int:
        """The daemon's process id."""
        return self._vty.pid

    @property
    def ended(self) -> bool:
        """Whether the daemon has closed the connection."""
        return self._vty.ended

    def fileno(self) -> int:
        """Return the socket, readable between commands when the daemon is gone."""
        return self._vty.fileno()

    def close(self) -> None:
        """End the connection."""
        self._vty.close()

    def running_config(self) -> Config:
        """Read what the daemon is configured with."""
        self.leave()
        return read(self._vty.run("show running-config", timeout_seconds=_READ_SECONDS).text)

    def show(self, command: str) -> Reply:
        """Ask something outside of the configuration."""
        seconds = _BFD_QUESTION_SECONDS if self.daemon is Daemon.BFDD else ANSWER_SECONDS
        self.leave(timeout_seconds=seconds)
        return self._vty.run(command, timeout_seconds=seconds)

    def configure(self, command: Command) -> Reply:
        """Run a command in its context; where the context cannot be entered, return the answer to that.

        What cannot be sent as one command, such as a text with a line break, counts as unknown to FRR.
        """
        entered = self._enter(command.context)
        if entered is not None:
            return entered
        try:
            if command.also:
                return self._vty.run_together(command.text, command.also)[0]
            reply = self._vty.run(command.text)
        except ValueError as error:
            return Reply(UNKNOWN_COMMAND, str(error))
        if not command.context:
            # Commands of the top may enter a context.
            self._context = None
        return reply

    def leave(self, *, timeout_seconds: float = ANSWER_SECONDS) -> None:
        """Leave configuration mode, so that nobody who uses vtysh is in our way, or we in theirs."""
        if self._context != _OUTSIDE:
            self._vty.run("end", timeout_seconds=timeout_seconds)
            self._context = _OUTSIDE

    def _enter(self, context: tuple[str, ...]) -> Reply | None:
        if self._context == context:
            return None
        present = self._context
        if present is not None and present != _OUTSIDE and context[: len(present)] == present:
            missing = context[len(present) :]
        else:
            missing = ("end", "configure terminal", *context)
        self._context = None
        for line in missing:
            reply = self._vty.run(line)
            if reply.status > 1:
                return reply
        self._context = context
        return None


_OUTSIDE = ("",)

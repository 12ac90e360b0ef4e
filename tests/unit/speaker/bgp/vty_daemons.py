"""bgpd, bfdd and others as far as their vty sockets go: what they answer is set, what they are sent is kept."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from allocator.bgp.command import Daemon


@dataclass
class VtyDaemons:
    """Both daemons. An answer is text; of what `silent` names there is none for as long as it is named.

    What `refused` names is answered as a command that FRR does not know. At what `closing` names the connection ends.
    """

    sockets: Path
    answers: dict[str, str] = field(default_factory=dict)
    silent: set[str] = field(default_factory=set)
    refused: set[str] = field(default_factory=set)
    closing: set[str] = field(default_factory=set)
    commands: list[str] = field(default_factory=list)

    def start(self, stopping: threading.Event, *more: str) -> list[threading.Thread]:
        """Listen; each connection has a thread of its own."""
        threads = []
        for daemon in (*Daemon, *more):
            listener = socket.socket(socket.AF_UNIX)
            listener.bind(str(self.sockets / f"{daemon}.vty"))
            listener.listen()
            threads.append(threading.Thread(target=self._accept, args=(listener, stopping)))
            threads[-1].start()
        return threads

    def _accept(self, listener: socket.socket, stopping: threading.Event) -> None:
        listener.settimeout(0.05)
        serving = []
        with listener:
            while not stopping.is_set():
                try:
                    connection, _ = listener.accept()
                except TimeoutError:
                    continue
                serving.append(threading.Thread(target=self._serve, args=(connection, stopping)))
                serving[-1].start()
        for thread in serving:
            thread.join()

    def _serve(self, connection: socket.socket, stopping: threading.Event) -> None:
        connection.settimeout(0.05)
        received = b""
        with connection:
            while not stopping.is_set():
                try:
                    part = connection.recv(4096)
                except TimeoutError:
                    continue
                except OSError:
                    return
                if not part:
                    return
                *whole, received = (received + part).split(b"\0")
                for command in whole:
                    if command.decode() in self.closing:
                        return
                    self._answer(connection, command.decode(), stopping)

    def _answer(self, connection: socket.socket, command: str, stopping: threading.Event) -> None:
        self.commands.append(command)
        while command in self.silent and not stopping.is_set():
            time.sleep(0.01)
        try:
            status = b"\2" if command in self.refused else b"\0"
            connection.sendall(self.answers.get(command, "").encode() + b"\0\0\0" + status)
        except OSError:
            return


@contextmanager
def vty_daemons(sockets: Path, *more: str) -> Iterator[VtyDaemons]:
    """Run them, and more of these names, until the end of the block."""
    stopping = threading.Event()
    daemons = VtyDaemons(sockets)
    threads = daemons.start(stopping, *more)
    try:
        yield daemons
    finally:
        stopping.set()
        for thread in threads:
            thread.join()

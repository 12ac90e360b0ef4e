"""Servers that answer like no API server should, on real sockets."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import yaml

from allocator.kube.client import Cluster

Behaviour = Callable[[socket.socket, threading.Event], None]
"""What is done with one accepted connection, until the event says that the test is over."""


class Server:
    """Listens on a port of its own and treats every connection by the behaviour, each on its own thread."""

    def __init__(self, behaviour: Behaviour, address: str = "127.0.0.1") -> None:
        self._behaviour = behaviour
        self._listener = socket.create_server((address, 0))
        self.address = f"{address}:{self._listener.getsockname()[1]}"
        self.over = threading.Event()
        self._thread = threading.Thread(target=self._accept, name="api-server", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """End everything."""
        self.over.set()
        self._listener.close()

    def _accept(self) -> None:
        while not self.over.is_set():
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._treat, args=(connection,), name="api-connection", daemon=True).start()

    def _treat(self, connection: socket.socket) -> None:
        with connection, suppress(OSError):
            self._behaviour(connection, self.over)


@contextmanager
def serving(behaviour: Behaviour) -> Iterator[Server]:
    """A server for the length of the block."""
    server = Server(behaviour)
    try:
        yield server
    finally:
        server.stop()


def connect(address: str, folder: Path, *, timeout_seconds: float, scheme: str = "http") -> Cluster:
    """Connect as our programs do, by a kubeconfig."""
    config = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [
            {"name": "test", "cluster": {"server": f"{scheme}://{address}", "insecure-skip-tls-verify": True}}
        ],
        "users": [{"name": "test", "user": {}}],
        "contexts": [{"name": "test", "context": {"cluster": "test", "user": "test"}}],
        "current-context": "test",
    }
    path = folder / "kubeconfig"
    path.write_text(yaml.safe_dump(config))
    return Cluster.from_environment(str(path), timeout_seconds=timeout_seconds)


def read_request(connection: socket.socket) -> None:
    """Read one request to the end of its headers."""
    received = b""
    while b"\r\n\r\n" not in received:
        chunk = connection.recv(4096)
        if not chunk:
            raise ConnectionError("the client has gone")
        received += chunk


def drip(text: bytes, *, every_seconds: float = 0.05) -> Behaviour:
    """Answer with this, one byte at a time."""

    def behave(connection: socket.socket, over: threading.Event) -> None:
        read_request(connection)
        for byte in text:
            connection.sendall(bytes([byte]))
            if over.wait(every_seconds):
                return

    return behave


def stream(*chunks: bytes) -> Behaviour:
    """Begin the answer to a watch, send these events, and then nothing more."""

    def behave(connection: socket.socket, over: threading.Event) -> None:
        read_request(connection)
        connection.sendall(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        for chunk in chunks:
            connection.sendall(b"%x\r\n%b\r\n" % (len(chunk), chunk))
        over.wait(60)

    return behave

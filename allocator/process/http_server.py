"""A small HTTP server for ports that anybody may reach: probes, metrics, the status page.

One thread polls all connections, two make the answers that take time, and every connection has a deadline, so that
nobody who opens many, or sends or reads slowly, keeps others from being answered. The standard library's server
starts a thread for each connection, and waitress stops accepting at a number of connections that slow clients can
hold without end. One request a connection, GET and HEAD only; no body is read.
"""

from __future__ import annotations

import queue
import selectors
import socket
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from http import HTTPStatus
from urllib.parse import SplitResult, urlsplit

from allocator.process.connection_limits import PER_PEER, TOTAL, ConnectionLimits, peer_of
from allocator.process.logs import EventLog

log = EventLog("http")

REQUEST_SECONDS = 2.0
"""From the connection to the end of the request's header."""
ANSWER_SECONDS = 10.0
"""From then on until the answer is taken."""
_HEAD_LIMIT_BYTES = 8 * 1024
_WORKERS = 2
_QUEUE = TOTAL
_QUEUE_PER_PEER = PER_PEER
"""Requests of one peer that workers have or that wait for them, be its connection closed by then: a flood from one
host leaves room for others."""
_SWEEP_SECONDS = 0.25
_STOP_SECONDS = 5.0


@dataclass(frozen=True, slots=True)
class Response:
    """What to answer."""

    status: HTTPStatus
    body: bytes
    content_type: str = "text/plain; charset=utf-8"
    headers: Mapping[str, str] = field(default_factory=dict)


Answer = Callable[[SplitResult], Response]


@dataclass(eq=False, slots=True)
class _Connection:
    sock: socket.socket
    peer: str
    deadline: float
    received: bytearray = field(default_factory=bytearray)
    to_send: list[memoryview] | None = None
    """Header and body apart, so that answers with one body need its memory once, however slowly they are read."""
    with_body: bool = True
    asked: bool = False


class HttpServer:
    """Serves one port from threads of its own; `port` 0 takes a free one (see `.port`). Raises OSError if taken.

    `at_once` are paths whose answers need no waiting and no work to speak of: the polling thread gives them, however
    busy the others are. Connections belong to the polling thread; workers get a request and hand back bytes.
    """

    def __init__(
        self, name: str, port: int, answer: Answer, *, at_once: frozenset[str] = frozenset(), address: str = "::"
    ) -> None:
        self._answer = answer
        self._at_once = at_once
        self._listener = _listen(address, port)
        self._listener.setblocking(False)
        self.port = int(self._listener.getsockname()[1])
        self._poller = selectors.DefaultSelector()
        self._limits = ConnectionLimits()
        self._connections: set[_Connection] = set()
        self._sweep_at = 0.0
        self._given: Counter[str] = Counter()
        """Requests that workers have not answered yet, by peer; of connections that are gone, too."""
        self._requests: queue.Queue[tuple[_Connection, SplitResult] | None] = queue.Queue(_QUEUE)
        self._answers: queue.SimpleQueue[tuple[_Connection, Response]] = queue.SimpleQueue()
        self._wake_reader, self._wake_writer = socket.socketpair()
        self._wake_reader.setblocking(False)
        self._wake_writer.setblocking(False)
        self._stopping = threading.Event()
        self._threads = [
            threading.Thread(target=self._poll, name=name, daemon=True),
            *(
                threading.Thread(target=self._work, name=f"{name}-{number}", daemon=True)
                for number in range(_WORKERS)
            ),
        ]

    def start(self) -> None:
        """Begin answering."""
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """Stop answering and free the port."""
        self._stopping.set()
        self._wake()
        for _ in range(_WORKERS):
            with suppress(queue.Full):
                self._requests.put_nowait(None)
        for thread in self._threads:
            if thread.is_alive():
                thread.join(timeout=_STOP_SECONDS)
        for sock in (self._listener, self._wake_reader, self._wake_writer):
            sock.close()

    @property
    def alive(self) -> bool:
        """Whether every thread still runs."""
        return all(thread.is_alive() for thread in self._threads)

    def _poll(self) -> None:
        self._poller.register(self._listener, selectors.EVENT_READ)
        self._poller.register(self._wake_reader, selectors.EVENT_READ)
        while not self._stopping.is_set():
            for key, _ in self._poller.select(_SWEEP_SECONDS if self._connections else None):
                if key.fileobj is self._listener:
                    self._accept()
                elif key.fileobj is self._wake_reader:
                    self._take_answers()
                elif key.data in self._connections:
                    self._advance(key.data)
            self._sweep()
        for connection in list(self._connections):
            self._close(connection)
        self._poller.close()

    def _accept(self) -> None:
        try:
            sock, address, *_ = self._listener.accept()
        except OSError:
            return  # gone before it was taken, or no descriptor left until others are closed
        sock.setblocking(False)
        connection = _Connection(sock, peer_of(address[0]), time.monotonic() + REQUEST_SECONDS)
        evicted = self._limits.add(connection, address[0])
        if isinstance(evicted, _Connection):
            self._close(evicted)
        self._connections.add(connection)
        self._poller.register(sock, selectors.EVENT_READ, connection)

    def _advance(self, connection: _Connection) -> None:
        try:
            if connection.to_send is not None:
                self._send(connection, connection.to_send)
            elif chunk := connection.sock.recv(_HEAD_LIMIT_BYTES):
                self._receive(connection, chunk)
            else:
                self._close(connection)
        except BlockingIOError:
            return
        except OSError:
            self._close(connection)

    def _receive(self, connection: _Connection, chunk: bytes) -> None:
        if connection.asked:
            return  # whatever follows the header is thrown away
        connection.received += chunk
        head, ended, _ = connection.received.replace(b"\r\n", b"\n").partition(b"\n\n")
        if ended:
            connection.asked = True
            connection.deadline = time.monotonic() + ANSWER_SECONDS
            self._ask(connection, bytes(head.partition(b"\n")[0]))
        elif len(connection.received) > _HEAD_LIMIT_BYTES:
            self._close(connection)

    def _ask(self, connection: _Connection, request_line: bytes) -> None:
        words = request_line.decode("latin-1").split(" ")
        try:
            url = urlsplit(words[1])
        except (ValueError, IndexError):
            self._give(connection, _plain(HTTPStatus.BAD_REQUEST))
            return
        connection.with_body = words[0] != "HEAD"
        if words[0] not in ("GET", "HEAD"):
            self._give(connection, _plain(HTTPStatus.NOT_IMPLEMENTED))
        elif url.path in self._at_once:
            self._give(connection, self._answered(url))
        elif not self._hand_over(connection, url):
            self._give(connection, _plain(HTTPStatus.SERVICE_UNAVAILABLE))

    def _hand_over(self, connection: _Connection, url: SplitResult) -> bool:
        """Give a request to the workers; False where they, or its peer, have too many."""
        if self._given[connection.peer] >= _QUEUE_PER_PEER:
            return False
        try:
            self._requests.put_nowait((connection, url))
        except queue.Full:
            return False
        self._given[connection.peer] += 1
        return True

    def _answered(self, url: SplitResult) -> Response:
        try:
            return self._answer(url)
        except Exception:
            log.exception("answer.failed", path=url.path)
            return _plain(HTTPStatus.INTERNAL_SERVER_ERROR)

    def _work(self) -> None:
        while not self._stopping.is_set():
            request = self._requests.get()
            if request is None:
                return
            connection, url = request
            self._answers.put((connection, self._answered(url)))
            self._wake()

    def _wake(self) -> None:
        with suppress(OSError):  # full: it wakes up as it is
            self._wake_writer.send(b"\0")

    def _take_answers(self) -> None:
        with suppress(BlockingIOError):
            self._wake_reader.recv(4096)
        while not self._answers.empty():
            connection, answer = self._answers.get()
            self._given[connection.peer] -= 1
            if not self._given[connection.peer]:
                del self._given[connection.peer]
            if connection in self._connections:
                self._give(connection, answer)

    def _give(self, connection: _Connection, response: Response) -> None:
        connection.to_send = [memoryview(_head(response))]
        if connection.with_body and response.body:
            connection.to_send.append(memoryview(response.body))
        self._poller.modify(connection.sock, selectors.EVENT_WRITE, connection)

    def _send(self, connection: _Connection, rest: list[memoryview]) -> None:
        sent = connection.sock.sendmsg(rest)
        while rest and sent >= len(rest[0]):
            sent -= len(rest.pop(0))
        if rest:
            rest[0] = rest[0][sent:]
            return
        # Closed now, with something of the client's unread, it would be reset and the answer lost.
        connection.to_send = None
        connection.sock.shutdown(socket.SHUT_WR)
        self._poller.modify(connection.sock, selectors.EVENT_READ, connection)

    def _sweep(self) -> None:
        now = time.monotonic()
        if now < self._sweep_at:
            return
        self._sweep_at = now + _SWEEP_SECONDS
        for connection in [one for one in self._connections if one.deadline <= now]:
            self._close(connection)

    def _close(self, connection: _Connection) -> None:
        self._connections.discard(connection)
        self._limits.remove(connection)
        with suppress(KeyError, ValueError):
            self._poller.unregister(connection.sock)
        connection.sock.close()


def _plain(status: HTTPStatus) -> Response:
    return Response(status, status.phrase.lower().encode() + b"\n")


def _head(response: Response) -> bytes:
    fields = {
        "Server": "AdmitLB",
        "Connection": "close",
        "Content-Type": response.content_type,
        "Content-Length": str(len(response.body)),
        **response.headers,
    }
    head = "".join(f"{name}: {value}\r\n" for name, value in fields.items())
    start = f"HTTP/1.1 {response.status.value} {response.status.phrase}\r\n"
    return f"{start}{head}\r\n".encode("latin-1")


def _listen(address: str, port: int) -> socket.socket:
    """Bind a port, for both families where the kernel has them. Raises OSError."""
    if ":" not in address:
        return socket.create_server((address, port), backlog=128)
    try:
        return socket.create_server((address, port), family=socket.AF_INET6, dualstack_ipv6=True, backlog=128)
    except OSError:
        # A kernel without IPv6 has no [::] to bind.
        return socket.create_server(("0.0.0.0", port), backlog=128)  # noqa: S104

"""gunicorn's gthread worker, whose threads get requests only when they are all here: see `intake`."""

from __future__ import annotations

import errno
import json
import selectors
import socket
import ssl
import time
from abc import ABC, abstractmethod
from contextlib import suppress
from functools import partial
from http import HTTPStatus
from typing import Any

from gunicorn import http
from gunicorn.workers.gthread import TConn, ThreadWorker
from prometheus_client import Counter

from allocator.process.connection_limits import ConnectionLimits
from webhook.intake import Intake, Progress

REFUSED = Counter(
    "admitlb_webhook_connections_refused",
    "Connections closed before a thread saw them: without a token, too slow, or too many at once.",
    ["reason"],
)
for _reason in ("path", "slow", "limit"):
    REFUSED.labels(_reason)

_SWEEP_SECONDS = 0.25
_EVENTS = {Progress.READ: selectors.EVENT_READ, Progress.WRITE: selectors.EVENT_WRITE}


def _refusal(status: HTTPStatus, message: str) -> bytes:
    document = {"kind": "Status", "apiVersion": "v1", "status": "Failure", "code": status, "message": message}
    body = json.dumps(document).encode()
    head = (
        f"HTTP/1.1 {status.value} {status.phrase}\r\nConnection: close\r\nContent-Type: application/json\r\n"
        f"Content-Length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


FORBIDDEN = _refusal(HTTPStatus.FORBIDDEN, "the path has no valid token; only the API server is answered here")
NOT_YET = _refusal(HTTPStatus.SERVICE_UNAVAILABLE, "the webhook does not know the tokens of its paths yet")


class PatientWorker(ThreadWorker, ABC):  # type: ignore[misc]
    """Polls connections until a request is whole. `_intakes` and `_limits` belong to the polling thread."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._intakes: dict[Any, Intake] = {}
        self._limits = ConnectionLimits()
        self._sweep_at = 0.0

    @abstractmethod
    def tls_context(self) -> ssl.SSLContext:
        """Return the context of the next handshake. Raises OSError while there is none yet."""

    @abstractmethod
    def opens(self, path: str) -> bool:
        """Whether a request may go on by this path."""

    @abstractmethod
    def identifies(self, path: str) -> bool:
        """Whether only an API server knows this path, which opens."""

    @abstractmethod
    def refusal(self) -> bytes:
        """Return the whole answer to a request that may not."""

    def accept(self, listener: socket.socket) -> None:
        """Take a connection in; whoever waits longest without a path makes room for it."""
        try:
            client, address = listener.accept()
        except OSError as error:
            if error.errno not in (errno.EAGAIN, errno.ECONNABORTED, errno.EWOULDBLOCK):
                raise
            return
        self.nr_conns += 1
        conn = TConn(self.cfg, client, address, listener.getsockname())
        try:
            conn.sock = self.tls_context().wrap_socket(client, server_side=True, do_handshake_on_connect=False)
            conn.sock.setblocking(False)
        except (OSError, ValueError):
            self._close(conn)
            return
        # What gunicorn's `init` would do on a thread.
        conn.initialized = True
        conn.parser = http.get_parser(self.cfg, conn.sock, conn.client)
        evicted = self._limits.add(conn, address[0])
        if evicted is not None:
            REFUSED.labels("limit").inc()
            self._drop(evicted)
        self._begin(conn, handshaken=False)

    def on_client_socket_readable(self, conn: Any, client: Any) -> None:
        """Take in the next request of a connection that was kept alive."""
        self.poller.unregister(client)
        self.keepalived_conns.remove(conn)
        self._begin(conn, handshaken=True)

    def wait_for_and_dispatch_events(self, timeout: float) -> None:
        """Wait for events, but not past the next deadline by much."""
        super().wait_for_and_dispatch_events(min(timeout, _SWEEP_SECONDS) if self._intakes else timeout)

    def murder_pending(self) -> None:
        """Close what did not come in time."""
        super().murder_pending()
        now = time.monotonic()
        if now < self._sweep_at:
            return
        self._sweep_at = now + _SWEEP_SECONDS
        for conn, intake in list(self._intakes.items()):
            if intake.expires_at <= now:
                if not intake.refused:
                    REFUSED.labels("slow").inc()
                self._unregister(conn)
                self._drop(conn)

    def _begin(self, conn: Any, *, handshaken: bool) -> None:
        known = self._limits.knows(conn.client[0])
        self._intakes[conn] = Intake(
            conn.sock,
            handshaken=handshaken,
            idle_seconds=self.cfg.keepalive if known and not handshaken else 0.0,
            opens=self.opens,
            refusal=self.refusal,
        )
        self._advance(conn)

    def _advance(self, conn: Any) -> None:
        intake = self._intakes[conn]
        was_refused = intake.refused
        progress = intake.advance()
        if intake.refused and not was_refused:
            REFUSED.labels("path").inc()
        if intake.proven and self.identifies(intake.path):
            self._limits.remove(conn)
            self._limits.know(conn.client[0])
        if progress is Progress.GONE:
            self._drop(conn)
        elif progress is Progress.WHOLE:
            del self._intakes[conn]
            # Also of whoever came by the path that everybody knows during an upgrade: its bytes were bounded so far.
            self._limits.remove(conn)
            conn.sock.deadline = intake.deadline
            conn.sock.received_at = time.monotonic()
            conn.parser.unreader.unread(bytes(intake.received))
            self.enqueue_req(conn)
        else:
            self.poller.register(conn.sock, _EVENTS[progress], partial(self._on_ready, conn))

    def _on_ready(self, conn: Any, _socket: Any) -> None:
        if conn not in self._intakes:
            return  # made room for another while its event was on the way
        self._unregister(conn)
        self._advance(conn)

    def _drop(self, conn: Any) -> None:
        self._unregister(conn)
        self._intakes.pop(conn, None)
        self._limits.remove(conn)
        self._close(conn)

    def _unregister(self, conn: Any) -> None:
        with suppress(KeyError, ValueError):
            self.poller.unregister(conn.sock)

    def _close(self, conn: Any) -> None:
        self.nr_conns -= 1
        conn.close()

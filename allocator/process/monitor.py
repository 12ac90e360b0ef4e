"""The plain-HTTP port of a component: /healthz, /readyz and /metrics."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from prometheus_client import CONTENT_TYPE_LATEST, REGISTRY, generate_latest

Reasons = Callable[[], list[str]]
"""Tells why not: an empty list means yes."""

_CLIENT_TIMEOUT_SECONDS = 5


class Monitor:
    """Serves probes and metrics from threads of its own; `port` 0 takes a free one (see `.port`)."""

    def __init__(self, port: int, *, ready: Reasons = list, healthy: Reasons = list, address: str = "::") -> None:
        self._server = listen(address, port, _handler(ready=ready, healthy=healthy))
        self.port = int(self._server.server_address[1])
        self._thread = threading.Thread(target=self._server.serve_forever, name="monitor", daemon=True)

    def start(self) -> None:
        """Begin answering."""
        self._thread.start()

    def stop(self) -> None:
        """Stop answering and free the port."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(timeout=5)

    @property
    def alive(self) -> bool:
        """Whether the serving thread still runs."""
        return self._thread.is_alive()


def listen(address: str, port: int, handler: type[BaseHTTPRequestHandler]) -> ThreadingHTTPServer:
    """Bind an HTTP server to a port, for both families where the kernel has them. Raises OSError."""
    try:
        server: ThreadingHTTPServer = _DualStackServer((address, port), handler)
    except OSError:
        # A kernel without IPv6 has no [::] to bind.
        server = ThreadingHTTPServer(("0.0.0.0", port), handler)  # noqa: S104
    server.daemon_threads = True
    return server


class _DualStackServer(ThreadingHTTPServer):
    address_family = socket.AF_INET6

    def server_bind(self) -> None:
        self.socket.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        super().server_bind()


def _handler(*, ready: Reasons, healthy: Reasons) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        timeout = _CLIENT_TIMEOUT_SECONDS

        def do_GET(self) -> None:
            if self.path == "/metrics":
                self._answer(HTTPStatus.OK, generate_latest(REGISTRY), CONTENT_TYPE_LATEST)
            elif self.path in ("/healthz", "/readyz"):
                reasons = (ready if self.path == "/readyz" else healthy)()
                status = HTTPStatus.SERVICE_UNAVAILABLE if reasons else HTTPStatus.OK
                self._answer(status, ("\n".join(reasons) or "ok").encode() + b"\n")
            else:
                self._answer(HTTPStatus.NOT_FOUND, b"not found\n")

        def _answer(self, status: HTTPStatus, body: bytes, content_type: str = "text/plain; charset=utf-8") -> None:
            self.send_response(status)
            self.send_header("Content-Type", content_type)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:
            """Probes come every few seconds; an idle component stays silent."""

    return Handler

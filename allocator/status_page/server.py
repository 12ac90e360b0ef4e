"""Serves the status page over plain HTTP: read-only, without a script, under a policy that lets nothing else in."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler
from typing import Final
from urllib.parse import parse_qs, urlsplit

from allocator.process.logs import EventLog
from allocator.process.monitor import listen
from allocator.status_page.html import STYLE_HASH, render
from allocator.status_page.picture import Picture

log = EventLog("status-page")

HEADERS: Final = {
    "Content-Security-Policy": (
        f"default-src 'none'; style-src 'sha256-{STYLE_HASH}'; form-action 'self'; base-uri 'none'; "
        "frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-store",
}

_CLIENT_TIMEOUT_SECONDS = 5
_FRESH_SECONDS = 1.0
_LONGEST_FILTER = 200


class StatusPage:
    """Serves one page from threads of its own; `port` 0 takes a free one (see `.port`).

    `_lock` owns `_picture` and `_taken`: however many readers ask, the picture is put together once a second.
    """

    def __init__(self, port: int, picture: Callable[[], Picture], *, address: str = "::") -> None:
        self._source = picture
        self._lock = threading.Lock()
        self._picture: Picture | None = None
        self._taken = 0.0
        self._server = listen(address, port, _handler(self.page))
        self.port = int(self._server.server_address[1])
        self._thread = threading.Thread(target=self._server.serve_forever, name="status-page", daemon=True)

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

    def page(self, wanted: str) -> bytes:
        """Return the page, filtered by `wanted`, from a picture no older than a second."""
        with self._lock:
            if self._picture is None or time.monotonic() - self._taken >= _FRESH_SECONDS:
                self._picture = self._source()
                self._taken = time.monotonic()
            picture = self._picture
        return render(picture, wanted=wanted).encode()


def _handler(page: Callable[[str], bytes]) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        timeout = _CLIENT_TIMEOUT_SECONDS
        server_version, sys_version = "AdmitLB", ""

        def do_GET(self) -> None:
            self._serve(with_body=True)

        def do_HEAD(self) -> None:
            self._serve(with_body=False)

        def _serve(self, *, with_body: bool) -> None:
            parts = urlsplit(self.path)
            if parts.path != "/":
                self._answer(HTTPStatus.NOT_FOUND, b"not found\n", "text/plain", with_body=with_body)
                return
            wanted = parse_qs(parts.query).get("q", [""])[0].strip()[:_LONGEST_FILTER]
            try:
                body = page(wanted)
            except Exception:
                log.exception("page.failed")
                self._answer(HTTPStatus.INTERNAL_SERVER_ERROR, b"see the log\n", "text/plain", with_body=with_body)
                return
            self._answer(HTTPStatus.OK, body, "text/html", with_body=with_body)

        def _answer(self, status: HTTPStatus, body: bytes, content_type: str, *, with_body: bool) -> None:
            self.send_response(status)
            self.send_header("Content-Type", f"{content_type}; charset=utf-8")
            self.send_header("Content-Length", str(len(body)))
            for name, value in HEADERS.items():
                self.send_header(name, value)
            self.end_headers()
            if with_body:
                self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:
            """A page that is looked at is no change of state."""

    return Handler

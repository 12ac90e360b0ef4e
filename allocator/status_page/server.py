"""Serves the status page over plain HTTP: read-only, without a script, under a policy that lets nothing else in."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from http import HTTPStatus
from typing import Final
from urllib.parse import SplitResult, parse_qs

from allocator.process.http_server import HttpServer, Response
from allocator.status_page.html import render
from allocator.status_page.picture import Picture
from allocator.status_page.style import STYLE_HASH

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

_FRESH_SECONDS = 1.0
_LONGEST_FILTER = 200


class StatusPage(HttpServer):
    """Serves one page.

    `_lock` owns `_picture` and `_taken`: however many readers ask, the picture is put together once a second.
    """

    def __init__(self, port: int, picture: Callable[[], Picture], *, address: str = "::") -> None:
        self._source = picture
        self._lock = threading.Lock()
        self._picture: Picture | None = None
        self._taken = 0.0
        super().__init__("status-page", port, self.response, address=address)

    def page(self, wanted: str, *, reload: bool = False) -> bytes:
        """Return the page, filtered by `wanted`, from a picture no older than a second."""
        with self._lock:
            if self._picture is None or time.monotonic() - self._taken >= _FRESH_SECONDS:
                self._picture = self._source()
                self._taken = time.monotonic()
            picture = self._picture
        return render(picture, wanted=wanted, reload=reload).encode()

    def response(self, url: SplitResult) -> Response:
        """Answer one request."""
        if url.path != "/":
            return Response(HTTPStatus.NOT_FOUND, b"not found\n", headers=HEADERS)
        query = parse_qs(url.query, keep_blank_values=True)
        wanted = query.get("q", [""])[0].strip()[:_LONGEST_FILTER]
        page = self.page(wanted, reload="reload" in query)
        return Response(HTTPStatus.OK, page, "text/html; charset=utf-8", HEADERS)

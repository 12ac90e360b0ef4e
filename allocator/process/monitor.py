"""The plain-HTTP port of a component: /healthz, /readyz and /metrics."""

from __future__ import annotations

from collections.abc import Callable
from http import HTTPStatus
from urllib.parse import SplitResult

from prometheus_client import CONTENT_TYPE_LATEST, REGISTRY, generate_latest

from allocator.process.http_server import HttpServer, Response

Reasons = Callable[[], list[str]]
"""Says why not: an empty list means yes. Must not wait for anything: probes are answered by the polling thread."""

_PROBES = frozenset({"/healthz", "/readyz"})


class Monitor:
    """Serves probes and metrics from threads of its own; `port` 0 takes a free one (see `.port`)."""

    def __init__(self, port: int, *, ready: Reasons = list, healthy: Reasons = list, address: str = "::") -> None:
        self._probes = {"/readyz": ready, "/healthz": healthy}
        self._server = HttpServer("monitor", port, self._answer, at_once=_PROBES, address=address)
        self.port = self._server.port

    def start(self) -> None:
        """Begin answering."""
        self._server.start()

    def stop(self) -> None:
        """Stop answering and free the port."""
        self._server.stop()

    @property
    def alive(self) -> bool:
        """Whether every serving thread still runs."""
        return self._server.alive

    def _answer(self, url: SplitResult) -> Response:
        if url.path == "/metrics":
            return Response(HTTPStatus.OK, generate_latest(REGISTRY), CONTENT_TYPE_LATEST)
        reasons_of = self._probes.get(url.path)
        if reasons_of is None:
            return Response(HTTPStatus.NOT_FOUND, b"not found\n")
        reasons = reasons_of()
        status = HTTPStatus.SERVICE_UNAVAILABLE if reasons else HTTPStatus.OK
        return Response(status, ("\n".join(reasons) or "ok").encode() + b"\n")

"""The plain-HTTP port of a component: /healthz, /readyz and /metrics."""

from __future__ import annotations

from collections.abc import Callable
from http import HTTPStatus
from urllib.parse import SplitResult

from prometheus_client import CONTENT_TYPE_LATEST, REGISTRY, CollectorRegistry, generate_latest

from allocator.process.http_server import HttpServer, Response

Reasons = Callable[[], list[str]]
"""Says why not: an empty list means yes. Must not wait for anything: probes are answered by the polling thread."""

_PROBES = frozenset({"/healthz", "/readyz"})


class Monitor(HttpServer):
    """Serves probes and metrics; `ready` and `healthy` are asked by the polling thread."""

    def __init__(
        self,
        port: int,
        *,
        ready: Reasons = list,
        healthy: Reasons = list,
        address: str = "::",
        registry: CollectorRegistry = REGISTRY,
        name: str = "monitor",
    ) -> None:
        self._probes = {"/readyz": ready, "/healthz": healthy}
        self._registry = registry
        super().__init__(name, port, self.response, at_once=_PROBES, address=address)

    def response(self, url: SplitResult) -> Response:
        """Answer one request."""
        if url.path == "/metrics":
            return Response(HTTPStatus.OK, generate_latest(self._registry), CONTENT_TYPE_LATEST)
        reasons_of = self._probes.get(url.path)
        if reasons_of is None:
            return Response(HTTPStatus.NOT_FOUND, b"not found\n")
        reasons = reasons_of()
        status = HTTPStatus.SERVICE_UNAVAILABLE if reasons else HTTPStatus.OK
        return Response(status, ("\n".join(reasons) or "ok").encode() + b"\n")

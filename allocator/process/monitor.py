"""The plain-HTTP port of a component: /healthz, /readyz and /metrics."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from http import HTTPStatus
from urllib.parse import SplitResult

from prometheus_client import CONTENT_TYPE_LATEST, REGISTRY, CollectorRegistry, generate_latest

from allocator.process.http_server import HttpServer, Response

Reasons = Callable[[], list[str]]
"""Says why not: an empty list means yes. Must not wait for anything: probes are answered by the polling thread."""

_PROBES = frozenset({"/healthz", "/readyz"})

_SHARED_FOR = 4
"""For how many times the time that it took to make an answer is given again: whoever asks without pause costs a fifth
of a processor, and slow readers share its memory. 10,000 announced Services are 2 MB of text."""
_SHARED_SECONDS = 2.0
"""At most, however long somebody else kept it from being made."""


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
        self._metrics = _SharedMetrics(registry)
        super().__init__(name, port, self.response, at_once=_PROBES, address=address)

    def response(self, url: SplitResult) -> Response:
        """Answer one request."""
        if url.path == "/metrics":
            return Response(HTTPStatus.OK, self._metrics.text(), CONTENT_TYPE_LATEST)
        reasons_of = self._probes.get(url.path)
        if reasons_of is None:
            return Response(HTTPStatus.NOT_FOUND, b"not found\n")
        reasons = reasons_of()
        status = HTTPStatus.SERVICE_UNAVAILABLE if reasons else HTTPStatus.OK
        return Response(status, ("\n".join(reasons) or "ok").encode() + b"\n")


class _SharedMetrics:
    """The text of a registry's metrics. `_lock` guards the rest, and one worker makes it while others wait."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._registry = registry
        self._lock = threading.Lock()
        self._text = b""
        self._until = 0.0

    def text(self) -> bytes:
        """Return the metrics as they are, or as they were a moment ago for somebody else."""
        with self._lock:
            began = time.monotonic()
            if began >= self._until:
                self._text = generate_latest(self._registry)
                ended = time.monotonic()
                self._until = ended + min(_SHARED_FOR * (ended - began), _SHARED_SECONDS)
            return self._text

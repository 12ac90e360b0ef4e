"""`python -m tests.cluster.serving_program PORT DIRECTORY`: the webhook's server around a component of no content.

The component makes its own certificate and leaves its authority's in DIRECTORY/ca.crt. A file DIRECTORY/casualty
stands for a dead thread. Reviews go to the path of ROUTE with a token of SECRET.
"""

from __future__ import annotations

import ssl
import sys
import time
from datetime import UTC, datetime
from pathlib import Path

from flask import Flask

from allocator.process import logs
from webhook import intake, tls
from webhook.app import create_app
from webhook.certificates import mend
from webhook.gate import Gate
from webhook.path_token import PathSecrets
from webhook.review import AdmissionRequest, Answer
from webhook.serving import listen, serve
from webhook.tls import ServingContext

SERVER_NAME = "webhook.test"
ROUTE = "/review"
BARE = "/bare"
"""A route that is answered without a token as well, as during an upgrade."""
SECRET = b"s" * 64
CLIENT_SECONDS = 1.0
REQUEST_SECONDS = 5.0
"""Half of what the webhook has: tests wait for it."""
DRAIN_SECONDS = 2.0
SLOW = "slow"
"""Objects of this name take SLOW_SECONDS to review; every answer warns of how long its review waited for a thread."""
SLOW_SECONDS = 0.7


class Nothing:
    """Admits everything."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._gate = Gate(settle_seconds=1.0, routes=[ROUTE, "/other", BARE])
        self._gate.answer_bare([BARE])
        self._gate.use(PathSecrets(SECRET, datetime.now(UTC)))
        self._tls = ServingContext()

    def app(self) -> Flask:
        return create_app({ROUTE: self._answer, BARE: self._answer})

    def start(self) -> None:
        credentials, _ = mend({}, dns_names=(SERVER_NAME,), now=datetime.now(UTC))
        self._tls.use(credentials.serving)
        (self._directory / "ca.crt").write_bytes(credentials.ca_bundle)

    def dead_threads(self) -> list[str]:
        return ["thread-of-the-test"] if (self._directory / "casualty").exists() else []

    def drain(self) -> None:
        (self._directory / "draining").touch()

    def stop(self) -> None:
        (self._directory / "stopped").touch()

    def tls_context(self) -> ssl.SSLContext:
        return self._tls.current()

    has_tokens = True

    def route(self, path: str) -> str | None:
        return self._gate.route(path)

    def _answer(self, request: AdmissionRequest) -> Answer:
        waited = time.monotonic() - request.received_at if request.received_at is not None else -1.0
        if request.name == SLOW:
            time.sleep(SLOW_SECONDS)
        return Answer(message=request.uid, warnings=(f"{waited:.3f}",))


if __name__ == "__main__":
    logs.configure("info")
    tls._CLIENT_SECONDS = CLIENT_SECONDS
    intake.REQUEST_SECONDS = REQUEST_SECONDS
    folder = Path(sys.argv[2])
    serve(lambda: Nothing(folder), listener=listen(int(sys.argv[1])), drain_seconds=DRAIN_SECONDS)

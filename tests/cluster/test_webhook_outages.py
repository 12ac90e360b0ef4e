"""What `kubectl apply` of a pool says while the webhook cannot be asked: each such text is in the runbooks."""

from __future__ import annotations

import base64
import re
import ssl
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from allocator.kube.client import ApiError
from allocator.kube.resource import SERVICES, VALIDATING_WEBHOOKS
from allocator.objects.names import DEFAULT_NAMESPACE, IP_ADDRESS_POOLS, WEBHOOK_SERVICE
from tests.cluster.installation import OVERLAY, pool
from tests.cluster.webhook_replica import SERVER_NAME, Replica, route_webhook_service, wait_endpoints
from tests.lab.binaries import find
from tests.lab.certificates import Authority
from tests.lab.control_plane import ControlPlane
from tests.lab.waiting import wait_until
from tests.unit.reference.kinds import ROOT
from webhook.patient_worker import FORBIDDEN, NOT_YET

CONFIGURATION = "metallb-webhook-configuration"
TEXTS = {
    "no webhook is ready": f'no endpoints available for service "{WEBHOOK_SERVICE}"',
    "another authority": "x509: certificate signed by unknown authority",
    "another path": "the path has no valid token",
    "a webhook that has just started": "the webhook does not know the tokens of its paths yet",
    "no answer": "context deadline exceeded",
    "no process": "connection refused",
    "no Service": f'service "{WEBHOOK_SERVICE}" not found',
}


class Impostor(BaseHTTPRequestHandler):
    """Stands where the webhook should be: answers as it does to a path without a token, or not at all."""

    ended = threading.Event()

    def do_POST(self) -> None:
        """Answer."""
        self.rfile.read(int(self.headers["Content-Length"]))
        if self.path.startswith("/silent"):
            self.ended.wait(30)
            return
        self.wfile.write(NOT_YET if self.path.startswith("/early") else FORBIDDEN)
        self.close_connection = True

    def log_message(self, format: str, *args: object) -> None:
        """Stay silent."""


class _Pod(Replica):
    """The webhook's Pod, without a process."""

    def _start(self) -> Any:
        return None


@pytest.fixture(scope="module")
def said(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """What the API server says in each case."""
    with ControlPlane(find(), tmp_path_factory.mktemp("outages")) as control_plane:
        yield _all_cases(control_plane, tmp_path_factory.mktemp("certificates"))


def _all_cases(control_plane: ControlPlane, directory: Path) -> dict[str, str]:
    cluster, found = control_plane.cluster(), {}
    control_plane.kubectl("apply", "-k", str(OVERLAY))
    route_webhook_service(control_plane)
    authority = Authority(directory, "webhook")
    pair = authority.server("webhook", [SERVER_NAME])
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pair.certificate, pair.key)
    server = ThreadingHTTPServer(("0.0.0.0", 0), Impostor)
    server.daemon_threads = True
    server.socket = context.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever, name="impostor", daemon=True)
    thread.start()

    def register(authority: Authority, path: str) -> None:
        stored = cluster.get(VALIDATING_WEBHOOKS, CONFIGURATION)
        for webhook in stored["webhooks"]:
            webhook["clientConfig"]["caBundle"] = base64.b64encode(authority.certificate.read_bytes()).decode()
            webhook["clientConfig"]["service"]["path"] = path
            webhook["timeoutSeconds"] = 1
        cluster.replace(VALIDATING_WEBHOOKS, stored)

    def note(case: str) -> None:
        found[case] = wait_until(lambda: _refusal(cluster, TEXTS[case]), 20, f"{case}: {TEXTS[case]}")

    try:
        note("no webhook is ready")
        pod = _Pod(control_plane, directory, name="webhook", port=server.server_address[1])
        pod.publish()
        wait_endpoints(control_plane, {server.server_address[1]})
        register(control_plane.authority, "/pools")
        note("another authority")
        register(authority, "/pools")
        note("another path")
        register(authority, "/early")
        note("a webhook that has just started")
        register(authority, "/silent")
        note("no answer")
    finally:
        Impostor.ended.set()
        server.shutdown()
        thread.join(timeout=10)
        server.server_close()
    note("no process")
    cluster.delete(SERVICES, WEBHOOK_SERVICE, DEFAULT_NAMESPACE)
    note("no Service")
    return found


def _refusal(cluster: Any, text: str) -> str:
    """The refusal of a pool, if it has this text."""
    try:
        cluster.create(IP_ADDRESS_POOLS, pool("probe", "192.0.2.1"), DEFAULT_NAMESPACE, dry_run=True)
    except ApiError as error:
        print(error)
        return str(error) if text in str(error) else ""
    return ""


@pytest.mark.parametrize("case", TEXTS)
def test_the_runbook_is_found_by_the_text(said: dict[str, str], case: str) -> None:
    assert "failed calling webhook" in said[case]
    assert TEXTS[case] in said[case]
    words = re.sub(r"\s+", " ", (ROOT / "docs" / "runbooks.md").read_text())
    assert TEXTS[case] in words


def test_the_texts_without_quotes_are_found_too() -> None:
    """A search takes no quotes along."""
    text = (ROOT / "docs" / "runbooks.md").read_text()
    assert f"no endpoints available for service {WEBHOOK_SERVICE}" in text

"""A mutating webhook of somebody else's that changes what ours has seen, so that ours is asked again."""

from __future__ import annotations

import base64
import json
import ssl
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Self

from allocator.kube.resource import MUTATING_WEBHOOKS
from tests.lab.control_plane import ControlPlane

NAME = "zz-second-webhook"
"""The API server calls webhook configurations in the order of their names."""

LABEL = "second-webhook"


class _Labels(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        """Add a label where it is missing."""
        review = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        labels = review["request"]["object"]["metadata"].get("labels")
        path, value = (
            ("/metadata/labels", {LABEL: "seen"}) if labels is None else (f"/metadata/labels/{LABEL}", "seen")
        )
        patch = base64.b64encode(json.dumps([{"op": "add", "path": path, "value": value}]).encode()).decode()
        response = {"uid": review["request"]["uid"], "allowed": True, "patchType": "JSONPatch", "patch": patch}
        body = json.dumps({"apiVersion": review["apiVersion"], "kind": review["kind"], "response": response}).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        """Stay silent."""


class SecondWebhook:
    """`with SecondWebhook(...)`: registered for the creation of Services in one namespace until the block ends."""

    def __init__(self, control_plane: ControlPlane, *, namespace: str) -> None:
        self._cluster = control_plane.cluster()
        self._namespace = namespace
        self._authority = control_plane.authority
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _Labels)
        pair = self._authority.server(NAME, ["127.0.0.1"])
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(pair.certificate, pair.key)
        self._server.socket = context.wrap_socket(self._server.socket, server_side=True)
        self._thread = threading.Thread(target=self._server.serve_forever, name="second-webhook", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        bundle = base64.b64encode(self._authority.certificate.read_bytes()).decode()
        url = f"https://127.0.0.1:{self._server.server_address[1]}/label"
        webhook = {
            "name": "second.example.com",
            "clientConfig": {"url": url, "caBundle": bundle},
            "rules": [
                {"apiGroups": [""], "apiVersions": ["v1"], "resources": ["services"], "operations": ["CREATE"]}
            ],
            "namespaceSelector": {"matchLabels": {LABEL: self._namespace}},
            "failurePolicy": "Fail",
            "sideEffects": "None",
            "admissionReviewVersions": ["v1"],
        }
        self._cluster.create(MUTATING_WEBHOOKS, {"metadata": {"name": NAME}, "webhooks": [webhook]})
        return self

    def __exit__(self, *_: object) -> None:
        self._cluster.delete(MUTATING_WEBHOOKS, NAME)
        self._server.shutdown()
        self._thread.join(timeout=10)
        self._server.server_close()

"""MetalLB's conversion of `BGPPeer` between v1beta1 and v1beta2, as an API server asks for it.

After api/v1beta1/bgppeer_conversion.go: a time that v1beta1 does not have becomes 0s in v1beta2, and the other way.
"""

from __future__ import annotations

import base64
import json
import ssl
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from tests.lab.certificates import Authority

_ONLY_V1BETA2 = ("connectTime", "dynamicASN", "enableGracefulRestart", "interface", "passwordSecret", "vrf")
_TIMES = ("holdTime", "keepaliveTime")


class ConversionWebhook:
    """Answers on loopback while `with` lasts."""

    def __init__(self, directory: Path) -> None:
        authority = Authority(directory, "conversion")
        pair = authority.server("conversion", ["127.0.0.1"])
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(pair.certificate, pair.key)
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
        self._server.socket = context.wrap_socket(self._server.socket, server_side=True)
        self._thread = threading.Thread(target=self._server.serve_forever, name="conversion", daemon=True)
        self.client_config = {
            "url": f"https://127.0.0.1:{self._server.server_address[1]}/convert",
            "caBundle": base64.b64encode(authority.certificate.read_bytes()).decode(),
        }

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


class _Handler(BaseHTTPRequestHandler):
    timeout = 10

    def do_POST(self) -> None:
        review = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        request = review["request"]
        answer = {
            "apiVersion": review["apiVersion"],
            "kind": "ConversionReview",
            "response": {
                "uid": request["uid"],
                "result": {"status": "Success"},
                "convertedObjects": [_converted(each, request["desiredAPIVersion"]) for each in request["objects"]],
            },
        }
        body = json.dumps(answer).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        pass


def _converted(peer: dict[str, Any], version: str) -> dict[str, Any]:
    spec = {key: value for key, value in peer.get("spec", {}).items()}
    if version.endswith("/v1beta2"):
        spec = {**dict.fromkeys(_TIMES, "0s"), **spec}
    else:
        spec = {key: value for key, value in spec.items() if key not in _ONLY_V1BETA2}
    return {**peer, "apiVersion": version, "spec": spec}

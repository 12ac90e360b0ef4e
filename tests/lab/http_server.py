"""The lab's web application: tells who answered and who asked. `python -m tests.lab.http_server --port 8080`."""

from __future__ import annotations

import argparse
import json
import os
import socket
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from socketserver import TCPServer


class _Handler(BaseHTTPRequestHandler):
    # HTTP/1.0: the server closes, so a client making hundreds of connections a second keeps its ports.
    protocol_version = "HTTP/1.0"
    timeout = 10

    def do_GET(self) -> None:
        """Answer every path alike; /ready is what the readiness probe asks for."""
        address = str(self.client_address[0]).removeprefix("::ffff:")
        answer = {"pod": os.environ.get("POD_NAME"), "node": os.environ.get("NODE_NAME"), "client": address}
        body = json.dumps(answer).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        """Stay silent: hundreds of requests a second would fill the log."""


class _Server(ThreadingHTTPServer):
    address_family = socket.AF_INET6
    request_queue_size = 512
    daemon_threads = True

    def server_bind(self) -> None:
        self.socket.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        # Not HTTPServer's, which looks its own name up, in a network without DNS.
        TCPServer.server_bind(self)


def main() -> None:
    """Serve until killed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, default=8080)
    with _Server(("::", parser.parse_args().port), _Handler) as server:
        server.serve_forever()


if __name__ == "__main__":
    main()

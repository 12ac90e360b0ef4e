"""The port of a node's kubelet: what the API server asks of it for `kubectl logs` and `kubectl exec`."""

from __future__ import annotations

import shutil
import socket
import ssl
import threading
import time
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from socketserver import TCPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

from tests.lab.certificates import KeyPair
from tests.lab.container import Container
from tests.lab.kubelet_exec import PROTOCOL, Exec, wanted_streams
from tests.lab.network import Host

KUBELET_PORT = 10250
_FOLLOW_SECONDS = 0.1
_IDLE_SECONDS = 30

Find = Callable[[str, str, str], Container | None]
"""Returns a container that runs, by the namespace and name of its Pod and its own name."""


class KubeletServer:
    """An HTTPS server in a node's network; only holders of a certificate of the cluster's authority get in."""

    def __init__(
        self, host: Host, *, pair: KeyPair, client_authority: Path, pods_directory: Path, find: Find
    ) -> None:
        """Listen; `pods_directory` holds `NAMESPACE_POD/CONTAINER.log`."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(pair.certificate, pair.key)
        context.load_verify_locations(client_authority)
        context.verify_mode = ssl.CERT_REQUIRED
        self._stopping = threading.Event()
        with host.inside():
            self._server = _Server(context, pods_directory, self._stopping, find)
        self._thread = threading.Thread(
            target=self._server.serve_forever, args=(0.1,), name=f"kubelet-{host.name}", daemon=True
        )

    def start(self) -> None:
        """Begin answering."""
        self._thread.start()

    def stop(self) -> None:
        """End every answer and the listening."""
        self._stopping.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(timeout=10)

    @property
    def alive(self) -> bool:
        """Whether it listens."""
        return self._thread.is_alive()


class _Server(ThreadingHTTPServer):
    address_family = socket.AF_INET6
    daemon_threads = True

    def __init__(self, context: ssl.SSLContext, pods_directory: Path, stopping: threading.Event, find: Find) -> None:
        self.context = context
        self.find = find
        self.pods_directory = pods_directory
        self.stopping = stopping
        super().__init__(("::", KUBELET_PORT), _Handler)

    def server_bind(self) -> None:
        self.socket.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        # Not HTTPServer's, which looks its own name up, in a network without DNS.
        TCPServer.server_bind(self)

    def finish_request(self, request: Any, client_address: Any) -> None:
        # On the connection's own thread: a slow handshake must not keep the next caller waiting.
        request.settimeout(_IDLE_SECONDS)
        try:
            with self.context.wrap_socket(request, server_side=True) as secured:
                super().finish_request(secured, client_address)
        except (ssl.SSLError, OSError):
            # A stranger without a certificate, or a reader that went away.
            return


class _Handler(BaseHTTPRequestHandler):
    server: _Server

    def do_GET(self) -> None:
        """`/containerLogs/NAMESPACE/POD/CONTAINER?follow=true&tailLines=N`, as the API server asks it."""
        parts = urlsplit(self.path)
        words = parts.path.strip("/").split("/")
        if len(words) != 4 or words[0] != "containerLogs":
            self.send_error(501, "the lab's kubelet serves logs and exec only")
            return
        _, namespace, pod, container = words
        path = self.server.pods_directory / f"{namespace}_{pod}" / f"{container}.log"
        if not path.is_file():
            self.send_error(404, "no such log")
            return
        query = parse_qs(parts.query)
        self.send_response(200)
        self.send_header("Content-Type", "text/plain")
        self.end_headers()
        with path.open("rb") as stream:
            if "tailLines" in query:
                _skip_to_last_lines(stream, int(query["tailLines"][0]))
            shutil.copyfileobj(stream, self.wfile)
            while query.get("follow") == ["true"] and not self.server.stopping.is_set():
                if chunk := stream.read(65536):
                    self.wfile.write(chunk)
                else:
                    time.sleep(_FOLLOW_SECONDS)

    def do_POST(self) -> None:
        """`/exec/NAMESPACE/POD/CONTAINER?command=PROGRAM&command=WORD&output=1`, then SPDY."""
        parts = urlsplit(self.path)
        words, query = parts.path.strip("/").split("/"), parse_qs(parts.query)
        if len(words) != 4 or words[0] != "exec" or query.get("tty", [""])[0] in ("1", "true"):
            self.send_error(501, "the lab's kubelet serves logs, and exec without a terminal, only")
            return
        offered = ",".join(self.headers.get_all("X-Stream-Protocol-Version", ()))
        if PROTOCOL not in (each.strip() for each in offered.split(",")):
            self.send_error(403, f"the streams' protocol must be {PROTOCOL}")
            return
        _, namespace, pod, name = words
        container = self.server.find(namespace, pod, name)
        if container is None:
            self.send_error(404, f"container {name} does not run")
            return
        self.close_connection = True
        self.protocol_version = "HTTP/1.1"
        self.send_response(101)
        for header in (("Connection", "Upgrade"), ("Upgrade", "SPDY/3.1"), ("X-Stream-Protocol-Version", PROTOCOL)):
            self.send_header(*header)
        self.end_headers()
        # The program may take its time, and say nothing.
        self.connection.settimeout(None)
        command = query.get("command", [])
        Exec(
            self.connection,
            wanted=wanted_streams(query),
            program=lambda with_input: container.execute(command, with_input=with_input),
        ).run()

    def log_message(self, format: str, *args: object) -> None:
        """Stay silent."""


def _skip_to_last_lines(stream: Any, count: int) -> None:
    lines = stream.read().splitlines(keepends=True)
    stream.seek(-sum(len(line) for line in lines[-count:]) if count else 0, 2)

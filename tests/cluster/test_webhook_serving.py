"""The server around the webhook: slow clients, taking leave, and what happens when a thread dies."""

from __future__ import annotations

import http.client
import json
import os
import signal
import socket
import ssl
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cluster.serving_program import SERVER_NAME
from tests.lab.processes import Process
from tests.lab.waiting import wait_until
from tests.unit.webhook.reviews import review
from webhook.serving import THREADS

pytestmark = pytest.mark.cluster

CLIENT_HELLO_BEGUN = b"\x16\x03\x01\x02\x00\x01"
"""The first bytes of a TLS record that promises 512 more."""


class Server:
    """The serving program in a process of its own."""

    def __init__(self, directory: Path) -> None:
        with socket.create_server(("127.0.0.1", 0)) as probe:
            self.port = int(probe.getsockname()[1])
        self.directory = directory
        argv = [sys.executable, "-m", "tests.cluster.serving_program", str(self.port), str(directory)]
        self.process = Process(argv, name="serving", log=directory / "log")
        self.process.wait_until(lambda: self.get("/readyz") == 200, 20, "the server answers", retry_on=(OSError,))

    def connect(self, address: str = "127.0.0.1") -> http.client.HTTPConnection:
        context = ssl.create_default_context(cafile=self.directory / "ca.crt")
        connection = http.client.HTTPConnection(address, self.port, timeout=10)
        connection.connect()
        connection.sock = context.wrap_socket(connection.sock, server_hostname=SERVER_NAME)
        return connection

    def get(self, path: str) -> int:
        connection = self.connect()
        try:
            connection.request("GET", path)
            return connection.getresponse().status
        finally:
            connection.close()

    def log(self) -> str:
        return self.process.log.read_text()


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    running = Server(tmp_path)
    yield running
    running.process.sigkill()


def ask(connection: http.client.HTTPConnection) -> http.client.HTTPResponse:
    """Send one review and read its answer to the end."""
    connection.request("POST", "/review", json.dumps(review()), {"Content-Type": "application/json"})
    answer = connection.getresponse()
    assert json.loads(answer.read())["response"]["allowed"] is True
    return answer


@pytest.mark.parametrize("address", ["127.0.0.1", "::1"])
def test_both_families_are_served(server: Server, address: str) -> None:
    ask(server.connect(address))


def test_one_connection_carries_many_reviews(server: Server) -> None:
    connection = server.connect()
    first = connection.sock
    for _ in range(5):
        ask(connection)
    assert connection.sock is first


def test_old_tls_is_refused(server: Server) -> None:
    context = ssl.create_default_context(cafile=server.directory / "ca.crt")
    context.set_ciphers("ALL:@SECLEVEL=0")
    with pytest.warns(DeprecationWarning, match="TLSv1_1"):
        context.maximum_version = ssl.TLSVersion.TLSv1_1
    with socket.create_connection(("127.0.0.1", server.port), timeout=5) as plain, pytest.raises(ssl.SSLError):
        context.wrap_socket(plain, server_hostname=SERVER_NAME)


def test_clients_that_fall_silent_do_not_hold_the_threads(server: Server) -> None:
    silent = [socket.create_connection(("127.0.0.1", server.port), timeout=5) for _ in range(2 * THREADS)]
    try:
        for client in silent[:THREADS]:
            client.sendall(CLIENT_HELLO_BEGUN)
        ask(server.connect())
    finally:
        for client in silent:
            client.close()
    assert server.process.alive
    assert "Traceback" not in server.log()


def test_a_client_that_stops_in_the_middle_of_its_request_is_let_go(server: Server) -> None:
    stuck = [server.connect() for _ in range(THREADS)]
    for connection in stuck:
        connection.putrequest("POST", "/review")
        connection.putheader("Content-Type", "application/json")
        connection.putheader("Content-Length", "1000")
        connection.endheaders(b"{")
    ask(server.connect())
    for connection in stuck:
        connection.close()


def test_what_is_no_tls_at_all_leaves_no_trace(server: Server) -> None:
    with socket.create_connection(("127.0.0.1", server.port), timeout=5) as client:
        client.sendall(b"GET / HTTP/1.0\r\n\r\n")
        client.settimeout(5)
        while client.recv(4096):
            pass
    assert server.get("/healthz") == 200
    assert "Traceback" not in server.log()


def test_on_sigterm_it_is_unready_first_and_answers_on(server: Server) -> None:
    kept = server.connect()
    ask(kept)
    os.kill(server.process.pid, signal.SIGTERM)
    wait_until(lambda: server.get("/readyz") == 503, 1.5, "readiness is withdrawn while requests are still taken")
    answer = ask(kept)
    assert answer.getheader("Connection") == "close"
    ask(server.connect())
    assert server.process.wait(20) == 0
    assert (server.directory / "stopped").exists()


def test_a_dead_thread_ends_the_process_with_an_error(server: Server) -> None:
    (server.directory / "casualty").touch()
    assert server.process.wait(10) not in (0, None)
    assert "event=thread.died threads=thread-of-the-test" in server.log()


def test_an_idle_server_is_silent(server: Server) -> None:
    server.get("/healthz")
    assert server.log() == ""

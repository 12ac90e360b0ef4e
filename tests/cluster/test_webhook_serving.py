"""The server around the webhook: slow clients, taking leave, and what happens when a thread dies."""

from __future__ import annotations

import http.client
import itertools
import json
import os
import signal
import socket
import ssl
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Self

import pytest

from allocator.process.connection_limits import PER_PEER, TOTAL
from tests.cluster.serving_program import BARE, REQUEST_SECONDS, ROUTE, SECRET, SERVER_NAME, SLOW, SLOW_SECONDS
from tests.lab.processes import Process
from tests.lab.waiting import wait_until
from tests.unit.webhook.reviews import review
from webhook.intake import LINE_SECONDS
from webhook.path_token import path_with_token
from webhook.serving import THREADS

pytestmark = pytest.mark.cluster

PATH = path_with_token(SECRET, ROUTE)
DRIP_SECONDS = 0.4
"""Shorter than any timeout between two bytes: only a deadline for the whole ends it."""
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
        self._log_begins = 0
        self.process.wait_until(lambda: self.get(PATH) == 200, 20, "the server answers", retry_on=(OSError,))

    def connect(self, address: str = "127.0.0.1", *, source: str = "") -> http.client.HTTPConnection:
        context = ssl.create_default_context(cafile=self.directory / "ca.crt")
        source_address = (source, 0) if source else None
        connection = http.client.HTTPConnection(address, self.port, timeout=10, source_address=source_address)
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
        """What it has logged since the test began."""
        return self.process.log.read_text()[self._log_begins :]

    def begin_log(self) -> None:
        self._log_begins = self.process.log.stat().st_size


@pytest.fixture(scope="module")
def lasting_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    running = Server(tmp_path_factory.mktemp("lasting"))
    yield running
    running.process.sigkill()


@pytest.fixture
def server(lasting_server: Server) -> Server:
    """One server for all tests that leave it running, and each its own part of the log."""
    assert lasting_server.process.alive, "a test before this one has ended it"
    lasting_server.begin_log()
    return lasting_server


@pytest.fixture
def mortal_server(tmp_path: Path) -> Iterator[Server]:
    """One for a test that ends it."""
    running = Server(tmp_path)
    yield running
    running.process.sigkill()


def ask(connection: http.client.HTTPConnection) -> http.client.HTTPResponse:
    """Send one review and read its answer to the end."""
    connection.request("POST", f"{PATH}?timeout=3s", json.dumps(review()), {"Content-Type": "application/json"})
    answer = connection.getresponse()
    assert json.loads(answer.read())["response"]["allowed"] is True
    return answer


def test_an_idle_server_is_silent(server: Server) -> None:
    server.get(PATH)
    assert server.log() == ""


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
        connection.putrequest("POST", PATH)
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
        with suppress(ConnectionResetError):
            while client.recv(4096):
                pass
    assert server.get(PATH) == 200
    assert "Traceback" not in server.log()


def test_on_sigterm_it_is_unready_first_and_answers_on(mortal_server: Server) -> None:
    kept = mortal_server.connect()
    ask(kept)
    os.kill(mortal_server.process.pid, signal.SIGTERM)
    wait_until((mortal_server.directory / "draining").exists, 1.5, "it drains while requests are still taken")
    answer = ask(kept)
    assert answer.getheader("Connection") == "close"
    ask(mortal_server.connect())
    assert mortal_server.process.wait(20) == 0
    assert (mortal_server.directory / "stopped").exists()


def test_a_dead_thread_ends_the_process_with_an_error(mortal_server: Server) -> None:
    (mortal_server.directory / "casualty").touch()
    assert mortal_server.process.wait(10) not in (0, None)
    assert "event=thread.died threads=thread-of-the-test" in mortal_server.log()


class Drips:
    """`with Drips(...)`: clients that each send the content byte by byte, and begin anew when they are let go."""

    def __init__(self, server: Server, *, clients: int, content: bytes, tls: bool) -> None:
        self._server = server
        self._clients = clients
        self._content = content
        self._tls = tls
        self._serial = itertools.count()
        self._stopping = threading.Event()
        self._lock = threading.Lock()
        """Owns the one that follows."""
        self.let_go = 0
        self._thread = threading.Thread(target=self._run, name="drips")

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopping.set()
        self._thread.join(timeout=30)

    def _run(self) -> None:
        sockets: list[tuple[socket.socket, int]] = []
        while not self._stopping.wait(DRIP_SECONDS):
            still = []
            for client, sent in sockets:
                try:
                    client.sendall(self._content[sent % len(self._content) :][:1])
                    still.append((client, sent + 1))
                except OSError:
                    client.close()
                    with self._lock:
                        self.let_go += 1
            while len(still) < self._clients:
                try:
                    still.append((self._connect(), 0))
                except OSError:
                    break
            sockets = still
        for client, _ in sockets:
            client.close()

    def _connect(self) -> socket.socket:
        if self._tls:
            sock = self._server.connect().sock
            assert isinstance(sock, socket.socket)
            return sock
        # From hosts that have never sent a path: what they hold is bounded by host and in all.
        host = f"127.0.0.{2 + next(self._serial) % 5}"
        return socket.create_connection(("127.0.0.1", self._server.port), timeout=5, source_address=(host, 0))


HEAD = f"POST {PATH} HTTP/1.1\r\nHost: {SERVER_NAME}\r\nContent-Type: application/json\r\n".encode()


@pytest.mark.parametrize("clients", [PER_PEER, TOTAL, 200])
@pytest.mark.parametrize(
    ("content", "tls"),
    [(CLIENT_HELLO_BEGUN + bytes(512), False), (b"POST /mutate-v1-service/" + b"a" * 3000, True)],
    ids=["handshake", "request line"],
)
def test_admissions_go_on_while_clients_drip(server: Server, clients: int, content: bytes, tls: bool) -> None:
    with Drips(server, clients=clients, content=content, tls=tls) as drips:
        wait_until(lambda: drips.let_go >= PER_PEER, 30, "dripping clients are let go")
        slowest = max(timed(lambda: ask(server.connect())) for _ in range(10))
    assert slowest < 3, f"{slowest:.2f} s"
    assert server.process.alive
    assert "Traceback" not in server.log()


@pytest.mark.parametrize(
    "content",
    [HEAD + b"X-Padding: " + b"a" * 3000, HEAD + b"Content-Length: 3000\r\n\r\n" + b" " * 3000],
    ids=["header", "body"],
)
def test_even_who_knows_a_path_holds_no_thread_by_dripping(server: Server, content: bytes) -> None:
    begun = content[: len(HEAD) + 40]
    dripping = [server.connect() for _ in range(3 * THREADS)]
    for connection in dripping:
        assert connection.sock is not None
        connection.sock.sendall(begun)
    slowest = max(timed(lambda: ask(server.connect())) for _ in range(20))
    assert slowest < 3, f"{slowest:.2f} s"
    started = time.monotonic()
    over = 0
    while over == 0 and time.monotonic() - started < REQUEST_SECONDS + 5:
        time.sleep(DRIP_SECONDS)
        over = sum(not sends(connection, b" ") for connection in dripping)
    assert over, "no request of theirs was given up, though none became whole"


def test_a_path_that_everybody_knows_makes_nobody_an_api_server(server: Server) -> None:
    """Answered during an upgrade, it is worth one answer: no connection is kept, and none may be silent for long."""
    stranger = server.connect(source="127.0.0.9")
    stranger.request("POST", BARE, json.dumps(review()), {"Content-Type": "application/json"})
    answer = stranger.getresponse()
    assert (answer.status, answer.getheader("Connection")) == (200, "close")
    silent = server.connect(source="127.0.0.9")
    assert silent.sock is not None
    silent.sock.settimeout(LINE_SECONDS + 3)
    assert silent.sock.recv(1) == b"", "it was let go"


def test_who_knows_only_the_path_that_everybody_knows_is_bounded_until_its_request_is_whole(
    server: Server,
) -> None:
    """Or a hundred of them, a body of 4 MB each, would take all memory and all connections during an upgrade."""
    begun = HEAD.replace(PATH.encode(), BARE.encode()) + b"Content-Length: 3000\r\n\r\n{"
    dripping = []
    for _ in range(3 * PER_PEER):
        # One after the other: a path that came is no handshake any more when the next one begins.
        dripping.append(server.connect(source="127.0.0.9"))
        sends(dripping[-1], begun)

    def held() -> int:
        return sum(sends(connection, b" ") for connection in dripping)

    wait_until(lambda: held() <= PER_PEER, LINE_SECONDS, "all but a few are let go")


def test_a_review_knows_how_long_it_waited_for_a_thread(server: Server) -> None:
    connections = [server.connect() for _ in range(THREADS + 1)]
    for connection in connections:
        connection.request("POST", PATH, json.dumps(review(name=SLOW)), {"Content-Type": "application/json"})
    answers = [json.loads(connection.getresponse().read())["response"] for connection in connections]
    waited = sorted(float(answer["warnings"][0]) for answer in answers)
    assert waited[-1] > SLOW_SECONDS / 2
    assert 0 <= waited[0] < SLOW_SECONDS / 2


def sends(connection: http.client.HTTPConnection, data: bytes) -> bool:
    try:
        assert connection.sock is not None
        connection.sock.sendall(data)
    except OSError:
        return False
    return True


def timed(action: Callable[[], object]) -> float:
    started = time.monotonic()
    action()
    return time.monotonic() - started


@pytest.mark.parametrize(
    "path",
    [
        "/",
        ROUTE,
        f"{ROUTE}/",
        f"{ROUTE}/{path_with_token(SECRET, '/other').rpartition('/')[2]}",
        path_with_token(b"x" * 64, ROUTE),
        "/healthz",
        "/readyz",
        f"https://{SERVER_NAME}{PATH}",
    ],
)
def test_without_the_routes_own_token_it_is_403_before_the_body_comes(server: Server, path: str) -> None:
    connection = server.connect()
    connection.putrequest("POST", path)
    connection.putheader("Content-Length", "1000")
    connection.endheaders()
    answer = connection.getresponse()
    assert answer.status == 403
    assert json.loads(answer.read())["code"] == 403
    assert answer.getheader("Connection") == "close"
    assert server.log() == ""


def test_a_refusal_reaches_a_client_that_still_sends_its_body(server: Server) -> None:
    connection = server.connect()
    connection.request("POST", ROUTE, b"x" * 3_000_000)
    assert connection.getresponse().status == 403


def test_a_connection_that_was_let_in_needs_the_token_again(server: Server) -> None:
    connection = server.connect()
    ask(connection)
    connection.request("POST", ROUTE, b"{}")
    assert connection.getresponse().status == 403


def test_a_large_review_comes_in_pieces(server: Server) -> None:
    body = json.dumps(review(object={"metadata": {"annotations": {"a": "x" * 2_000_000}}})).encode()
    connection = server.connect()
    connection.putrequest("POST", PATH)
    connection.putheader("Content-Type", "application/json")
    connection.putheader("Content-Length", str(len(body)))
    connection.endheaders()
    for start in range(0, len(body), 300_000):
        connection.send(body[start : start + 300_000])
    assert connection.getresponse().status == 200


@pytest.mark.parametrize("how", ["chunked", "expect"])
def test_a_body_that_cannot_be_waited_for_is_left_to_a_thread(server: Server, how: str) -> None:
    body = json.dumps(review()).encode()
    connection = server.connect()
    connection.putrequest("POST", PATH)
    connection.putheader("Content-Type", "application/json")
    if how == "chunked":
        connection.putheader("Transfer-Encoding", "chunked")
        connection.endheaders()
        connection.send(b"%x\r\n%s\r\n0\r\n\r\n" % (len(body), body))
    else:
        connection.putheader("Content-Length", str(len(body)))
        connection.putheader("Expect", "100-continue")
        connection.endheaders()
        time.sleep(0.3)
        connection.send(body)
    assert connection.getresponse().status == 200


def test_a_token_in_a_request_that_is_malformed_is_not_logged(server: Server) -> None:
    token = PATH.rpartition("/")[2]
    for request in (f"POST {PATH} HTTP/9.9\r\n\r\n", f"POST {PATH} HTTP/1.1\r\nBad Header {PATH}: x\r\n\r\n"):
        connection = server.connect()
        assert connection.sock is not None
        connection.sock.sendall(request.encode())
        connection.sock.settimeout(5)
        while connection.sock.recv(4096):
            pass
    assert "<token>" in server.log()
    assert token not in server.log()

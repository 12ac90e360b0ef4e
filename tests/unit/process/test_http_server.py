"""The port of probes and metrics under clients that are slow, many, or make no sense."""

from __future__ import annotations

import http.client
import socket
import threading
import time
import tracemalloc
from collections.abc import Iterator
from contextlib import suppress
from http import HTTPStatus
from urllib.parse import SplitResult, urlsplit

import pytest
from prometheus_client import CollectorRegistry
from prometheus_client.core import Metric
from prometheus_client.registry import Collector

from allocator.process.connection_limits import TOTAL
from allocator.process.http_server import HttpServer, Response
from allocator.process.monitor import Monitor

LARGE = b"x" * 8_000_000


class Pages:
    """`/probe` at once, `/slow` when released, `/large`, `/broken`."""

    def __init__(self) -> None:
        self.released = threading.Event()

    def answer(self, url: SplitResult) -> Response:
        match url.path:
            case "/slow":
                self.released.wait(30)
            case "/broken":
                raise RuntimeError("a defect")
            case "/large":
                return Response(HTTPStatus.OK, LARGE)
        return Response(HTTPStatus.OK, b"ok\n")


@pytest.fixture
def pages() -> Iterator[Pages]:
    pages = Pages()
    yield pages
    pages.released.set()


@pytest.fixture
def server(pages: Pages) -> Iterator[HttpServer]:
    server = HttpServer("test", 0, pages.answer, at_once=frozenset({"/probe"}))
    server.start()
    yield server
    pages.released.set()
    server.stop()
    assert not server.alive


def connect(server: HttpServer | Monitor) -> socket.socket:
    return socket.create_connection(("127.0.0.1", server.port), timeout=10)


def get(server: HttpServer | Monitor, path: str, method: str = "GET") -> tuple[int, bytes]:
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=10)
    try:
        connection.request(method, path)
        answer = connection.getresponse()
        return answer.status, answer.read()
    finally:
        connection.close()


def test_slow_readers_of_one_answer_need_its_memory_once(server: HttpServer) -> None:
    tracemalloc.start()
    readers = [connect(server) for _ in range(12)]
    try:
        before, _ = tracemalloc.get_traced_memory()
        for reader in readers:
            reader.sendall(b"GET /large HTTP/1.0\n\n")
        for reader in readers:
            assert reader.recv(12) == b"HTTP/1.1 200"
        now, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
        for reader in readers:
            reader.close()
    assert now - before < len(LARGE)


def test_answer_that_is_read_slowly_arrives_whole(server: HttpServer) -> None:
    with connect(server) as reader:
        reader.sendall(b"GET /large HTTP/1.0\n\n")
        received = b"".join(iter(lambda: reader.recv(60_000), b""))
    assert received.partition(b"\r\n\r\n")[2] == LARGE


def test_many_who_ask_for_metrics_at_once_have_them_made_once() -> None:
    class Slow(Collector):
        made = 0

        def collect(self) -> Iterator[Metric]:
            Slow.made += 1
            time.sleep(0.2)
            yield Metric("slow", "", "gauge")

    registry = CollectorRegistry()
    registry.register(Slow())
    made = Slow.made
    monitor = Monitor(0, registry=registry)
    url = urlsplit("/metrics")
    first = monitor.response(url)
    assert all(monitor.response(url).body is first.body for _ in range(10))
    assert Slow.made - made == 1
    time.sleep(1.0)
    assert monitor.response(url).body is not first.body
    monitor.stop()


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
def test_both_families_are_served(server: HttpServer, host: str) -> None:
    with socket.create_connection((host, server.port), timeout=10) as client:
        client.sendall(b"GET /probe HTTP/1.0\n\n")
        assert client.recv(100).startswith(b"HTTP/1.1 200 OK")


@pytest.mark.parametrize("begun", [b"", b"GET /pro", b"GET /probe HTTP/1.1\r\nHost: "])
def test_probes_are_answered_while_hundreds_of_clients_say_nothing_or_half(server: HttpServer, begun: bytes) -> None:
    waiting = [connect(server) for _ in range(4 * TOTAL)]
    for client in waiting:
        with suppress(OSError):
            client.sendall(begun)
    assert [get(server, "/probe")[0] for _ in range(20)] == [200] * 20
    for client in waiting:
        client.close()


def test_a_byte_now_and_then_does_not_put_the_deadline_off(server: HttpServer) -> None:
    with connect(server) as client:
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        assert not all(sends_a_byte(client) for _ in range(100))


def sends_a_byte(client: socket.socket) -> bool:
    time.sleep(0.1)
    try:
        client.sendall(b"G")
    except OSError:
        return False
    return True


def test_probes_are_answered_while_every_worker_is_busy_and_others_are_told(server: HttpServer, pages: Pages) -> None:
    busy = []
    for _ in range(40):
        client = socket.create_connection(("127.0.0.1", server.port), timeout=10)
        client.sendall(b"GET /slow HTTP/1.0\r\n\r\n")
        busy.append(client)
        assert get(server, "/probe")[0] == 200
    for client in busy:
        client.close()


def test_a_flood_from_one_host_leaves_room_for_the_requests_of_another(server: HttpServer, pages: Pages) -> None:
    flood = []
    for _ in range(2 * TOTAL):
        client = socket.create_connection(("127.0.0.1", server.port), timeout=10, source_address=("127.0.0.2", 0))
        client.sendall(b"GET /slow HTTP/1.0\r\n\r\n")
        flood.append(client)
    assert get(server, "/probe")[0] == 200
    with connect(server) as other:
        other.sendall(b"GET /page HTTP/1.0\r\n\r\n")
        other.settimeout(0.3)
        with pytest.raises(TimeoutError):
            other.recv(100)
        pages.released.set()
        other.settimeout(10)
        assert other.recv(100).startswith(b"HTTP/1.1 200 OK")
    for client in flood:
        client.close()


def test_requests_of_a_host_that_were_answered_count_no_more(server: HttpServer) -> None:
    assert [get(server, "/page")[0] for _ in range(50)] == [200] * 50


def test_a_reader_that_takes_nothing_keeps_nobody_waiting(server: HttpServer) -> None:
    stuck = [connect(server) for _ in range(8)]
    for client in stuck:
        client.sendall(b"GET /large HTTP/1.0\r\n\r\n")
    assert get(server, "/large") == (200, LARGE)
    assert get(server, "/probe")[0] == 200
    for client in stuck:
        client.close()


def test_an_answer_that_fails_is_a_500_and_the_server_lives_on(
    server: HttpServer, caplog: pytest.LogCaptureFixture
) -> None:
    assert get(server, "/broken") == (500, b"internal server error\n")
    assert "answer.failed" in caplog.text
    assert get(server, "/probe")[0] == 200


@pytest.mark.parametrize(
    ("request_bytes", "status"),
    [
        (b"GET\r\n\r\n", 400),
        (b"\x16\x03\x01\n\n", 400),
        (b"GET http://[ HTTP/1.1\r\n\r\n", 400),
        (b"POST /probe HTTP/1.1\r\nContent-Length: 5\r\n\r\nhello", 501),
        (b"HEAD /probe HTTP/1.1\r\n\r\n", 200),
    ],
)
def test_what_is_no_get_is_answered_as_such(server: HttpServer, request_bytes: bytes, status: int) -> None:
    with connect(server) as client:
        client.sendall(request_bytes)
        assert client.recv(100).startswith(f"HTTP/1.1 {status} ".encode())


def test_a_header_without_end_is_cut_off(server: HttpServer) -> None:
    with connect(server) as client, suppress(OSError):
        client.sendall(b"GET /probe HTTP/1.1\r\n" + b"X: y\r\n" * 5000)
        assert client.recv(100) == b""


def test_a_port_that_is_taken_is_an_error_at_once(server: HttpServer) -> None:
    with pytest.raises(OSError, match="in use"):
        Monitor(server.port)


def test_the_monitor_tells_ready_from_healthy() -> None:
    reasons = ["pools: not listed yet"]
    monitor = Monitor(0, ready=lambda: reasons)
    monitor.start()
    try:
        assert get(monitor, "/readyz") == (503, b"pools: not listed yet\n")
        assert get(monitor, "/healthz") == (200, b"ok\n")
        reasons.clear()
        assert get(monitor, "/readyz") == (200, b"ok\n")
        assert b"process_cpu_seconds_total" in get(monitor, "/metrics")[1]
        assert get(monitor, "/")[0] == 404
    finally:
        monitor.stop()

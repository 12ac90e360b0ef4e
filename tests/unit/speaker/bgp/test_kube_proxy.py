"""A node that comes back waits for kube-proxy, where there is one."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from speaker.bgp.kube_proxy import ABSENT_SECONDS, LOOK_SECONDS, KubeProxyGate, http_status


class Healthz(BaseHTTPRequestHandler):
    """Answers with the status of the moment."""

    status = 503

    def do_GET(self) -> None:
        self.send_response(self.status if self.path == "/healthz" else 404)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture
def url() -> Iterator[str]:
    Healthz.status = 503
    with HTTPServer(("127.0.0.1", 0), Healthz) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}/healthz"
        server.shutdown()
        thread.join()


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def test_it_opens_when_kube_proxy_answers_200_and_not_before(url: str) -> None:
    clock = Clock()
    gate = KubeProxyGate(url, clock=clock)
    for _ in range(3):
        assert not gate.open
        clock.now += ABSENT_SECONDS
    assert "answers 503" in gate.said
    Healthz.status = 200
    assert gate.open
    Healthz.status = 503
    clock.now += 60
    assert gate.open, "what it has begun it goes on with"


def test_nobody_is_asked_more_than_twice_a_second(url: str) -> None:
    clock = Clock()
    gate = KubeProxyGate(url, clock=clock)
    assert not gate.open
    Healthz.status = 200
    clock.now += LOOK_SECONDS / 2
    assert not gate.open
    clock.now += LOOK_SECONDS
    assert gate.open


def test_where_nobody_listens_for_thirty_seconds_there_is_no_kube_proxy() -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{unused.getsockname()[1]}/healthz"
        clock = Clock()
        gate = KubeProxyGate(url, clock=clock)
        began = clock.now
        while not gate.open:
            assert clock.now - began < ABSENT_SECONDS
            assert "refused" in gate.said
            clock.now += 1.0
        assert clock.now - began >= ABSENT_SECONDS


def test_without_a_url_nobody_is_asked() -> None:
    assert KubeProxyGate("").open


def test_an_answer_that_never_ends_costs_no_longer_than_the_deadline() -> None:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        stopping = threading.Event()

        def drip() -> None:
            connection, _ = listener.accept()
            with connection:
                while not stopping.wait(0.02):
                    try:
                        connection.sendall(b"H")
                    except OSError:
                        return

        thread = threading.Thread(target=drip)
        thread.start()
        began = time.monotonic()
        with pytest.raises(OSError, match=r"timed out|HTTP"):
            http_status(f"http://127.0.0.1:{listener.getsockname()[1]}/", 0.3)
        stopping.set()
        thread.join()
        assert time.monotonic() - began < 10

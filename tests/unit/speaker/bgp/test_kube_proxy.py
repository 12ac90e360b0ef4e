"""A node that comes back waits for kube-proxy, where there is one."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest
from click.testing import CliRunner

from speaker.bgp import kube_proxy as kube_proxy_module
from speaker.bgp.kube_proxy import ABSENT_SECONDS, LOOK_SECONDS, KubeProxyGate, check_url, http_status
from speaker.main import speaker


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


def test_only_refusals_in_a_row_say_that_there_is_no_kube_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every outcome but a refusal, each in the middle of refusals and all the time."""
    outcomes: list[OSError | int] = [
        TimeoutError("timed out"),
        OSError("no HTTP"),
        ConnectionResetError("reset"),
        503,
    ]
    for outcome in outcomes:
        answer: list[OSError | int] = [ConnectionRefusedError("refused")]

        def status(*_: object, answer: list[OSError | int] = answer) -> int:
            if isinstance(answer[0], OSError):
                raise answer[0]
            return answer[0]

        monkeypatch.setattr(kube_proxy_module, "http_status", status)
        clock = Clock()
        gate = KubeProxyGate("http://127.0.0.1:10256/healthz", clock=clock)
        assert not gate.open
        clock.now += ABSENT_SECONDS - 1
        assert not gate.open
        answer[0] = outcome
        for _ in range(3):
            clock.now += ABSENT_SECONDS
            assert not gate.open, outcome
        answer[0] = ConnectionRefusedError("refused")
        clock.now += 1
        assert not gate.open
        clock.now += ABSENT_SECONDS - 1
        assert not gate.open
        clock.now += 1
        assert gate.open


@pytest.mark.parametrize(
    "url",
    ["http://localhost:10256/healthz", "http:///healthz", "https://127.0.0.1/", "127.0.0.1:1", "http://127.0.0.1:x/"],
)
def test_a_url_without_an_ip_address_is_refused(url: str) -> None:
    with pytest.raises(ValueError, match=r"write http://127\.0\.0\.1:10256/healthz"):
        KubeProxyGate(url)
    options = ["--node-name=a", "--frr-sockets=/nowhere", f"--kube-proxy-url={url}"]
    assert f"--kube-proxy-url: {url} is not" in " ".join(CliRunner().invoke(speaker, options).output.split())


@pytest.mark.parametrize("url", ["", "http://127.0.0.1:10256/healthz", "http://[::1]:10256/healthz"])
def test_a_url_with_an_ip_address_is_taken(url: str) -> None:
    check_url(url)


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

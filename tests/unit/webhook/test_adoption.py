"""What the webhook makes of the reconciler's Lease, for as long as it runs."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from allocator.objects.names import ADOPTED_ANNOTATION
from tests.lab.waiting import wait_until
from tests.unit.allocator.api_server import connect, read_request, serving
from webhook.adoption import Adoption

MARKED = {ADOPTED_ANNOTATION: "2026-01-01T00:00:00.000000Z 1"}


class LeaseServer:
    """Answers every request with the Lease as it is now; None is 404, "broken" no answer at all."""

    def __init__(self) -> None:
        self.lease: dict[str, Any] | str | None = None
        self.requests: list[str] = []

    def set(self, version: int, annotations: dict[str, str]) -> None:
        metadata = {"name": "admitlb-reconciler", "resourceVersion": str(version), "annotations": annotations}
        self.lease = {"metadata": metadata, "spec": {}}

    def answer(self, connection: socket.socket, over: threading.Event) -> None:
        read_request(connection)
        lease = self.lease
        if lease == "broken" or over.is_set():
            return
        status = "404 Not Found" if lease is None else "200 OK"
        body = json.dumps(lease or {"kind": "Status", "code": 404, "reason": "NotFound"}).encode()
        head = f"HTTP/1.1 {status}\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n"
        connection.sendall(head.encode() + b"Connection: close\r\n\r\n" + body)


@pytest.fixture
def server() -> LeaseServer:
    return LeaseServer()


@pytest.fixture
def adoption(server: LeaseServer, tmp_path: Path) -> Iterator[Adoption]:
    with serving(server.answer) as api:
        watched = Adoption(connect(api.address, tmp_path, timeout_seconds=2.0), namespace="metallb-system")
        watched.start()
        yield watched
        watched.stop()


def test_it_waits_for_the_mark_and_follows_it(server: LeaseServer, adoption: Adoption) -> None:
    assert adoption.problems()
    server.set(10, {})
    server.set(11, MARKED)
    wait_until(lambda: not adoption.problems(), 5, "it is marked")
    server.set(12, {})
    wait_until(adoption.problems, 5, "the mark is gone")
    assert adoption.alive


def test_an_api_server_that_is_away_contradicts_nothing(server: LeaseServer, adoption: Adoption) -> None:
    server.set(10, MARKED)
    wait_until(lambda: not adoption.problems(), 5, "it is marked")
    server.lease = "broken"
    threading.Event().wait(1.5)
    assert not adoption.problems()
    assert adoption.alive


@pytest.mark.parametrize("away_first", [False, True])
def test_a_lease_that_went_back_ends_it(server: LeaseServer, adoption: Adoption, away_first: bool) -> None:
    server.set(10, MARKED)
    wait_until(lambda: not adoption.problems(), 5, "it is marked")
    if away_first:
        server.lease = "broken"
        threading.Event().wait(1.0)
    server.set(9, MARKED)
    wait_until(lambda: not adoption.alive, 5, "it has noticed")
    assert adoption.problems()


def test_a_lease_that_is_gone_ends_it(server: LeaseServer, adoption: Adoption) -> None:
    server.set(10, MARKED)
    wait_until(lambda: not adoption.problems(), 5, "it is marked")
    server.lease = None
    wait_until(lambda: not adoption.alive, 5, "it has noticed")
    assert adoption.problems()

"""A call ends by its deadline, whatever the other side does; a silent watch is noticed. On real sockets."""

from __future__ import annotations

import json
import socket
import threading
import time
from pathlib import Path

import pytest

from allocator.kube import client
from allocator.kube.client import Silent, Unavailable
from allocator.kube.resource import SERVICES
from allocator.kube.transport import SOCKET_OPTIONS
from tests.unit.allocator.api_server import Behaviour, connect, drip, read_request, serving, stream

DEADLINE = 0.4
LONG = 3.0
"""Far longer than the deadline, and what even a busy machine keeps."""

HEADERS = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 4000\r\n\r\n"


def accept_and_read(connection: socket.socket, over: threading.Event) -> None:
    read_request(connection)
    over.wait(60)


def drip_body(connection: socket.socket, over: threading.Event) -> None:
    read_request(connection)
    connection.sendall(HEADERS)
    while not over.wait(0.05):
        connection.sendall(b" ")


def drip_refusal(connection: socket.socket, over: threading.Event) -> None:
    read_request(connection)
    connection.sendall(HEADERS.replace(b"200 OK", b"500 Oops"))
    while not over.wait(0.05):
        connection.sendall(b" ")


def read_slowly(connection: socket.socket, over: threading.Event) -> None:
    while not over.wait(0.05):
        connection.recv(1024)


STALLS = {
    "no answer": accept_and_read,
    "headers drip": drip(HEADERS),
    "body drips": drip_body,
    "refusal drips": drip_refusal,
    "an interim answer drips": drip(b"HTTP/1.1 100 Continue\r\n\r\n" * 100),
}


@pytest.mark.parametrize("stall", STALLS.values(), ids=STALLS.keys())
def test_a_call_ends_by_its_deadline(stall: Behaviour, tmp_path: Path) -> None:
    with serving(stall) as server:
        cluster = connect(server.address, tmp_path, timeout_seconds=DEADLINE)
        began = time.monotonic()
        with pytest.raises(Unavailable):
            cluster.get(SERVICES, "web", "default")
        assert time.monotonic() - began < LONG


@pytest.mark.parametrize("every_seconds", [0.05, 60.0], ids=["drips", "mute"])
def test_a_handshake_ends_by_the_deadline_of_its_call(every_seconds: float, tmp_path: Path) -> None:
    def greet(connection: socket.socket, over: threading.Event) -> None:
        # A ClientHello, answered by the beginning of a long record.
        connection.recv(4096)
        for byte in b"\x16\x03\x03\x40\x00" + bytes(500):
            if over.wait(every_seconds):
                return
            connection.sendall(bytes([byte]))

    with serving(greet) as server:
        cluster = connect(server.address, tmp_path, timeout_seconds=DEADLINE, scheme="https")
        began = time.monotonic()
        with pytest.raises(Unavailable):
            cluster.get(SERVICES, "web", "default")
        assert time.monotonic() - began < LONG


def test_sending_ends_by_the_deadline_of_its_call(tmp_path: Path) -> None:
    with serving(read_slowly) as server:
        cluster = connect(server.address, tmp_path, timeout_seconds=DEADLINE)
        began = time.monotonic()
        with pytest.raises(Unavailable):
            cluster.create(SERVICES, {"data": "x" * 50_000_000}, "default")
        assert time.monotonic() - began < LONG


def test_a_connection_that_was_kept_alive_has_a_new_deadline_for_each_call(tmp_path: Path) -> None:
    body = json.dumps({"kind": "Service"}).encode()

    def answer_slowly(connection: socket.socket, over: threading.Event) -> None:
        while not over.is_set():
            read_request(connection)
            over.wait(DEADLINE / 2)
            connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body))

    with serving(answer_slowly) as server:
        cluster = connect(server.address, tmp_path, timeout_seconds=DEADLINE)
        for _ in range(4):
            assert cluster.get(SERVICES, "web", "default") == {"kind": "Service"}


def test_two_clients_of_the_same_connections_may_have_different_deadlines(tmp_path: Path) -> None:
    with serving(accept_and_read) as server:
        patient = connect(server.address, tmp_path, timeout_seconds=60.0)
        began = time.monotonic()
        with pytest.raises(Unavailable):
            patient.within(DEADLINE).get(SERVICES, "web", "default")
        assert time.monotonic() - began < LONG


def test_a_watch_may_last_longer_than_a_call_but_not_be_silent(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(client, "_SILENCE_SECONDS", 2 * DEADLINE)
    event = json.dumps({"type": "BOOKMARK", "object": {"metadata": {"resourceVersion": "7"}}}).encode() + b"\n"

    def send_for_a_while(connection: socket.socket, over: threading.Event) -> None:
        read_request(connection)
        connection.sendall(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        for _ in range(6):
            over.wait(DEADLINE / 2)
            connection.sendall(b"%x\r\n%b\r\n" % (len(event), event))
        over.wait(60)

    with serving(send_for_a_while) as server:
        cluster = connect(server.address, tmp_path, timeout_seconds=DEADLINE)
        watch = cluster.watch(SERVICES, resource_version="5")
        assert [next(watch)[0] for _ in range(6)] == ["BOOKMARK"] * 6
        with pytest.raises(Silent):
            next(watch)


def test_every_connection_notices_a_peer_that_is_gone(tmp_path: Path) -> None:
    with serving(stream()) as server:
        response = connect(server.address, tmp_path, timeout_seconds=DEADLINE)._send("GET", "/api/v1/services")
        for level, option, value in SOCKET_OPTIONS:
            assert response.connection.sock.getsockopt(level, option) == value

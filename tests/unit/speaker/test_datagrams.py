"""Datagrams in batches, over loopback; and that nothing on their way lets other threads take the interpreter."""

from __future__ import annotations

import errno
import socket
import sys
import threading
from collections.abc import Iterator

import pytest

from speaker.membership.datagrams import Datagrams, socket_address
from speaker.membership.heartbeat import Heartbeat, Phase
from speaker.membership.transport import HeartbeatSocket

LONGEST = 100
KEY = b"key"


@pytest.fixture(params=["127.0.0.1", "::1", "both"])
def bound(request: pytest.FixtureRequest) -> Iterator[tuple[socket.socket, str]]:
    """A socket on loopback, and the address it is reached at; `both` takes IPv4 on a socket for IPv6."""
    both = request.param == "both"
    family = socket.AF_INET if request.param == "127.0.0.1" else socket.AF_INET6
    with socket.socket(family, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK) as sock:
        if both:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        sock.bind(("::" if both else request.param, 0))
        yield sock, "127.0.0.1" if both else request.param


def test_all_that_is_sent_arrives_whole_and_in_order(bound: tuple[socket.socket, str]) -> None:
    sock, address = bound
    target = socket_address(address, sock.getsockname()[1], sock.family)
    datagrams = Datagrams(sock, longest_bytes=LONGEST)
    sent = [bytes([number]) * (number % LONGEST + 1) for number in range(150)]
    assert datagrams.send([(target, data) for data in sent]) == []
    received = datagrams.receive(1000)
    assert [data for data, _ in received] == sent
    assert {source for _, source in received} == {address}
    assert datagrams.receive(1000) == []


def test_of_a_longer_datagram_the_rest_is_cut_off(bound: tuple[socket.socket, str]) -> None:
    sock, address = bound
    with socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, socket.SOCK_DGRAM) as sender:
        sender.sendto(bytes(LONGEST + 50), (address, sock.getsockname()[1]))
    assert [len(data) for data, _ in Datagrams(sock, longest_bytes=LONGEST).receive(10)] == [LONGEST]


def test_what_is_refused_keeps_nothing_else_from_being_sent(bound: tuple[socket.socket, str]) -> None:
    sock, address = bound
    target = socket_address(address, sock.getsockname()[1], sock.family)
    # The kernel sends nothing to port 0.
    nobody = socket_address(address, 0, sock.family)
    datagrams = Datagrams(sock, longest_bytes=LONGEST)
    refused = datagrams.send([(target, b"first"), (nobody, b"lost"), (nobody, b"lost"), (target, b"last")])
    assert [(where, error.errno) for where, error in refused] == [(address, errno.EINVAL)] * 2
    assert [data for data, _ in datagrams.receive(10)] == [b"first", b"last"]


def test_a_turn_of_the_heartbeats_never_lets_go_of_the_interpreter() -> None:
    """Where other threads compute, letting go for every datagram made a sound node late by a third of a second."""
    intruded, gate = threading.Event(), threading.Lock()
    gate.acquire()

    def intrude() -> None:
        with gate:
            intruded.set()

    intruder = threading.Thread(target=intrude)
    intruder.start()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    transport = HeartbeatSocket(port, "127.0.0.1")
    transport.bind()
    transport.set_addresses({"me": ["127.0.0.1"]})
    heartbeat = Heartbeat(sender="me", phase=Phase.SERVING, incarnation=1, challenge=2, echo=3, sequence=4)
    heartbeat.encode(KEY)
    switch_seconds = sys.getswitchinterval()
    received = 0
    try:
        sys.setswitchinterval(60.0)
        # From here on it waits for the interpreter, and gets it when this thread lets go, or after a minute.
        gate.release()
        for _ in range(50):
            for _ in range(20):
                transport.put("me", heartbeat.encode(KEY), in_trouble=False, met=True)
            assert transport.flush() == []
            for datagram, _ in transport.receive(100):
                assert Heartbeat.decode(datagram, KEY) == heartbeat
                received += 1
        interrupted = intruded.is_set()
    finally:
        sys.setswitchinterval(switch_seconds)
    intruder.join()
    transport.close()
    assert received == 1000
    assert not interrupted

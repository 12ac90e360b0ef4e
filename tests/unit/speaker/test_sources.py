"""Heartbeats come from nodes: what comes from elsewhere the kernel drops, and every source is looked at once more."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import closing

import pytest
from hypothesis import given
from hypothesis import strategies as st

from allocator.core.addresses import Address, Family
from speaker.membership.link import Link, Subnet
from speaker.membership.transport import HeartbeatSocket
from speaker.netdev import bpf, filters

NODE, STRANGER = "127.0.0.2", "127.0.0.3"
ranges = st.tuples(st.integers(0, 300), st.integers(0, 30)).map(lambda pair: (pair[0], pair[0] + pair[1]))


def free_port() -> int:
    with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as probe:
        probe.bind(("::", 0))
        return int(probe.getsockname()[1])


@pytest.fixture(params=[None, "127.0.0.1"], ids=["both families", "IPv4"])
def listening(request: pytest.FixtureRequest) -> Iterator[tuple[HeartbeatSocket, int]]:
    port = free_port()
    transport = HeartbeatSocket(port, request.param, filters.restrict)
    transport.bind()
    with closing(transport):
        yield transport, port


def send(source: str, to: str, port: int) -> None:
    family = socket.AF_INET6 if ":" in source else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM) as sock:
        sock.bind((source, 0))
        sock.sendto(source.encode(), (to, port))


def received(transport: HeartbeatSocket) -> list[str]:
    return [source for _, source in transport.receive(100)]


def test_the_kernel_drops_what_does_not_come_from_a_node(listening: tuple[HeartbeatSocket, int]) -> None:
    transport, port = listening
    send(STRANGER, "127.0.0.1", port)
    assert received(transport) == [STRANGER], "before any node is known, nothing is dropped"
    transport.set_addresses({"node": [NODE]})
    for source in (STRANGER, NODE, STRANGER):
        send(source, "127.0.0.1", port)
    assert received(transport) == [NODE]
    transport.set_links([Link(name="eth0", mac=bytes(6), subnets=(Subnet.parse("127.0.0.0/24"),))])
    send(STRANGER, "127.0.0.1", port)
    assert received(transport) == [STRANGER], "a node may have any address of a LAN of this one's"


def test_ipv6_is_told_apart_from_ipv4_on_one_socket() -> None:
    port = free_port()
    transport = HeartbeatSocket(port, None, filters.restrict)
    transport.bind()
    with closing(transport):
        transport.set_addresses({"node": ["::1"]})
        send("127.0.0.1", "127.0.0.1", port)
        send("::1", "::1", port)
        assert received(transport) == ["::1"]
        transport.set_addresses({"node": ["2001:db8::1", "127.0.0.1"]})
        send("127.0.0.1", "127.0.0.1", port)
        send("::1", "::1", port)
        assert received(transport) == ["127.0.0.1"]


@given(st.lists(st.integers(0, 2**32 - 1), min_size=1, max_size=10), st.integers(0, 2**32 - 1), st.integers(8, 32))
def test_the_check_of_a_source_is_exact(nodes: list[int], other: int, length: int) -> None:
    transport = HeartbeatSocket(0)
    with closing(transport):
        lan = Subnet.parse(f"{Address(Family.IPV4, nodes[0])}/{length}")
        transport.set_addresses({"node": [str(Address(Family.IPV4, value)) for value in nodes]})
        transport.set_links([Link(name="eth0", mac=bytes(6), subnets=(lan,))])
        asked = Address(Family.IPV4, other)
        assert transport.expects(str(asked)) == (other in nodes or asked in lan)
        assert all(transport.expects(str(Address(Family.IPV4, value))) for value in nodes)


def test_interfaces_that_are_as_before_cost_nothing_however_many_nodes_there_are(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    transport = HeartbeatSocket(0)
    lan = Subnet.parse("192.0.2.0/24")
    parsed: list[str] = []

    def parse(text: str) -> Subnet:
        parsed.append(text)
        return lan

    with closing(transport):
        transport.set_addresses({f"node-{number}": [f"192.0.2.{number}"] for number in range(1, 200)})
        transport.set_links([Link(name="eth0", mac=bytes(6), subnets=(lan,))])
        monkeypatch.setattr(Subnet, "parse", parse)
        transport.set_links([Link(name="eth0", mac=bytes(6), subnets=(lan,))])
    assert parsed == []


def test_as_many_sources_as_one_likes_take_no_more_memory() -> None:
    transport = HeartbeatSocket(0)
    with closing(transport):
        transport.set_addresses({"node": ["192.0.2.1"]})
        for value in range(20_000):
            assert not transport.expects(str(Address(Family.IPV4, value)))
        assert len(transport._expected) <= 4096


@given(st.lists(ranges, max_size=30), st.integers(1, 8))
def test_ranges_are_joined_to_few_that_hold_them_all(given: list[tuple[int, int]], limit: int) -> None:
    found = bpf.cover_ranges(given, limit=limit)
    assert len(found) <= limit
    assert list(found) == sorted(found)
    held = {value for first, last in found for value in range(first, last + 1)}
    wanted = {value for first, last in given for value in range(first, last + 1)}
    assert wanted <= held
    if len(given) <= limit:
        assert wanted == held


def test_the_largest_filter_is_accepted() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        subnets = [Subnet.parse(f"10.{number >> 8}.{number & 255}.0/30") for number in range(0, 4000, 2)]
        subnets += [Subnet.parse(f"2001:{number:x}::/64") for number in range(0, 4000, 2)]
        filters.restrict(sock, subnets)

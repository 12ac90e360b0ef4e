"""Sessions of other programs of the node: found in the kernel's own tables, and given room."""

from __future__ import annotations

import socket
from collections.abc import Callable, Collection, Iterator
from contextlib import ExitStack
from dataclasses import replace

import pytest

from allocator.bgp.desired import Desired
from allocator.bgp.frr_config import Config
from allocator.bgp.inputs import Peer
from allocator.bgp.rendering import render
from allocator.core.addresses import Address
from speaker.bgp.events import Event
from speaker.bgp.peers_in_use import LOOK_SECONDS, QUIET_SECONDS, PeersInUse, in_use
from speaker.bgp.reports import SessionState
from speaker.bgp.undialled import Undialled
from speaker.netdev.tcp_connections import Connection, asked, established, read

LOOPBACK = Address.parse("127.0.0.1")
ROUTER = Address.parse("192.0.2.1")
NODE = Address.parse("192.0.2.9")
PEER = Peer(name="tor", my_asn=64512, peer_asn=64513, address=ROUTER, source_address=NODE)
HERE, THERE = Address.parse("fe80::9"), Address.parse("fe80::1")
FOREIGN = Connection(NODE, 40000, ROUTER, 179)


@pytest.fixture(params=["127.0.0.1", "::1"])
def connection(request: pytest.FixtureRequest) -> Iterator[tuple[Address, int, int]]:
    """A real connection on loopback: the address, the listener's port and that of the one who has dialled."""
    address = str(request.param)
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with ExitStack() as open_sockets:
        listener = open_sockets.enter_context(socket.socket(family))
        listener.bind((address, 0))
        listener.listen()
        port = listener.getsockname()[1]
        dialled = open_sockets.enter_context(socket.create_connection((address, port), timeout=10))
        accepted, _ = listener.accept()
        open_sockets.enter_context(accepted)
        yield Address.parse(address), port, dialled.getsockname()[1]


@pytest.mark.parametrize("ask", [asked, read, established])
def test_kernel_lists_the_connections_with_these_ports_alone(
    connection: tuple[Address, int, int], ask: Callable[..., frozenset[Connection]]
) -> None:
    address, listening, dialling = connection
    near = Connection(address, dialling, address, listening)
    far = Connection(address, listening, address, dialling)
    others = [port for port in (1, 179, 40_000, 65_535) if port not in (listening, dialling)]
    assert ask(local_ports=others, remote_ports=others).isdisjoint({near, far})
    for at in range(len(others) + 1):
        ports = [*others[:at], listening, *others[at:]]
        assert ask(local_ports=others, remote_ports=ports) & {near, far} == {near}
        assert ask(local_ports=ports, remote_ports=others) & {near, far} == {far}
    assert ask(local_ports=[], remote_ports=[listening]) == {near}


@pytest.mark.parametrize("ask", [asked, read])
def test_ipv4_of_a_listener_for_both_families_is_ipv4(ask: Callable[..., frozenset[Connection]]) -> None:
    with socket.socket(socket.AF_INET6) as listener:
        listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        listener.bind(("::", 0))
        listener.listen()
        port = listener.getsockname()[1]
        with socket.create_connection(("127.0.0.1", port), timeout=10) as dialled:
            accepted, _ = listener.accept()
            with accepted:
                mapped = Connection(LOOPBACK, port, LOOPBACK, dialled.getsockname()[1])
                assert mapped in ask(local_ports=[port], remote_ports=[])


def test_router_with_a_connection_to_its_port_is_in_use(connection: tuple[Address, int, int]) -> None:
    address, listening, _ = connection
    peer = replace(PEER, address=address, source_address=None, port=listening)
    assert in_use([peer]) == {"tor"}
    assert in_use([replace(peer, port=listening - 1 or 2)]) == frozenset()


@pytest.mark.parametrize(
    ("found", "used"),
    [
        (FOREIGN, True),
        (Connection(NODE, 179, ROUTER, 50000), True),  # the router dialled another program's listener
        (Connection(Address.parse("192.0.2.8"), 40000, ROUTER, 179), False),  # from another of the node's addresses
        (Connection(NODE, 40000, ROUTER, 22), False),
    ],
)
def test_only_bgp_from_the_same_address_takes_the_place_of_a_session(found: Connection, used: bool) -> None:
    assert bool(in_use([PEER], look=lambda _: frozenset({found}))) is used


@pytest.mark.parametrize(
    ("found", "used"),
    [
        (Connection(HERE, 40000, THERE, 179, 7), True),
        (Connection(HERE, 179, THERE, 40000, 7), True),
        (Connection(HERE, 40000, THERE, 22, 7), False),
        (Connection(HERE, 40000, THERE, 179, 8), False),  # over another interface
        (Connection(HERE, 40000, THERE, 179), False),
        (Connection(Address.parse("2001:db8::9"), 40000, Address.parse("2001:db8::1"), 179, 7), False),
        (replace(FOREIGN, interface=7), False),
    ],
)
def test_peer_on_an_interface_is_in_use_by_a_link_local_connection_there(
    found: Connection, used: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(socket, "if_nametoindex", lambda name: {"eth1": 7}[name])
    peer = replace(PEER, address=None, interface="eth1", source_address=None)
    assert bool(in_use([peer], look=lambda _: frozenset({found}))) is used


def test_peer_on_an_interface_that_is_not_there_is_not_in_use() -> None:
    peer = replace(PEER, address=None, interface="no-such", source_address=None)
    assert in_use([peer], look=lambda _: frozenset({Connection(HERE, 40000, THERE, 179)})) == frozenset()


class Kernel:
    """Connections as the test sets them, and a clock."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.connections: frozenset[Connection] = frozenset()
        self.looks = 0

    def look(self, ports: Collection[int]) -> frozenset[Connection]:
        self.looks += 1
        return frozenset(each for each in self.connections if each.local_port == 179 or each.remote_port in ports)

    def clock(self) -> float:
        return self.now


@pytest.fixture
def kernel() -> Kernel:
    return Kernel()


@pytest.fixture
def peers(kernel: Kernel) -> PeersInUse:
    return PeersInUse(look=kernel.look, clock=kernel.clock)


def state(name: str) -> dict[str, SessionState]:
    return {"tor": SessionState(peer="tor", vrf="", neighbor=str(ROUTER), state=name)}


def test_peer_in_use_is_let_go_when_its_connection_has_been_away_for_two_minutes(
    kernel: Kernel, peers: PeersInUse
) -> None:
    peers.note(PEER)
    kernel.connections = frozenset({FOREIGN})
    for _ in range(30):
        kernel.now += LOOK_SECONDS
        peers.watch({"tor": PEER}, {})
        assert peers.names == {"tor"}
    kernel.connections = frozenset()
    last_seen = kernel.now
    while peers.names:
        assert kernel.now - last_seen < QUIET_SECONDS
        kernel.now += LOOK_SECONDS
        peers.watch({"tor": PEER}, {})
    assert kernel.now - last_seen >= QUIET_SECONDS


def test_edited_peer_is_looked_at_anew(kernel: Kernel, peers: PeersInUse) -> None:
    peers.note(PEER)
    peers.watch({"tor": replace(PEER, source_address=Address.parse("192.0.2.8"))}, {})
    assert peers.names == frozenset()


def test_connection_that_stays_while_our_session_is_down_is_of_another_program(
    kernel: Kernel, peers: PeersInUse
) -> None:
    kernel.connections = frozenset({FOREIGN})
    peers.watch({"tor": PEER}, state("Active"))
    assert peers.names == frozenset(), "bgpd may be about to take it"
    kernel.now += LOOK_SECONDS
    peers.watch({"tor": PEER}, state("Idle"))
    assert peers.names == {"tor"}


def test_session_to_the_same_address_in_another_vrf_takes_nobodys_place(kernel: Kernel, peers: PeersInUse) -> None:
    """The kernel lists the connections of all VRFs, and does not say of which one each is."""
    red = replace(PEER, name="red", vrf="red", source_address=None)
    asked: list[str] = []

    def in_use_all(found: Collection[Peer]) -> frozenset[str]:
        asked.extend(peer.name for peer in found)
        return frozenset(asked)

    alone, both = {"red": red}, {"tor": PEER, "red": red}
    undialled: list[bool] = []
    events: list[Event] = []
    for sessions in (alone, both):
        leave_out = Undialled(in_use_all, report=events.append).leave_out
        undialled.append(leave_out(render(Desired(sessions)), Config(), sessions) != render(Desired(sessions)))
    assert undialled == [True, False]
    assert asked == ["red"]
    kernel.connections = frozenset({FOREIGN})
    peers.note(red)
    down = {"red": SessionState(peer="red", vrf="red", neighbor=str(ROUTER), state="Active")}
    for _ in range(3):
        peers.watch(both, state("Established") | down)
        assert peers.names == frozenset()
        kernel.now += LOOK_SECONDS


def test_peer_that_moves_to_another_vrf_is_not_held_back_by_its_own_session() -> None:
    moved = {"tor": replace(PEER, vrf="red")}
    wanted, events = render(Desired(moved)), list[Event]()
    undialled = Undialled(lambda peers: frozenset(peer.name for peer in peers), report=events.append)
    assert undialled.leave_out(wanted, render(Desired({"tor": PEER})), moved).lines == wanted.lines
    assert events == []


@pytest.mark.parametrize("up", ["OpenSent", "OpenConfirm", "Established"])
def test_own_connection_is_never_taken_for_another_programs(kernel: Kernel, peers: PeersInUse, up: str) -> None:
    kernel.connections = frozenset({FOREIGN})
    for name in ("Active", up, "Active", up):
        peers.watch({"tor": PEER}, state(name))
        kernel.now += LOOK_SECONDS
    assert peers.names == frozenset()


def test_nothing_is_read_while_all_sessions_are_up(kernel: Kernel, peers: PeersInUse) -> None:
    for _ in range(5):
        kernel.now += LOOK_SECONDS
        peers.watch({"tor": PEER}, state("Established"))
    assert kernel.looks == 0
    assert peers.due is None

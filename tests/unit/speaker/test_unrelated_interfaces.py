"""An interface that cannot carry an address has no say: it delays no answer, and has nothing announced again."""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import closing, contextmanager
from dataclasses import replace
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry

from allocator.core.addresses import Address
from speaker.cluster.scope import EVERYWHERE, Scope
from speaker.layer2.announcer import Announcer
from speaker.layer2.conflicts import Claim, ConflictListener
from speaker.layer2.gratuitous import BURST_SECONDS
from speaker.layer2.interface_endpoints import InterfaceEndpoints
from speaker.membership.link import Subnet
from speaker.metrics import SpeakerMetrics
from speaker.netdev.interfaces import Interface
from tests.lab.waiting import wait_until

VIP = Address.parse("192.0.2.100")
LAN, OTHER_LAN = Subnet.parse("192.0.2.0/24"), Subnet.parse("172.18.0.0/16")


def interface(index: int, name: str, *subnets: Subnet) -> Interface:
    return Interface(index=index, name=name, mac=bytes((2, 0, 0, 0, 0, index)), subnets=frozenset(subnets))


ETH0 = interface(2, "eth0", LAN)
BRIDGE = interface(3, "br-1", OTHER_LAN)


class Endpoints:
    """Interfaces without sockets: what is asked and announced is written down."""

    def __init__(self) -> None:
        self.asked: list[Address] = []
        self.announced: list[tuple[str, Address]] = []
        self.on_claim: Callable[[Claim], None] = lambda _: None

    def open(self, interface: Interface, on_claim: Callable[[Claim], None]) -> Any:
        self.on_claim = on_claim
        return _Endpoint(interface.name, self)


class _Endpoint:
    listeners = ()

    def __init__(self, name: str, wire: Endpoints) -> None:
        self._name = name
        self._wire = wire

    def change(self, *_: Any, **__: Any) -> list[Any]:
        return []

    def works(self, *_: Any, **__: Any) -> bool:
        return True

    def announce(self, address: Address) -> bool:
        self._wire.announced.append((self._name, address))
        return True

    def probe(self, address: Address) -> bool:
        self._wire.asked.append(address)
        return True


@contextmanager
def announcing(wire: Endpoints, **options: Any) -> Any:
    no_packets: Any = None
    announcer = Announcer(
        packets=no_packets, open_endpoint=wire.open, metrics=SpeakerMetrics(CollectorRegistry()), **options
    )
    announcer.set_interfaces([ETH0])
    announcer.start()
    try:
        yield announcer
    finally:
        announcer.stop()


def test_an_interface_has_a_say_about_what_is_in_its_subnet_or_in_none() -> None:
    wire, no_packets = Endpoints(), Any
    endpoints = InterfaceEndpoints(
        packets=no_packets,  # type: ignore[arg-type]
        open_endpoint=wire.open,
        on_claim=lambda _: None,
        metrics=SpeakerMetrics(CollectorRegistry()),
    )
    with closing(endpoints):
        endpoints.follow([ETH0, BRIDGE])
        elsewhere = Address.parse("198.51.100.1")
        wanted = {VIP: EVERYWHERE, elsewhere: EVERYWHERE}
        assert endpoints.concerned(["br-1"], wanted) == [elsewhere], "nobody has its subnet"
        assert endpoints.concerned(["eth0"], wanted) == [VIP, elsewhere]
        assert endpoints.concerned(["br-1"], {VIP: Scope(frozenset({"br-1"}))}) == [VIP], "it is the only one named"


subnets = st.lists(st.sampled_from([LAN, OTHER_LAN, Subnet.parse("2001:db8::/64")]), max_size=2, unique=True)
scopes = st.one_of(
    st.just(EVERYWHERE), st.sets(st.sampled_from(["i0", "i1", "i2"]), min_size=1).map(frozenset).map(Scope)
)


@given(st.lists(subnets, min_size=1, max_size=3), st.booleans(), scopes, st.sets(st.sampled_from(["i0", "i1", "i2"])))
def test_an_interface_is_concerned_where_it_is_relevant(
    of_each: list[list[Subnet]], ipv6: bool, scope: Scope, names: set[str]
) -> None:
    no_packets: Any = None
    endpoints = InterfaceEndpoints(
        packets=no_packets,
        open_endpoint=Endpoints().open,
        on_claim=lambda _: None,
        metrics=SpeakerMetrics(CollectorRegistry()),
    )
    with closing(endpoints):
        endpoints.follow(
            replace(interface(2 + index, f"i{index}", *each), ipv6=ipv6 or index > 0)
            for index, each in enumerate(of_each)
        )
        for text in ("192.0.2.1", "172.18.0.1", "198.51.100.1", "2001:db8::1", "2001:db8:1::1"):
            address = Address.parse(text)
            relevant = {each.name for each in endpoints._relevant(address, scope, endpoints._present)}
            assert endpoints.concerned(names, {address: scope}) == [address] * bool(relevant & names)


def test_a_bridge_that_comes_and_goes_does_not_keep_a_new_address_from_being_answered() -> None:
    wire, over = Endpoints(), threading.Event()

    def flap(announcer: Announcer) -> None:
        while not over.wait(0.01):
            announcer.set_interfaces([ETH0, BRIDGE])
            announcer.set_interfaces([ETH0])

    with announcing(wire) as announcer:
        flapping = threading.Thread(target=flap, args=(announcer,))
        flapping.start()
        try:
            announcer.announce({VIP: EVERYWHERE}, unheld={VIP})
            wait_until(lambda: announcer.answered() == {VIP}, 5, "the address is answered")
        finally:
            over.set()
            flapping.join()


def test_without_probing_the_lan_is_never_asked() -> None:
    """A router that answers for every address would be a conflict with each refresh."""
    wire, over = Endpoints(), threading.Event()
    with announcing(wire, probe=False, refresh_seconds=0.01, retry_seconds=0.01) as announcer:
        announcer.report_to(ConflictListener(on_over=lambda _: over.set()))
        announcer._states._schedule._offsets = BURST_SECONDS[:1]
        announcer.announce({VIP: EVERYWHERE}, unheld={VIP})
        wait_until(lambda: len(wire.announced) > 2, 5, "its burst is over, and it is refreshed")
        wire.on_claim(Claim(address=VIP, interface="eth0", mac=bytes(6)))
        wait_until(over.is_set, 5, "the conflict ends when the host is silent")
    assert wire.asked == []

"""Asking the LAN about addresses before they are needed, against real kernels."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest
from prometheus_client import CollectorRegistry

from allocator.core.addresses import Address
from speaker.cluster.next_addresses import Question
from speaker.cluster.scope import EVERYWHERE, Scope
from speaker.frames.arp import Operation, gratuitous
from speaker.frames.ethernet import mac_bytes
from speaker.layer2.announcer import Announcer
from speaker.layer2.conflicts import ConflictListener
from speaker.layer2.interface_endpoint import opener
from speaker.layer2.probing import PROBE_SECONDS, PROBES
from speaker.layer2.vacancy_prober import VacancyListener, VacancyProber
from speaker.metrics import SpeakerMetrics
from speaker.netdev.event_loop import PacketLoop
from speaker.netdev.interface_watch import InterfaceWatch
from speaker.netdev.interfaces import Interface
from tests.lab.capture import ETH_P_ARP, Capture
from tests.lab.network import Host
from tests.lab.waiting import wait_until
from tests.wire.conftest import Join
from tests.wire.speaking import resolve, resolved_as, tap

VIP4, VIP6 = "192.0.2.100", "2001:db8::100"
both_families = pytest.mark.parametrize("vip", [VIP4, VIP6])


class Asking:
    """The half of a speaker that asks and announces, as the process puts it together."""

    def __init__(self, node: Host) -> None:
        self.node = node
        self.open = True
        self.vacant: list[str] = []
        self.taken: list[tuple[str, str]] = []
        self.conflicts: list[str] = []
        registry = CollectorRegistry()
        self.registry = registry
        metrics = SpeakerMetrics(registry)
        self.packets = PacketLoop()
        self.prober = VacancyProber(
            packets=self.packets,
            open_endpoint=opener(metrics, lambda: self.open, answers=False),
            metrics=metrics,
            may_send=lambda: self.open,
        )
        self.announcer = Announcer(
            packets=self.packets,
            open_endpoint=opener(metrics, lambda: self.open),
            metrics=metrics,
            may_send=lambda: self.open,
            is_vacant=self.prober.is_vacant,
            refresh_seconds=0,
        )
        self.announcer.report_to(
            ConflictListener(on_conflict=lambda address, *_: self.conflicts.append(str(address)))
        )
        self.prober.report_to(
            VacancyListener(
                on_taken=lambda address, _, mac: self.taken.append((str(address), mac.hex(":"))),
                on_vacant=self._found_vacant,
            )
        )
        with node.inside():
            self.interfaces = InterfaceWatch(self._follow)
            for part in (self.packets, self.announcer, self.prober, self.interfaces):
                part.start()
        wait_until(lambda: self.announcer.interfaces_of(EVERYWHERE), 5, "the node has interfaces")

    def ask(self, *vips: str, claimed: bool = False, scope: Scope = EVERYWHERE) -> None:
        questions = {Address.parse(vip): Question(scope=scope, claimed=claimed) for vip in vips}
        self.prober.ask(lambda: questions, at_once=True)

    def announce(self, *vips: str) -> None:
        wanted = {Address.parse(vip): EVERYWHERE for vip in vips}
        with self.node.inside():
            self.announcer.announce(wanted, unheld=frozenset(wanted))

    def known(self, vip: str) -> bool:
        return self.prober.is_vacant(Address.parse(vip))

    def answered(self) -> list[str]:
        return sorted(map(str, self.announcer.answered()))

    def counted(self, asked: str) -> float:
        return self.registry.get_sample_value("admitlb_new_addresses_total", {"asked": asked}) or 0.0

    def stop(self) -> None:
        for part in (self.interfaces, self.prober, self.announcer, self.packets):
            part.stop()

    def _follow(self, interfaces: tuple[Interface, ...]) -> None:
        self.announcer.set_interfaces(interfaces)
        self.prober.set_interfaces(interfaces)

    def _found_vacant(self, address: Address) -> None:
        self.announcer.found_vacant(address)
        self.vacant.append(str(address))


@pytest.fixture
def hosts(join: Join) -> tuple[Host, Host, Host]:
    node, squatter, client = join(
        node=["192.0.2.1/24", "2001:db8::1/64"],
        squatter=["192.0.2.66/24", "2001:db8::66/64"],
        client=["192.0.2.2/24", "2001:db8::2/64"],
    )
    return node, squatter, client


@pytest.fixture
def asking(hosts: tuple[Host, Host, Host]) -> Iterator[Asking]:
    asking = Asking(hosts[0])
    yield asking
    asking.stop()


def take(host: Host, vip: str) -> None:
    host.run_ip(f"address add {vip}/{64 if ':' in vip else 24} dev eth0{' nodad' if ':' in vip else ''}")


@both_families
def test_a_free_address_is_known_to_be_free_and_then_answered_at_once(
    hosts: tuple[Host, Host, Host], asking: Asking, vip: str
) -> None:
    _, _, client = hosts
    asking.ask(vip)
    wait_until(lambda: asking.known(vip), 5, "the address is known to be free")

    asking.announce(vip)

    assert asking.answered() == [vip]
    resolve(client, [vip])
    resolved_as(client, vip, hosts[0].mac("eth0"))
    assert (asking.counted("before"), asking.counted("then")) == (1.0, 0.0)
    assert asking.conflicts == []


@both_families
def test_a_host_that_has_it_is_found_beforehand_and_keeps_it(
    hosts: tuple[Host, Host, Host], asking: Asking, vip: str
) -> None:
    _, squatter, _ = hosts
    take(squatter, vip)
    asking.ask(vip)
    wait_until(lambda: asking.taken, 5, "the host is found")
    assert asking.taken == [(vip, squatter.mac("eth0"))]
    assert not asking.known(vip)

    asking.announce(vip)

    wait_until(lambda: asking.conflicts, 5, "the host is found again before the address is answered")
    assert asking.answered() == []


def test_a_look_that_began_with_the_claim_ends_the_wait_of_the_announcement(asking: Asking) -> None:
    asking.ask(VIP4, claimed=True)
    wait_until(lambda: Address.parse(VIP4) in asking.prober._vacancy.scopes(), 5, "it is asked about")
    begun = time.monotonic()
    asking.announce(VIP4)
    assert asking.answered() == []
    wait_until(lambda: asking.answered() == [VIP4], 5, "it is answered")

    assert asking.vacant == [VIP4]
    assert time.monotonic() - begun < 10 * PROBES * PROBE_SECONDS


def test_a_host_that_comes_after_the_look_is_found_with_the_first_announcement(
    hosts: tuple[Host, Host, Host], asking: Asking
) -> None:
    _, squatter, _ = hosts
    asking.ask(VIP4)
    wait_until(lambda: asking.known(VIP4), 5, "the address is known to be free")
    # A kernel says nothing of a new address.
    take(squatter, VIP4)

    asking.announce(VIP4)

    assert asking.answered() == [VIP4]
    wait_until(lambda: asking.conflicts == [VIP4], 2, "the conflict is reported")


def test_a_host_that_comes_and_says_so_is_found_at_once(hosts: tuple[Host, Host, Host], asking: Asking) -> None:
    _, squatter, _ = hosts
    asking.ask(VIP4)
    wait_until(lambda: asking.known(VIP4), 5, "the address is known to be free")
    with tap(squatter) as host:
        host.send(gratuitous(Operation.REQUEST, Address.parse(VIP4), host.mac).encode())

    wait_until(lambda: asking.taken == [(VIP4, squatter.mac("eth0"))], 5, "the host is found")
    assert not asking.known(VIP4)


def test_what_is_asked_on_an_interface_that_is_not_there_is_never_known(asking: Asking) -> None:
    asking.ask(VIP4, VIP6, scope=Scope(frozenset({"eth9"})))
    time.sleep(4 * PROBES * PROBE_SECONDS)

    assert (asking.known(VIP4), asking.vacant) == (False, [])


def test_after_a_standstill_nothing_that_was_known_counts(asking: Asking) -> None:
    asking.ask(VIP4)
    wait_until(lambda: asking.known(VIP4), 5, "the address is known to be free")
    asking.open = False
    assert not asking.known(VIP4)
    asking.ask(VIP4, VIP6)
    time.sleep(4 * PROBES * PROBE_SECONDS)
    assert asking.vacant == [VIP4]
    asking.open = True

    wait_until(lambda: asking.known(VIP4) and asking.known(VIP6), 5, "both are asked about anew")


def test_a_handful_of_addresses_costs_three_frames_each_and_then_nothing_for_half_a_minute(
    hosts: tuple[Host, Host, Host], asking: Asking
) -> None:
    node, _, client = hosts
    mac = mac_bytes(node.mac("eth0"))
    vips = [f"192.0.2.{number}" for number in range(100, 108)]
    with Capture(client, ethertype=ETH_P_ARP, keep=lambda data: data[6:12] == mac) as capture:
        asking.ask(*vips)
        wait_until(lambda: all(asking.known(vip) for vip in vips), 10, "all are known")
        before = len(capture.frames)
        time.sleep(2)
        frames = [frame.data for frame in capture.frames]

    assert len(frames) == before == PROBES * len(vips)
    assert {data[28:32] for data in frames} == {bytes(4)}, "a question names no sender (RFC 5227 2.1.1)"

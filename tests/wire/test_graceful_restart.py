"""Answering for a node whose speaker is away: with its hardware address, from ours, and without a word unasked."""

from __future__ import annotations

import ipaddress
import threading
from collections.abc import Iterator

import pytest
from scapy.layers.inet6 import ICMPv6ND_NA, ICMPv6NDOptDstLLAddr
from scapy.layers.l2 import ARP, Ether

from allocator.core.addresses import Address
from speaker.cluster.scope import EVERYWHERE
from speaker.membership.host_check import HostWatch
from tests.lab.capture import ETH_P_ALL, Capture
from tests.lab.network import Host
from tests.lab.waiting import wait_until
from tests.lab.who_has import who_has
from tests.wire.conftest import Join
from tests.wire.speaking import Speaking, resolved_as, tap

VIP4, VIP6 = "192.0.2.100", "2001:db8::100"
RESTARTING = {"eth0": bytes.fromhex("0200000000aa")}
RESTARTING_TEXT = "02:00:00:00:00:aa"


@pytest.fixture
def hosts(join: Join) -> tuple[Host, ...]:
    return join(
        speaker=["192.0.2.1/24", "2001:db8::1/64"],
        client=["192.0.2.2/24", "2001:db8::2/64"],
        restarting=["192.0.2.3/24", "2001:db8::3/64"],
    )


@pytest.mark.parametrize("vip", [VIP4, VIP6])
def test_the_answer_names_the_restarting_nodes_address_but_comes_from_ours(hosts: tuple[Host, ...], vip: str) -> None:
    speaker, client, _ = hosts
    address = Address.parse(vip)
    with Speaking(speaker) as speaking:
        speaking.announcer.announce({address: EVERYWHERE}, helped={address: RESTARTING})
        assert who_has(client, vip) == {RESTARTING_TEXT}
        frames = answers(client, vip)
        assert {Ether(frame).src for frame in frames} == {speaker.mac("eth0")}


def answers(client: Host, vip: str) -> list[bytes]:
    """Ask, and return the whole frames that answer."""
    with Capture(client, "eth0", ethertype=ETH_P_ALL, keep=lambda frame: tells(frame, vip)) as capture:
        who_has(client, vip)
    return [frame.data for frame in capture.frames]


def tells(frame: bytes, vip: str) -> bool:
    packet = Ether(frame)
    if ARP in packet:
        return bool(packet[ARP].op == 2 and packet[ARP].psrc == vip)
    if ICMPv6ND_NA not in packet or ICMPv6NDOptDstLLAddr not in packet:
        return False
    return ipaddress.ip_address(packet[ICMPv6ND_NA].tgt) == ipaddress.ip_address(vip)


def test_nothing_is_announced_until_the_loan_is_over_and_then_at_once(hosts: tuple[Host, ...]) -> None:
    speaker, client, _ = hosts
    address = Address.parse(VIP4)
    with Speaking(speaker) as speaking, tap(client) as wire:
        speaking.announcer.announce({address: EVERYWHERE}, helped={address: RESTARTING})
        speaking.announcer.announce_again()
        wire.ask(VIP4)
        (reply,) = wire.until_reply(VIP4)
        assert reply.sender_mac == RESTARTING["eth0"], "the answer is the first thing said"
        client.run("ip", "neigh", "replace", VIP4, "lladdr", RESTARTING_TEXT, "dev", "eth0", "nud", "stale")
        speaking.announcer.announce({address: EVERYWHERE})
        resolved_as(client, VIP4, speaker.mac("eth0"))


@pytest.fixture
def watched(hosts: tuple[Host, ...]) -> Iterator[tuple[HostWatch, list[frozenset[str]]]]:
    speaker, _, _ = hosts
    reports: list[frozenset[str]] = []
    with speaker.inside():
        watch = HostWatch(7946)
        watch.report_to(reports.append)
        watch.start()
    yield watch, reports
    watch.stop()
    assert not watch.alive


def test_a_node_is_gone_when_its_kernel_no_longer_refuses_connections(
    hosts: tuple[Host, ...], watched: tuple[HostWatch, list[frozenset[str]]]
) -> None:
    _, _, restarting = hosts
    watch, reports = watched
    watch.watch({"restarting": "192.0.2.3", "restarting-6": "2001:db8::3"})
    threading.Event().wait(1.0)
    assert reports == []
    restarting.links["eth0"].down()
    wait_until(lambda: reports[-1:] == [frozenset({"restarting", "restarting-6"})], 5, "both are reported gone")
    restarting.links["eth0"].up()
    wait_until(lambda: reports[-1:] == [frozenset()], 10, "and back")


def test_a_node_stays_gone_when_another_is_watched_as_well_and_comes_back_when_it_answers(
    hosts: tuple[Host, ...], watched: tuple[HostWatch, list[frozenset[str]]]
) -> None:
    _, _, restarting = hosts
    watch, reports = watched
    watch.watch({"restarting": "192.0.2.3"})
    restarting.links["eth0"].down()
    wait_until(lambda: reports == [frozenset({"restarting"})], 5, "it is gone")
    watch.watch({"restarting": "192.0.2.3", "client": "192.0.2.2"})
    threading.Event().wait(0.4)
    assert reports == [frozenset({"restarting"})]
    restarting.links["eth0"].up()
    wait_until(lambda: reports[-1:] == [frozenset()], 10, "it is back")


def test_a_node_that_was_gone_may_be_watched_again_later(
    hosts: tuple[Host, ...], watched: tuple[HostWatch, list[frozenset[str]]]
) -> None:
    _, _, restarting = hosts
    watch, reports = watched
    restarting.links["eth0"].down()
    for _ in range(2):
        watch.watch({"restarting": "192.0.2.3"})
        wait_until(lambda: reports[-1:] == [frozenset({"restarting"})], 5, "it is gone")
        watch.watch({})
        wait_until(lambda: reports[-1:] == [frozenset()], 5, "nobody is asked about any more")

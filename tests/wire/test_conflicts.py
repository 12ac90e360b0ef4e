"""Hosts that have our addresses: found before an address is announced, and afterwards."""

from __future__ import annotations

import threading
import time
from pathlib import Path

import pytest

from allocator.core.addresses import Address
from speaker.cluster.scope import EVERYWHERE
from speaker.frames import ndp
from speaker.frames.arp import Operation, gratuitous
from speaker.frames.ethernet import mac_bytes
from speaker.layer2.probing import PROBE_SECONDS, PROBES
from tests.lab.capture import ETH_P_ARP, ETH_P_IPV6, Capture
from tests.lab.network import Host, Network
from tests.lab.waiting import wait_until
from tests.wire.conftest import Join
from tests.wire.speaking import Speaking, resolve, resolved_as, tap

VIP4, VIP6 = "192.0.2.100", "2001:db8::100"
both_families = pytest.mark.parametrize("vip", [VIP4, VIP6])


@pytest.fixture
def wire(join: Join) -> tuple[Host, Host, Host]:
    """A node, a host that may take the node's addresses, and a client, dual stack."""
    node, squatter, client = join(
        node=["192.0.2.1/24", "2001:db8::1/64"],
        squatter=["192.0.2.66/24", "2001:db8::66/64"],
        client=["192.0.2.2/24", "2001:db8::2/64"],
    )
    return node, squatter, client


def take(host: Host, vip: str) -> None:
    """Give the address to a host's kernel, without asking anyone and without telling."""
    host.run_ip(f"address add {vip}/{64 if ':' in vip else 24} dev eth0{' nodad' if ':' in vip else ''}")


def drop(host: Host, vip: str) -> None:
    host.run_ip(f"address del {vip}/{64 if ':' in vip else 24} dev eth0")


@both_families
def test_a_free_address_is_asked_for_three_times_and_then_announced(wire: tuple[Host, Host, Host], vip: str) -> None:
    node, _, client = wire
    ethertype = ETH_P_IPV6 if ":" in vip else ETH_P_ARP
    mac = mac_bytes(node.mac("eth0"))
    keep = lambda data: data[6:12] == mac and Address.parse(vip).value.to_bytes(16 if ":" in vip else 4) in data  # noqa: E731
    with Speaking(node) as speaking, Capture(client, ethertype=ethertype, keep=keep) as capture:
        asked_at = time.monotonic()
        speaking.announce(vip, unheld=True)
        resolve(client, [vip])
        resolved_as(client, vip, node.mac("eth0"))
        frames = [frame.data for frame in capture.frames]
    address = Address.parse(vip)
    if ":" in vip:
        assert frames[:4] == [ndp.probe(address, mac).encode()] * 3 + [ndp.unsolicited(address, mac).encode()]
    else:
        # Probes name no sender: no cache may take them for an answer (RFC 5227 2.1.1).
        assert [data[28:32] for data in frames[:3]] == [bytes(4)] * 3
        assert frames[3] == gratuitous(Operation.REQUEST, address, mac).encode()
    # Spread over what a frame needs to get lost or answered, not sent as one.
    assert capture.frames[3].at - asked_at >= PROBES * PROBE_SECONDS
    assert speaking.conflicts == []


@both_families
def test_an_address_another_host_has_is_left_to_it_and_taken_when_it_is_gone(
    wire: tuple[Host, Host, Host], vip: str
) -> None:
    node, squatter, client = wire
    take(squatter, vip)
    with Speaking(node, retry_seconds=0.3) as speaking:
        speaking.announce(vip, unheld=True)
        wait_until(lambda: speaking.conflicts, 5, "the conflict is reported")
        assert speaking.conflicts == [(vip, "eth0", squatter.mac("eth0"))]
        assert [conflict.yielded for conflict in speaking.announcer.conflicts()] == [True]
        assert speaking.announcer.answered() == frozenset()
        resolve(client, [vip])
        resolved_as(client, vip, squatter.mac("eth0"))
        assert speaking.metrics.gratuitous_sent.value(vip) == 0
        drop(squatter, vip)
        resolved_as(client, vip, node.mac("eth0"))
        wait_until(lambda: speaking.over == [vip], 5, "the end of the conflict is told")
        assert speaking.announcer.conflicts() == ()
    count = speaking.registry.get_sample_value("admitlb_address_conflicts_total", {"ip": vip, "claimant": "host"})
    assert count == 1


@both_families
def test_probes_that_a_closed_fence_swallowed_do_not_count(wire: tuple[Host, Host, Host], vip: str) -> None:
    node, squatter, _ = wire
    fence = threading.Event()
    take(squatter, vip)
    with Speaking(node, may_send=fence.is_set) as speaking:
        speaking.announce("192.0.2.101")
        speaking.announce("192.0.2.101", vip, unheld=True)
        # Ten times as long as three probes take.
        assert not fence.wait(10 * PROBES * PROBE_SECONDS)
        assert speaking.announcer.answered() == {Address.parse("192.0.2.101")}
        assert speaking.announcements("taken") == 0, "nothing is counted that was not sent"
        fence.set()
        wait_until(lambda: speaking.conflicts, 5, "the host that has it is found")
        wait_until(lambda: speaking.announcements("taken") == 1, 5, "what waited is sent")
        assert Address.parse(vip) not in speaking.announcer.answered()


@both_families
def test_a_takeover_does_not_wait_for_probes(wire: tuple[Host, Host, Host], vip: str) -> None:
    node, _, _ = wire
    with Speaking(node) as speaking:
        speaking.announce(vip)
        assert list(speaking.announcer.answered()) == [Address.parse(vip)]


def test_a_host_that_claims_an_announced_address_is_contradicted_once_and_reported(
    wire: tuple[Host, Host, Host],
) -> None:
    node, squatter, client = wire
    with Speaking(node) as speaking, tap(squatter) as foe:
        speaking.announce(VIP4, VIP6)
        wait_until(lambda: speaking.metrics.gratuitous_sent.value(VIP4) == 14, 10, "the burst is over")
        for _ in range(5):
            foe.send(gratuitous(Operation.REQUEST, Address.parse(VIP4), foe.mac).encode())
        wait_until(lambda: speaking.conflicts, 5, "the conflict is reported")
        # The answer follows all claims, so whatever they provoke has been sent before it.
        foe.ask(VIP4)
        foe.until_reply(VIP4)
        assert speaking.metrics.gratuitous_sent.value(VIP4) == 16
        assert speaking.conflicts == [(VIP4, "eth0", squatter.mac("eth0"))]
        resolve(client, [VIP4])
        resolved_as(client, VIP4, node.mac("eth0"))
        assert Address.parse(VIP4) in speaking.announcer.answered()


def test_an_advertisement_of_an_announced_address_by_another_host_is_contradicted_and_reported(
    wire: tuple[Host, Host, Host],
) -> None:
    node, squatter, client = wire
    with Speaking(node) as speaking, tap(squatter) as foe:
        speaking.announce(VIP6)
        resolve(client, [VIP6])
        resolved_as(client, VIP6, node.mac("eth0"))
        wait_until(lambda: speaking.metrics.gratuitous_sent.value(VIP6) == 7, 10, "the burst is over")
        foe.send(ndp.unsolicited(Address.parse(VIP6), foe.mac).encode())
        wait_until(lambda: speaking.conflicts == [(VIP6, "eth0", squatter.mac("eth0"))], 5, "it is reported")
        resolved_as(client, VIP6, node.mac("eth0"))


@both_families
def test_a_host_that_took_an_announced_address_without_a_word_is_found_at_a_refresh(
    wire: tuple[Host, Host, Host], vip: str
) -> None:
    node, squatter, _ = wire
    with Speaking(node, refresh_seconds=0.2, retry_seconds=0.3) as speaking:
        speaking.announce(vip)
        take(squatter, vip)
        wait_until(lambda: speaking.conflicts, 20, "the squatter is found")
        assert [conflict.yielded for conflict in speaking.announcer.conflicts()] == [False]
        drop(squatter, vip)
        wait_until(lambda: speaking.over == [vip], 20, "it is gone")


def test_another_speaker_of_ours_that_hands_over_is_no_conflict(wire: tuple[Host, Host, Host]) -> None:
    node, other, client = wire
    names = {mac_bytes(node.mac("eth0")): "node-1", mac_bytes(other.mac("eth0")): "node-2"}
    with Speaking(node, whose=names.get) as leaving, Speaking(other, whose=names.get) as taking:
        leaving.announce(VIP4, VIP6)
        resolve(client, [VIP4, VIP6])
        resolved_as(client, VIP4, node.mac("eth0"))
        # Even one that probes, because it does not know better, takes over from a speaker that still answers.
        taking.announce(VIP4, VIP6, unheld=True)
        resolved_as(client, VIP4, other.mac("eth0"))
        leaving.announce()
        resolved_as(client, VIP6, other.mac("eth0"))
    assert leaving.conflicts + taking.conflicts == []
    assert leaving.rivals + taking.rivals == []


def test_two_of_ours_that_go_on_announcing_one_address_learn_of_each_other(wire: tuple[Host, Host, Host]) -> None:
    node, other, _ = wire
    names = {mac_bytes(node.mac("eth0")): "node-1", mac_bytes(other.mac("eth0")): "node-2"}
    with Speaking(node, whose=names.get) as one, Speaking(other, whose=names.get) as two:
        one.announce(VIP4)
        two.announce(VIP4)
        wait_until(lambda: one.rivals and two.rivals, 10, "both are told")
        assert (one.rivals[0], two.rivals[0]) == ((VIP4, "node-2"), (VIP4, "node-1"))
        assert one.conflicts + two.conflicts == []


def test_a_second_interface_of_the_node_in_the_same_lan_is_no_conflict(network: Network) -> None:
    lan = network.lan("twice")
    node, client = network.host("twice"), network.host("asking")
    node.plug(lan, "eth0", ["192.0.2.1/24", "2001:db8::1/64"])
    node.plug(lan, "eth1")
    client.plug(lan, "eth0", ["192.0.2.2/24", "2001:db8::2/64"])
    with Speaking(node) as speaking, tap(client) as wire:
        wait_until(lambda: speaking.announcer.interfaces_of(EVERYWHERE) == ["eth0", "eth1"], 5, "both are there")
        speaking.announce(VIP4, VIP6, unheld=True)
        wire.ask(VIP4)
        wait_until(lambda: speaking.metrics.gratuitous_sent.value(VIP4) >= 8, 5, "it is announced on both")
        wait_until(lambda: speaking.frames_received("eth1") >= 2, 5, "eth1 heard eth0")
        assert speaking.conflicts == []


def test_a_host_that_probes_for_an_announced_address_is_no_conflict_but_answered(
    wire: tuple[Host, Host, Host],
) -> None:
    node, newcomer, _ = wire
    for name in ("all", "eth0"):
        newcomer.call(
            lambda name=name: Path(f"/proc/sys/net/ipv6/conf/{name}/accept_dad").write_text("1")  # type: ignore[misc]
        )
    with Speaking(node) as speaking:
        speaking.announce(VIP6)
        newcomer.run_ip(f"address add {VIP6}/64 dev eth0")
        wait_until(
            lambda: "dadfailed" in newcomer.run("ip", "-6", "address", "show", "dev", "eth0").stdout, 10, "it desists"
        )
        assert speaking.conflicts == []

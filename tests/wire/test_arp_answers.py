"""What the responder answers on a real wire, and what never reaches it."""

from __future__ import annotations

import itertools
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry

from allocator.core.addresses import Address
from speaker.cluster.scope import Scope
from speaker.frames.ethernet import BROADCAST
from speaker.layer2.arp import ArpResponder
from speaker.metrics import SpeakerMetrics
from speaker.netdev.interfaces import Interface
from tests.lab.network import Network
from tests.lab.waiting import wait_until
from tests.lab.who_has import who_has
from tests.wire.conftest import Join
from tests.wire.speaking import Speaking, request, resolve, resolved_as, tap

VIP = "192.0.2.100"


def test_a_client_kernel_finds_an_announced_address_at_the_announcing_interface(join: Join) -> None:
    node, client = join(node=["192.0.2.1/24"], client=["192.0.2.2/24"])
    with Speaking(node) as speaking:
        speaking.announce(VIP)
        resolve(client, [VIP])
        resolved_as(client, VIP, node.mac("eth0"))
    assert VIP not in node.run("ip", "addr").stdout


def test_the_answer_is_unicast_from_the_interface_and_names_it(join: Join) -> None:
    node, client = join(node=["192.0.2.1/24"], client=["192.0.2.2/24"])
    with Speaking(node) as speaking, tap(client) as wire:
        speaking.announce(VIP)
        wire.ask(VIP)
        reply = wire.until_reply(VIP)[-1]
    assert reply.source.hex(":") == reply.sender_mac.hex(":") == node.mac("eth0")
    assert reply.destination == reply.target_mac == wire.mac
    assert str(reply.target_ip) == "192.0.2.2"


def test_a_probe_from_a_host_that_wants_the_address_is_answered_so_that_it_desists(join: Join) -> None:
    node, client = join(node=["192.0.2.1/24"], client=["192.0.2.2/24"])
    with Speaking(node) as speaking, tap(client) as wire:
        speaking.announce(VIP)
        wire.ask(VIP, sender="0.0.0.0")
        assert str(wire.until_reply(VIP)[-1].target_ip) == "0.0.0.0"


def test_a_unicast_request_to_the_node_is_answered(join: Join) -> None:
    node, client = join(node=["192.0.2.1/24"], client=["192.0.2.2/24"])
    with Speaking(node) as speaking, tap(client) as wire:
        speaking.announce(VIP)
        wire.ask(VIP, destination=bytes.fromhex(node.mac("eth0").replace(":", "")))
        wire.until_reply(VIP)


def test_an_address_not_announced_stays_unanswered(join: Join) -> None:
    node, client = join(node=["192.0.2.1/24"], client=["192.0.2.2/24"])
    with Speaking(node) as speaking, tap(client) as wire:
        speaking.announce(VIP)
        wire.ask("192.0.2.101")
        wire.ask(VIP)
        # Answers keep the order of the questions: one for the first would have come before.
        replies = [frame for frame in wire.until_reply(VIP) if frame.destination == wire.mac]
    assert [str(frame.sender_ip) for frame in replies] == [VIP]


def test_a_withdrawn_address_is_not_answered_any_more(join: Join) -> None:
    node, client = join(node=["192.0.2.1/24"], client=["192.0.2.2/24"])
    with Speaking(node) as speaking, tap(client) as wire:
        speaking.announce(VIP, "192.0.2.101")
        wire.ask(VIP)
        wire.until_reply(VIP)
        speaking.announce("192.0.2.101")
        wire.ask(VIP)
        wire.ask("192.0.2.101")
        replies = [frame for frame in wire.until_reply("192.0.2.101") if frame.destination == wire.mac]
    assert [str(frame.sender_ip) for frame in replies] == ["192.0.2.101"]


def test_foreign_traffic_never_reaches_python(join: Join) -> None:
    node, client = join(node=["192.0.2.1/24"], client=["192.0.2.2/24"])
    node_mac = bytes.fromhex(node.mac("eth0").replace(":", ""))
    with Speaking(node) as speaking, tap(client) as wire:
        speaking.announce(VIP)
        wanted = request(VIP, sender="192.0.2.2", mac=wire.mac).encode()
        for _ in range(20):
            for host in range(1, 100):
                wire.ask(f"192.0.2.{host}")
            # Requests for the address that are not for us, tagged, or no requests.
            wire.ask(VIP, destination=b"\x02\x00\x00\x00\x00\x77")
            wire.send(BROADCAST + wire.mac + b"\x81\x00\x00\x05" + wanted[12:])
            wire.send(node_mac + wanted[6:20] + b"\x00\x02" + wanted[22:])
        assert speaking.frames_received() == 0
        wire.ask(VIP)
        wire.until_reply(VIP)
        wait_until(lambda: speaking.frames_received() == 1, 5, "it alone is counted, after the answer")
        wait_until(lambda: speaking.metrics.responses_sent.value(VIP) == 1, 5, "the answer is counted")
        assert speaking.metrics.requests_received.value(VIP) == 1


def test_a_frame_with_only_a_priority_in_its_tag_is_answered_like_one_without(join: Join) -> None:
    node, client = join(node=["192.0.2.1/24"], client=["192.0.2.2/24"])
    with Speaking(node) as speaking, tap(client) as wire:
        speaking.announce(VIP)
        frame = request(VIP, sender="192.0.2.2", mac=wire.mac).encode()
        wire.send(frame[:12] + b"\x81\x00\xa0\x00" + frame[12:])
        wire.until_reply(VIP)


def test_how_late_the_answering_thread_wakes_is_sampled_all_the_time(join: Join) -> None:
    (node,) = join(node=["192.0.2.1/24"])

    def samples() -> float:
        return speaking.registry.get_sample_value("admitlb_packet_loop_lag_seconds_count") or 0

    with Speaking(node) as speaking:
        wait_until(lambda: samples() >= 2, 10, "the lag is sampled")
        # Nothing is to be done here, so nothing can have taken a second.
        assert (speaking.registry.get_sample_value("admitlb_packet_loop_lag_seconds_sum") or 0) < samples()


def test_frames_that_came_faster_than_they_were_taken_are_counted(join: Join) -> None:
    node, client = join(node=["192.0.2.1/24"], client=["192.0.2.2/24"])
    interface = Interface(index=node.ip_json("link", "show", "dev", "eth0")[0]["ifindex"], name="eth0", mac=bytes(6))
    registry = CollectorRegistry()
    with tap(client) as wire:
        # Nobody takes anything from this one.
        responder = node.call(lambda: ArpResponder(interface, SpeakerMetrics(registry)))
        responder.answer_for(frozenset({Address.parse(VIP)}))
        for _ in range(2000):
            wire.ask(VIP)

        def lost() -> float:
            responder.count_overflow()
            labels = {"interface": "eth0", "reason": "overflow"}
            return registry.get_sample_value("admitlb_layer2_frames_dropped_total", labels) or 0

        wait_until(lambda: lost() > 0, 5, "the loss is counted")
        assert lost() < 2000
        responder.close()


def test_the_largest_filters_can_be_replaced_where_the_kernel_allows_little_memory_for_them(join: Join) -> None:
    (node,) = join(node=["192.0.2.1/24"])
    # What a socket may take for its filters and options, as it was before Linux 6.7.
    node.call(lambda: _write_optmem("20480"))
    with Speaking(node) as speaking:
        for start in (0, 1):
            speaking.announce(
                *(f"198.{18 + index % 100}.{index // 100}.{2 * start}" for index in range(1000)),
                *(f"2001:db8:{index % 8}::{index * 2 + start:x}" for index in range(200)),
            )
        speaking.announce(*(f"2001:db8:{index}::1" for index in range(500)))
        assert speaking.errors("filter") == 0


def _write_optmem(value: str) -> None:
    setting = Path("/proc/sys/net/core/optmem_max")
    if not setting.exists():
        pytest.skip("before Linux 6.8 this is set for the machine, which a test must not change")
    setting.write_text(value)


@pytest.mark.parametrize("count", [128, 300])
def test_scattered_addresses_are_all_answered_and_no_other_however_many_they_are(join: Join, count: int) -> None:
    node, client = join(node=["192.0.2.1/24"], client=["192.0.2.2/24"])
    # Every other address: no two are neighbours, so more than 128 do not fit the filter one by one.
    addresses = [f"198.18.{index // 100}.{index % 100 * 2}" for index in range(count)]
    with Speaking(node) as speaking, tap(client) as wire:
        speaking.announce(*addresses)
        for address in addresses:
            network, _, host = address.rpartition(".")
            wire.ask(f"{network}.{int(host) + 1}")
            wire.ask(address)
            replies = [frame for frame in wire.until_reply(address) if frame.destination == wire.mac]
            assert [str(frame.sender_ip) for frame in replies] == [address]
        wait_until(lambda: speaking.frames_received() >= count, 5, "the last is counted, after its answer")
        let_through = speaking.frames_received()
    assert let_through == count if count <= 128 else let_through < 2 * count


def test_an_address_is_announced_only_on_the_interfaces_of_its_scope(network: Network) -> None:
    lans = [network.lan("scope0"), network.lan("scope1")]
    node, first, second = (network.host(name) for name in ("scoped", "first", "second"))
    node.plug(lans[0], "eth0", ["192.0.2.1/24"])
    node.plug(lans[1], "eth1", ["198.51.100.1/24"])
    first.plug(lans[0], "eth0", ["192.0.2.2/24"])
    second.plug(lans[1], "eth0", ["192.0.2.3/24"])
    with Speaking(node) as speaking, tap(first) as there, tap(second) as elsewhere:
        wait_until(lambda: speaking.announcer.interfaces_of(Scope()) == ["eth0", "eth1"], 5, "both interfaces")
        speaking.announcer.announce({})
        speaking.announce(VIP, scope=Scope(frozenset({"eth0"})))
        there.ask(VIP)
        there.until_reply(VIP)
        elsewhere.ask(VIP)
        speaking.announce(VIP, "192.0.2.101", scope=Scope())
        elsewhere.ask("192.0.2.101")
        frames = elsewhere.until_reply("192.0.2.101")
        assert [str(f.sender_ip) for f in frames if f.destination == elsewhere.mac] == ["192.0.2.101"]
        # Each interface answers with its own hardware address.
        assert frames[-1].sender_mac.hex(":") == node.mac("eth1")


def test_answers_survive_a_flood_of_garbage(join: Join) -> None:
    node, client = join(node=["192.0.2.1/24"], client=["192.0.2.2/24"])
    with Speaking(node) as speaking, tap(client) as wire:
        speaking.announce(VIP)
        good = request(VIP, sender="192.0.2.2", mac=wire.mac).encode()
        for length, position in itertools.product((14, 20, 41), range(12, 42, 3)):
            mangled = bytearray(good)
            mangled[position] ^= 0xFF
            wire.send(bytes(mangled))
            wire.send(good[:length])
        wire.ask(VIP)
        wire.until_reply(VIP)


def test_an_interface_that_is_made_anew_under_its_name_is_answered_on(network: Network) -> None:
    lan = network.lan("anew")
    node, client = network.host("anew-node"), network.host("anew-client")
    node.plug(lan, "eth0", ["192.0.2.1/24"])
    client.plug(lan, "eth0", ["192.0.2.2/24"])
    with Speaking(node) as speaking, tap(client) as wire:
        speaking.announce(VIP)
        before = node.mac("eth0")
        node.run_ip("link delete eth0")
        node.plug(lan, "eth0", ["192.0.2.1/24"])
        after = node.mac("eth0")
        assert after != before
        wait_until(lambda: who_has(client, VIP) == {after}, 5, "it is answered with the new hardware address")
        wire.ask(VIP)
        assert wire.until_reply(VIP)[-1].source.hex(":") == after


def test_a_bridge_and_a_port_of_it_answer_as_one(network: Network) -> None:
    lan = network.lan("master")
    node, client = network.host("master-node"), network.host("master-client")
    node.plug(lan, "eth0", ["192.0.2.1/24"])
    client.plug(lan, "eth0", ["192.0.2.2/24"])
    with Speaking(node) as speaking:
        speaking.announce(VIP)
        node.run_ip("link add lan0 type bridge forward_delay 0", "link set lan0 up", "link set eth0 master lan0")
        wait_until(lambda: who_has(client, VIP) == {node.mac("lan0")}, 5, "the bridge answers, and it alone")
        node.run_ip("link set eth0 nomaster")
        wait_until(lambda: who_has(client, VIP) == {node.mac("eth0")}, 5, "the port answers again")

"""What the responder answers to neighbour solicitations on a real wire, and what never reaches it."""

from __future__ import annotations

import random
import socket
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from allocator.core.addresses import Address
from speaker.frames.ethernet import BROADCAST, mac_bytes
from speaker.frames.ipv6 import UNSPECIFIED, Icmpv6Packet, group_mac, solicited_node
from speaker.frames.ndp import Solicitation, probe
from tests.lab.capture import ETH_P_IPV6, Capture
from tests.lab.network import Host
from tests.lab.waiting import wait_until
from tests.lab.who_has import who_has
from tests.wire.conftest import Join
from tests.wire.speaking import NeighbourTap, Speaking, neighbour_tap, resolve, resolved_as

VIP, OTHER = "2001:db8::100", "2001:db8::101"
CLIENT = "2001:db8::2"


@pytest.fixture
def wire(join: Join) -> tuple[Host, Host]:
    """A node and a client, dual stack."""
    node, client = join(node=["192.0.2.1/24", "2001:db8::1/64"], client=["192.0.2.2/24", "2001:db8::2/64"])
    return node, client


def solicitation(tap: NeighbourTap, address: str = VIP, **fields: Any) -> Solicitation:
    """A question as the client's kernel asks it, but for `fields`."""
    target = Address.parse(address)
    group = solicited_node(target)
    usual: dict[str, Any] = {
        "destination": group_mac(group),
        "source": tap.mac,
        "sender": Address.parse(CLIENT),
        "receiver": group,
        "target": target,
        "link_address": tap.mac,
    }
    return Solicitation(**{**usual, **fields})


def groups_of(host: Host) -> str:
    return host.run("ip", "maddress", "show", "dev", "eth0").stdout


def test_a_client_kernel_finds_an_announced_address_at_the_announcing_interface(wire: tuple[Host, Host]) -> None:
    node, client = wire
    with Speaking(node) as speaking:
        speaking.announce(VIP, "192.0.2.100")
        resolve(client, [VIP, "192.0.2.100"])
        resolved_as(client, VIP, node.mac("eth0"))
        resolved_as(client, "192.0.2.100", node.mac("eth0"))
    assert VIP not in node.run("ip", "addr").stdout


def test_a_client_kernel_that_checks_by_unicast_keeps_its_entry(wire: tuple[Host, Host]) -> None:
    node, client = wire
    settings = Path("/proc/sys/net/ipv6/neigh/eth0")
    client.call(lambda: (settings / "base_reachable_time_ms").write_text("100"))
    client.call(lambda: (settings / "delay_first_probe_time").write_text("0"))
    with Speaking(node) as speaking:
        speaking.announce(VIP)
        resolve(client, [VIP])
        resolved_as(client, VIP, node.mac("eth0"))

        with Capture(node, ethertype=ETH_P_IPV6, keep=_asks_for(VIP)) as capture:

            def checked() -> bool:
                resolve(client, [VIP])
                return len(capture.frames) >= 2

            wait_until(checked, 10, "the client asks again")
        assert {frame.data[:6] for frame in capture.frames} == {mac_bytes(node.mac("eth0"))}
        resolved_as(client, VIP, node.mac("eth0"))
        assert client.ip_json("-6", "neigh", "show", VIP)[0]["state"] != ["FAILED"]


@pytest.mark.parametrize("named", [True, False], ids=["with source link-layer option", "without"])
@pytest.mark.parametrize("unicast", [True, False], ids=["unicast", "multicast"])
def test_every_kind_of_question_is_answered(wire: tuple[Host, Host], named: bool, unicast: bool) -> None:
    node, client = wire
    with Speaking(node) as speaking, neighbour_tap(client) as tap:
        speaking.announce(VIP)
        where: dict[str, Any] = (
            {"destination": mac_bytes(node.mac("eth0")), "receiver": Address.parse(VIP)} if unicast else {}
        )
        tap.send(solicitation(tap, link_address=tap.mac if named else None, **where).encode())
        answer = tap.answers_until(VIP)[-1]
    assert answer.source.hex(":") == answer.link_address.hex(":") == node.mac("eth0")  # type: ignore[union-attr]
    assert (answer.destination, answer.receiver, answer.sender) == (
        tap.mac,
        Address.parse(CLIENT),
        Address.parse(VIP),
    )
    assert (answer.override, answer.router) == (True, False)


def test_a_host_whose_kernel_wants_the_address_learns_that_it_is_taken(wire: tuple[Host, Host]) -> None:
    node, client = wire
    for name in ("all", "eth0"):
        client.call(lambda name=name: Path(f"/proc/sys/net/ipv6/conf/{name}/accept_dad").write_text("1"))  # type: ignore[misc]
    with Speaking(node) as speaking:
        speaking.announce(VIP)
        client.run_ip(f"address add {VIP}/64 dev eth0", f"address add {OTHER}/64 dev eth0")

        def flags(address: str) -> object:
            held = client.ip_json("address", "show", "dev", "eth0")[0]["addr_info"]
            return next(entry for entry in held if entry["local"] == address)

        wait_until(lambda: "dadfailed" in str(flags(VIP)), 10, "duplicate address detection fails")
        wait_until(lambda: "tentative" not in str(flags(OTHER)), 10, "the other address is free")


def test_an_address_not_announced_or_withdrawn_stays_unanswered(wire: tuple[Host, Host]) -> None:
    node, client = wire
    with Speaking(node) as speaking, neighbour_tap(client) as tap:
        speaking.announce(VIP, OTHER)
        tap.send(solicitation(tap).encode())
        tap.answers_until(VIP)
        speaking.announce(OTHER)
        tap.send(solicitation(tap).encode())
        tap.send(solicitation(tap, "2001:db8::102").encode())
        tap.send(solicitation(tap, OTHER).encode())
        # Answers keep the order of the questions: others would have come before.
        assert [str(frame.target) for frame in tap.answers_until(OTHER)] == [OTHER]


def test_forgeries_are_dropped_and_counted_by_reason(wire: tuple[Host, Host]) -> None:
    node, client = wire
    with Speaking(node) as speaking, neighbour_tap(client) as tap:
        speaking.announce(VIP)
        good = solicitation(tap).encode()
        routed = good[:21] + b"\xfe" + good[22:]
        damaged = good[:-1] + bytes((good[-1] ^ 1,))
        short_option = good[:79] + b"\x00" + good[80:]
        for frame in (routed, damaged, damaged, short_option):
            tap.send(frame)
        for sender in (UNSPECIFIED, Address.parse("ff02::1")):
            tap.send(solicitation(tap, sender=sender).encode())
        tap.send(good)
        assert len(tap.answers_until(VIP)) == 1
        assert speaking.frames_dropped("hop-limit") == 1
        assert speaking.frames_dropped("checksum") == 3
        assert speaking.frames_dropped("malformed") == 2


def test_answers_survive_a_flood_of_garbage_with_right_checksums(wire: tuple[Host, Host]) -> None:
    node, client = wire
    chance = random.Random(4861)  # the same garbage every time
    with Speaking(node) as speaking, neighbour_tap(client) as tap:
        speaking.announce(VIP)
        sound = Icmpv6Packet.decode(solicitation(tap).encode())
        for sent in range(1, 501):
            message = bytearray(sound.message + chance.randbytes(chance.choice((0, 0, 3, 8, 40))))
            for _ in range(chance.randrange(4)):
                # Neither type nor target: what is for others stays in the kernel.
                message[chance.choice((*range(2, 8), *range(24, len(message))))] = chance.randrange(256)
            tap.send(replace(sound, message=bytes(message[: chance.choice((24, 25, 31, 32, 72))])).encode())
            if sent % 50 == 0:
                wait_until(lambda sent=sent: speaking.frames_received() == sent, 5, "all of it is taken in")  # type: ignore[misc]
        assert speaking.frames_dropped("malformed") > 50
        speaking.announce(VIP, OTHER)
        tap.send(solicitation(tap, OTHER).encode())
        tap.answers_until(OTHER)


def test_foreign_traffic_never_reaches_python(wire: tuple[Host, Host]) -> None:
    node, client = wire
    with Speaking(node) as speaking, neighbour_tap(client) as tap:
        speaking.announce(VIP)
        wanted = solicitation(tap).encode()
        for host in range(0x102, 0x180):
            tap.send(solicitation(tap, f"2001:db8::{host:x}").encode())
            # The same last bytes, so the same group, in another network; for another host; broadcast; tagged.
            tap.send(solicitation(tap, "2001:db8:0:1::100").encode())
            tap.send(solicitation(tap, destination=b"\x02\x00\x00\x00\x00\x77").encode())
            tap.send(BROADCAST + wanted[6:])
            tap.send(wanted[:12] + b"\x81\x00\x00\x05" + wanted[12:])
        assert speaking.frames_received() == 0
        tap.send(wanted)
        tap.answers_until(VIP)
        # A frame is counted once it is answered.
        wait_until(lambda: speaking.frames_received() == 1, 5, "it alone is counted")


def test_the_node_is_in_an_addresss_group_exactly_while_one_that_shares_it_is_announced(
    wire: tuple[Host, Host],
) -> None:
    node, client = wire
    twin = "2001:db8:0:5::100"
    with Speaking(node) as speaking, Capture(client, ethertype=ETH_P_IPV6) as capture:
        before = groups_of(node)
        speaking.announce(VIP, twin)
        wait_until(lambda: "ff02::1:ff00:100" in groups_of(node), 5, "the group is joined")
        assert "33:33:ff:00:01:00" in groups_of(node)
        wait_until(lambda: _reports(capture, "ff02::1:ff00:100"), 5, "the group is reported by MLD")
        speaking.announce(twin)
        assert "ff02::1:ff00:100" in groups_of(node)
        speaking.announce(OTHER)
        assert "ff02::1:ff00:100" not in groups_of(node)
        assert "33:33:ff:00:01:00" not in groups_of(node)
        wait_until(lambda: "ff02::1:ff00:101" in groups_of(node), 5, "the other's group is joined")
        speaking.announce()
        assert groups_of(node) == before


def test_an_interface_that_appears_later_joins_the_groups_of_what_is_announced(join: Join) -> None:
    node, client = join(node=["2001:db8::1/64"], client=["2001:db8::2/64"])
    node.run_ip("link set eth0 down", "link add other type bridge", "link set other up")
    with Speaking(node) as speaking, neighbour_tap(client) as tap:
        speaking.announce(VIP)
        node.run_ip("link set eth0 up")
        told = next(tap.advertisements())
        assert (str(told.target), told.override, told.solicited) == (VIP, True, False)
        assert "ff02::1:ff00:100" in groups_of(node)
        assert "33:33:ff:00:01:00" in groups_of(node)


def test_more_groups_than_one_socket_can_hold_are_all_joined_and_all_left(wire: tuple[Host, Host]) -> None:
    node, client = wire
    addresses = [f"2001:db8::{index:x}" for index in range(0x1000, 0x1000 + 2000)]
    with Speaking(node) as speaking:
        before = groups_of(node)
        speaking.announce(*addresses)
        wait_until(lambda: groups_of(node).count("ff02::1:ff00:1") >= 2000, 20, "all groups are joined")
        assert speaking.errors("join") == 0
        resolve(client, addresses[-1:])
        resolved_as(client, addresses[-1], node.mac("eth0"))
        speaking.announce()
        assert groups_of(node) == before


def test_taking_an_address_moves_clients_that_knew_the_old_holder(join: Join) -> None:
    old, new, client = join(old=["2001:db8::1/64"], new=["2001:db8::3/64"], client=["2001:db8::2/64"])
    with Speaking(old) as former, Speaking(new) as latter:
        former.announce(VIP)
        resolve(client, [VIP])
        resolved_as(client, VIP, old.mac("eth0"))
        former.announce()
        latter.announce(VIP)
        resolved_as(client, VIP, new.mac("eth0"))
        # Nobody asked: the kernel took the news from the advertisement alone.
        assert latter.metrics.requests_received.value(VIP) == 0


def test_a_probe_on_the_wire_is_answered_to_all_nodes(wire: tuple[Host, Host]) -> None:
    node, client = wire
    with Speaking(node) as speaking, neighbour_tap(client) as tap:
        speaking.announce(VIP)
        announcements = tap.advertisements()
        next(announcements)
        tap.send(probe(Address.parse(VIP), tap.mac).encode())
        wait_until(lambda: speaking.metrics.responses_sent.value(VIP) == 1, 5, "the probe is answered")
        defence = next(announcements)
    assert (str(defence.receiver), defence.solicited, defence.override) == ("ff02::1", False, True)


def _asks_for(address: str) -> Callable[[bytes], bool]:
    """Return what recognises a solicitation (type 135) for the address."""
    packed = socket.inet_pton(socket.AF_INET6, address)
    return lambda data: data[54:55] == b"\x87" and data[62:78] == packed


def _reports(capture: Capture, group: str) -> bool:
    """Whether an MLD report (in a hop-by-hop header, type 143) names the group."""
    packed = socket.inet_pton(socket.AF_INET6, group)
    return any(frame.data[20] == 0 and packed in frame.data[54:] for frame in capture.frames)


def test_an_interface_whose_ipv6_is_turned_off_answers_for_no_ipv6_address_until_it_is_on_again(join: Join) -> None:
    node, client = join(node=["192.0.2.1/24", "2001:db8::1/64"], client=["192.0.2.2/24", "2001:db8::2/64"])
    state = Path("/proc/sys/net/ipv6/conf/eth0/disable_ipv6")
    with Speaking(node) as speaking:
        speaking.announce(VIP, "192.0.2.100")
        assert who_has(client, VIP) == {node.mac("eth0")}
        node.call(lambda: state.write_text("1"))
        wait_until(lambda: who_has(client, VIP) == set(), 5, "nothing answers for the IPv6 address")
        assert who_has(client, "192.0.2.100") == {node.mac("eth0")}, "IPv4 is as before"
        before = speaking.announcements("interface")
        node.call(lambda: state.write_text("0"))
        wait_until(lambda: who_has(client, VIP) == {node.mac("eth0")}, 5, "it answers again")
        assert speaking.announcements("interface") > before, "and says so unasked"

"""A switch port that passes nothing for some time after its link came up: real spanning tree."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from allocator.core.addresses import Address
from speaker.cluster.scope import EVERYWHERE
from speaker.frames.ethernet import mac_bytes
from tests.lab.network import Host, Network, run_ip
from tests.lab.waiting import wait_until
from tests.lab.who_has import who_has
from tests.wire.speaking import Speaking, resolve, tap

VIP, OTHERS, FREE = "192.0.2.100", "192.0.2.3", "192.0.2.101"
FORWARDS_AFTER_SECONDS = 4.0
"""The shortest that spanning tree can be told: two seconds of listening, two of learning."""
SECONDS = 15.0


@pytest.fixture
def switched(network: Network) -> tuple[Host, Host, Host]:
    """A node whose link has been up for long, a client, and a host that has one of the addresses."""
    lan = network.lan("stp")
    node, client, owner = (network.host(f"stp-{name}") for name in ("node", "client", "owner"))
    node.plug(lan, "eth0", ["192.0.2.1/24"])
    client.plug(lan, "eth0", ["192.0.2.2/24"])
    owner.plug(lan, "eth0", [f"{OTHERS}/24"])
    silence(node.links["eth0"].port)
    run_ip(f"link set {lan.bridge} type bridge stp_state 1 forward_delay 200 hello_time 100")
    ask_until_answered(client)
    return node, client, owner


def ask_until_answered(client: Host) -> None:
    """Ports begin to learn when spanning tree is turned on, too."""
    wait_until(lambda: who_has(client, OTHERS), SECONDS, "the LAN passes frames")


def silence(*ends: str) -> None:
    """Have the switch's own ends of the cables, which are interfaces of a kernel, say nothing themselves."""
    for end in ends:
        Path(f"/proc/sys/net/ipv6/conf/{end}/disable_ipv6").write_text("1")


def replug(node: Host, speaking: Speaking) -> float:
    """Pull the cable and plug it in; return when."""
    node.links["eth0"].down()
    wait_until(lambda: speaking.announcer.interfaces_of(EVERYWHERE) == [], SECONDS, "the link is down")
    node.links["eth0"].up()
    begun = time.monotonic()
    wait_until(lambda: speaking.announcer.interfaces_of(EVERYWHERE) == ["eth0"], SECONDS, "the link is up")
    return begun


def test_a_question_that_nobody_can_hear_yet_does_not_count(switched: tuple[Host, Host, Host]) -> None:
    node, client, owner = switched
    with Speaking(node) as speaking:
        up = replug(node, speaking)
        speaking.announce(OTHERS, FREE, unheld=True)
        while time.monotonic() < up + SECONDS and Address.parse(FREE) not in speaking.announcer.answered():
            resolve(client, ["192.0.2.77"])
            time.sleep(0.1)
        assert time.monotonic() > up + FORWARDS_AFTER_SECONDS - 0.5, "the port did not pass anything before"
        assert speaking.announcer.answered() == {Address.parse(FREE)}
        assert [address for address, _, _ in speaking.conflicts] == [OTHERS], "and the host that has it was found"
        assert who_has(client, OTHERS) == {owner.mac("eth0")}


def test_what_is_announced_is_announced_again_when_the_first_frame_arrives(
    switched: tuple[Host, Host, Host],
) -> None:
    node, client, _ = switched
    with Speaking(node) as speaking:
        with tap(client) as wire:
            speaking.announce(VIP)
            wait_until(lambda: list(wire.frames(0.2)), SECONDS, "the address is announced a first time")
            wait_until(lambda: not list(wire.frames(0.2)), SECONDS, "that is over")
            up = replug(node, speaking)

            def arrived() -> bool:
                # Something of a peer's has to arrive, too.
                wire.ask("192.0.2.77")
                frames = list(wire.frames(0.1))
                return any(str(frame.sender_ip) == VIP and frame.source == node_mac for frame in frames)

            node_mac = mac_bytes(node.mac("eth0"))
            wait_until(arrived, SECONDS, "the address is announced")
            assert time.monotonic() - up > FORWARDS_AFTER_SECONDS - 0.5, "the port did not pass anything before"
        # Once when the link came up, and once when it was of use; counted after they were sent.
        wait_until(lambda: speaking.announcements("interface") >= 2, 5, "both are counted")
        assert speaking.announcements("interface") == 2


def test_where_nobody_is_heard_questions_count_after_some_time(network: Network) -> None:
    lan = network.lan("silent")
    node = network.host("silent-node")
    node.plug(lan, "eth0", ["192.0.2.1/24"])
    silence(lan.bridge, node.links["eth0"].port)
    with Speaking(node, learning_seconds=2.0) as speaking:
        begun = replug(node, speaking)
        speaking.announce(FREE, unheld=True)
        wait_until(speaking.announcer.answered, SECONDS, "it is taken")
        assert time.monotonic() - begun > 1.0


def test_an_interface_that_cannot_carry_the_address_keeps_nothing_waiting(network: Network) -> None:
    lan, silent = network.lan("lan"), network.lan("unrelated")
    node, client = network.host("two-node"), network.host("two-client")
    node.plug(lan, "eth0", ["192.0.2.1/24"])
    client.plug(lan, "eth0", ["192.0.2.2/24"])
    with Speaking(node) as speaking:
        node.plug(silent, "br-1234", ["172.18.0.1/16"])
        both = ["br-1234", "eth0"]
        wait_until(lambda: speaking.announcer.interfaces_of(EVERYWHERE) == both, SECONDS, "both are there")
        speaking.announce(FREE, unheld=True)
        wait_until(speaking.announcer.answered, 5, "it is taken")

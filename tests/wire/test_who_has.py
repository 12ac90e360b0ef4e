"""`admitlb who-has` on a real wire: whoever answers for an address, and whoever announces one."""

from __future__ import annotations

import json
import os
import signal
import sys
from pathlib import Path
from typing import Any

import pytest

from allocator.core.addresses import Address
from speaker.frames import arp, ndp
from speaker.frames.arp import Operation
from speaker.frames.ethernet import mac_bytes
from tests.lab.network import Host
from tests.lab.processes import Process
from tests.lab.waiting import wait_until
from tests.wire.conftest import Join
from tests.wire.speaking import Speaking, neighbour_tap, tap

VIP, VIP6 = "192.0.2.100", "2001:db8::100"
ADDRESSES = {VIP: "IPv4", VIP6: "IPv6"}
COMMAND = (str(Path(sys.executable).with_name("admitlb")), "who-has", "--no-cluster")


def who_has(host: Host, *words: str, code: int) -> dict[str, Any]:
    done = host.run(*COMMAND, "-o", "json", *words, check=False, timeout_seconds=60)
    assert done.returncode == code, done.stdout + done.stderr
    return {found["address"]: found for found in json.loads(done.stdout)["addresses"]}


def three(join: Join) -> tuple[Host, ...]:
    return join(
        node=["192.0.2.1/24", "2001:db8::1/64"],
        rival=["192.0.2.3/24", "2001:db8::3/64"],
        client=["192.0.2.2/24", "2001:db8::2/64"],
    )


def test_a_speaker_that_announces_an_address_is_found(join: Join) -> None:
    node, _, client = three(join)
    with Speaking(node) as speaking:
        speaking.announce(*ADDRESSES)
        found = who_has(client, *ADDRESSES, code=0)
    for address in ADDRESSES:
        (answer,) = found[address]["answers"]
        assert found[address]["state"] == "Answered"
        assert (answer["hardwareAddress"], answer["interface"]) == (node.mac("eth0"), "eth0")
        assert answer["count"] >= 3, "each question is answered"


def test_an_address_that_nobody_has_is_silent(join: Join) -> None:
    node, _, client = three(join)
    with Speaking(node) as speaking:
        speaking.announce(VIP)
        found = who_has(client, VIP, "192.0.2.101", "2001:db8::101", code=1)
    assert {address: one["state"] for address, one in found.items()} == {
        VIP: "Answered",
        "192.0.2.101": "Silent",
        "2001:db8::101": "Silent",
    }


@pytest.mark.parametrize("address", ADDRESSES)
def test_two_hosts_with_one_address_are_both_named(join: Join, address: str) -> None:
    node, rival, client = three(join)
    # Its kernel has the address, as a host configured by mistake.
    rival.run_ip(f"address add {address}/{24 if address == VIP else 64} dev eth0 {'' if address == VIP else 'nodad'}")
    with Speaking(node) as speaking:
        speaking.announce(address)
        found = who_has(client, address, code=3)[address]
    assert found["state"] == "Several"
    assert {answer["hardwareAddress"] for answer in found["answers"]} == {node.mac("eth0"), rival.mac("eth0")}


def test_a_machine_without_an_address_of_the_family_asks_as_well(join: Join) -> None:
    node, client = join(node=["192.0.2.1/24", "2001:db8::1/64"], client=[])
    with Speaking(node) as speaking:
        speaking.announce(*ADDRESSES)
        found = who_has(client, *ADDRESSES, "--interface", "eth0", code=0)
    assert {one["answers"][0]["hardwareAddress"] for one in found.values()} == {node.mac("eth0")}


def test_an_address_of_the_machine_itself_is_its_own(join: Join) -> None:
    _, _, client = three(join)
    done = client.run(*COMMAND, "192.0.2.2")
    assert f"this machine, {client.mac('eth0')}, has it on eth0" in done.stdout


def test_without_net_raw_it_says_what_helps(join: Join) -> None:
    _, _, client = three(join)
    bounded = ("setpriv", "--bounding-set=-net_raw", "--inh-caps=-net_raw")
    done = client.run(*bounded, *COMMAND, VIP, check=False, timeout_seconds=60)
    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    assert "needs the capability NET_RAW" in line
    assert "kubectl exec -n metallb-system ds/speaker -- admitlb who-has" in line


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ((), "name the addresses to ask for, or add --listen"),
        (("192.0.2.300",), "'192.0.2.300' is not an IP address"),
        ((VIP, "--interface", "eth7"), "interfaces that can ask: eth0"),
        (("--listen",), "there are no pools to listen for"),
    ],
)
def test_what_cannot_be_asked_is_said(join: Join, words: tuple[str, ...], says: str) -> None:
    _, _, client = three(join)
    done = client.run(*COMMAND, *words, check=False, timeout_seconds=60)
    assert done.returncode == 2
    assert says in done.stderr


def test_announcements_are_printed_as_they_happen(join: Join, tmp_path: Path) -> None:
    node, rival, client = three(join)
    log = tmp_path / "heard"
    listening = Process(
        [*COMMAND, "--listen", "-o", "json", "192.0.2.96/28", "2001:db8::/64"], log=log, netns=client.name
    )
    try:
        macs = [mac_bytes(host.mac("eth0")) for host in (node, rival)]
        with tap(node) as wire, neighbour_tap(node) as wire6:

            def announced() -> bool:
                # Until the program listens.
                wire.send(arp.gratuitous(Operation.REPLY, Address.parse(VIP), macs[0]).encode())
                return log.stat().st_size > 0

            wait_until(announced, 30, "the first announcement is printed", interval_seconds=0.1)
            wire6.send(ndp.unsolicited(Address.parse(VIP6), macs[0]).encode())
            # Of no pool, and no announcement.
            wire.send(arp.gratuitous(Operation.REPLY, Address.parse("192.0.2.1"), macs[0]).encode())
            wire.ask(VIP)
        with tap(rival) as wire:
            wire.send(arp.gratuitous(Operation.REQUEST, Address.parse(VIP), macs[1]).encode())
            wait_until(lambda: any(one["before"] for one in heard(log)), 30, "the move is printed")
        os.kill(listening.pid, signal.SIGINT)
        assert listening.wait(30) == 0, listening.log_tail()
    finally:
        listening.sigkill()
    known = {(one["address"], one["hardwareAddress"], one["kind"], one["before"]) for one in heard(log)}
    assert known == {
        (VIP, node.mac("eth0"), "gratuitous ARP (reply)", ""),
        (VIP6, node.mac("eth0"), "unsolicited neighbour advertisement", ""),
        (VIP, rival.mac("eth0"), "gratuitous ARP (request)", node.mac("eth0")),
    }


def test_listening_ends_when_its_time_is_up(join: Join) -> None:
    _, _, client = three(join)
    done = client.run(*COMMAND, "--listen", "192.0.2.0/24", "--seconds", "0.2", timeout_seconds=60)
    assert (done.returncode, done.stdout) == (0, "")


def heard(log: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in log.read_text().splitlines() if line.endswith("}")]

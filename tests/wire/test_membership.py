"""Speakers that lose and find each other: real processes, real datagrams."""

from __future__ import annotations

import json
import socket
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from speaker.membership.heartbeat import Heartbeat, Phase
from tests.lab.network import Host
from tests.lab.processes import Process
from tests.lab.waiting import wait_until
from tests.wire.conftest import Join
from tests.wire.heartbeating import PORT

KEY = "the speakers' shared key"
EVERYONE = ["node-1", "node-2", "node-3"]
DEAD_AFTER_SECONDS = 0.5
BUSY_NOTICED_SECONDS = 1.5


class Member:
    """One speaker's heartbeats as a process on a host of its own."""

    def __init__(
        self, name: str, host: Host, folder: Path, addresses: dict[str, str], *, key: str = KEY, burners: int = 0
    ) -> None:
        self.name = name
        self.host = host
        peers = [f"{node}={address}" for node, address in addresses.items()]
        self.process = Process(
            [sys.executable, "-m", "tests.wire.heartbeating", name, key, str(burners), *peers],
            log=folder / f"{name}-{host.name}-{time.monotonic_ns()}.log",
            netns=host.name,
        )

    def reports(self) -> list[dict[str, Any]]:
        """Everything reported so far, oldest first."""
        lines = self.process.log.read_text().splitlines()
        return [json.loads(line) for line in lines if line.startswith("{") and line.endswith("}")]

    def sees(self, *alive: str, timeout_seconds: float = 10) -> dict[str, Any]:
        """Wait until the latest report has exactly these alive, and return it."""

        def latest() -> dict[str, Any] | None:
            reports = self.reports()
            return reports[-1] if reports and reports[-1]["alive"] == sorted(alive) else None

        return self.process.wait_until(latest, timeout_seconds, f"{self.name} sees {alive}")


Cluster = dict[str, Member]


@pytest.fixture
def addresses() -> dict[str, str]:
    return {f"node-{index}": f"192.0.2.{index}" for index in (1, 2, 3)}


@pytest.fixture
def hosts(join: Join, addresses: dict[str, str]) -> dict[str, Host]:
    made = join(n1=["192.0.2.1/24"], n2=["192.0.2.2/24"], n3=["192.0.2.3/24"], n4=["192.0.2.4/24"])
    return dict(zip([*addresses, "stranger"], made, strict=True))


@pytest.fixture
def members(hosts: dict[str, Host], addresses: dict[str, str], tmp_path: Path) -> Iterator[Cluster]:
    members = {name: Member(name, hosts[name], tmp_path, addresses) for name in addresses}
    try:
        for member in members.values():
            member.sees(*EVERYONE)
        yield members
    finally:
        for member in members.values():
            member.process.sigkill()


def test_a_killed_speaker_is_noticed_by_all_within_the_bound(members: Cluster) -> None:
    killed_at = time.monotonic()
    members["node-2"].process.sigkill()
    for survivor in ("node-1", "node-3"):
        noticed = members[survivor].sees("node-1", "node-3")["at"] - killed_at
        # Not before the silence was long enough (the last heartbeat may be 100 ms old), and soon after.
        assert DEAD_AFTER_SECONDS - 0.15 < noticed < DEAD_AFTER_SECONDS + 0.25


def test_a_leaving_speaker_is_given_up_at_once(members: Cluster) -> None:
    told_at = time.monotonic()
    members["node-2"].process.terminate()
    for survivor in ("node-1", "node-3"):
        assert members[survivor].sees("node-1", "node-3")["at"] - told_at < DEAD_AFTER_SECONDS / 2


def test_a_speaker_that_comes_back_is_taken_in_again(
    members: Cluster, hosts: dict[str, Host], addresses: dict[str, str], tmp_path: Path
) -> None:
    members["node-2"].process.sigkill()
    members["node-1"].sees("node-1", "node-3")
    members["node-2"] = Member("node-2", hosts["node-2"], tmp_path, addresses)
    for member in members.values():
        member.sees(*EVERYONE)


def test_a_frozen_speaker_is_given_up_and_on_waking_blames_itself_not_the_others(members: Cluster) -> None:
    members["node-1"].process.sigstop()
    members["node-2"].sees("node-2", "node-3")
    members["node-3"].sees("node-2", "node-3")
    before = len(members["node-1"].reports())
    members["node-1"].process.sigcont()
    members["node-2"].sees(*EVERYONE)
    report = members["node-1"].sees(*EVERYONE)
    # The others had it for dead, so it must tell the LAN about its addresses again ...
    wait_until(lambda: len(members["node-1"].reports()) > before, 5, "it reports again")
    # ... but never did it give up the others, for a silence that was its own, while it may answer.
    since = members["node-1"].reports()[before:]
    assert any(report["shaken"] for report in since), report
    assert all(report["alive"] == EVERYONE for report in since if not report["fenced"])


def test_a_healed_partition_finds_both_sides_alive_and_shaken(members: Cluster, hosts: dict[str, Host]) -> None:
    hosts["node-1"].links["eth0"].down()
    members["node-1"].sees("node-1")
    members["node-2"].sees("node-2", "node-3")
    before = len(members["node-1"].reports())
    hosts["node-1"].links["eth0"].up()
    for member in members.values():
        member.sees(*EVERYONE)
    assert any(report["shaken"] for report in members["node-1"].reports()[before:])


def test_who_was_cut_off_is_heard_as_soon_as_the_network_is_whole(
    members: Cluster, hosts: dict[str, Host], addresses: dict[str, str]
) -> None:
    for host in hosts.values():
        for setting, value in (("base_reachable_time_ms", 500), ("ucast_solicit", 0), ("retrans_time_ms", 10_000)):
            # A kernel that soon doubts an address, gives it up at once, and then asks for it every ten seconds.
            host.run("sh", "-c", f"echo {value} >/proc/sys/net/ipv4/neigh/eth0/{setting}")
    for name, host in hosts.items():
        for other, address in addresses.items():
            if other != name:
                mac = hosts[other].mac("eth0")
                host.run("ip", "neigh", "replace", address, "lladdr", mac, "dev", "eth0", "nud", "reachable")
    hosts["node-1"].links["eth0"].isolate()
    members["node-1"].sees("node-1")
    members["node-2"].sees("node-2", "node-3")
    # Longer than the kernel doubts an address before it asks (five seconds).
    threading.Event().wait(8.0)
    healed_at = time.monotonic()
    hosts["node-1"].links["eth0"].rejoin()
    for member in members.values():
        assert member.sees(*EVERYONE, timeout_seconds=20)["at"] - healed_at < DEAD_AFTER_SECONDS


def test_speakers_that_compute_all_the_time_are_heard_and_notice_a_death(
    hosts: dict[str, Host], addresses: dict[str, str], tmp_path: Path
) -> None:
    members = {name: Member(name, hosts[name], tmp_path, addresses, burners=3) for name in addresses}
    try:
        for member in members.values():
            member.sees(*EVERYONE)
        before = {name: len(member.reports()) for name, member in members.items()}
        threading.Event().wait(8.0)
        for name, member in members.items():
            since = member.reports()[before[name] :]
            assert all(report["alive"] == EVERYONE for report in since), (
                "whoever computes is heard, and gives nobody up"
            )
        killed_at = time.monotonic()
        members["node-2"].process.sigkill()
        for survivor in ("node-1", "node-3"):
            assert members[survivor].sees("node-1", "node-3")["at"] - killed_at < BUSY_NOTICED_SECONDS
    finally:
        for member in members.values():
            member.process.sigkill()


def test_a_speaker_with_another_key_is_not_heard(
    members: Cluster, hosts: dict[str, Host], addresses: dict[str, str], tmp_path: Path
) -> None:
    members["node-2"].process.sigkill()
    members["node-1"].sees("node-1", "node-3")
    members["node-2"] = Member("node-2", hosts["node-2"], tmp_path, addresses, key="another cluster's key")
    # It considers itself alone, after having given the others time to be heard ...
    members["node-2"].sees("node-2")
    # ... and the others never took it in.
    assert (
        members["node-1"].reports()[-1]["alive"] == members["node-3"].reports()[-1]["alive"] == ["node-1", "node-3"]
    )


def test_recorded_heartbeats_do_not_keep_a_dead_speaker_alive(members: Cluster, hosts: dict[str, Host]) -> None:
    recorded = _record(hosts["node-1"], sender="192.0.2.2", count=8)
    members["node-2"].process.sigkill()
    with hosts["node-2"].inside(), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        killed_at = time.monotonic()
        sock.bind(("192.0.2.2", PORT))

        def replay() -> bool:
            for datagram in recorded:
                sock.sendto(datagram, ("192.0.2.1", PORT))
            return bool(members["node-1"].reports()[-1]["alive"] == ["node-1", "node-3"])

        wait_until(replay, 10, "node-1 gives up node-2 while its old heartbeats are replayed")
    assert members["node-1"].reports()[-1]["at"] - killed_at < DEAD_AFTER_SECONDS + 0.25


def test_a_forged_farewell_moves_nothing(members: Cluster, hosts: dict[str, Host]) -> None:
    farewell = Heartbeat(sender="node-2", phase=Phase.LEAVING, incarnation=1, challenge=1, echo=1, sequence=2**40)
    before = len(members["node-1"].reports())
    with hosts["stranger"].inside(), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        for key in (b"", b"guess", KEY[::-1].encode()):
            sock.sendto(farewell.encode(key), ("192.0.2.1", PORT))
        # Even the right key does not help without the receiver's challenge.
        sock.sendto(farewell.encode(KEY.encode()), ("192.0.2.1", PORT))
        sock.sendto(b"\x00" * 2000, ("192.0.2.1", PORT))
    # A later, true change shows that everything sent before it has been read.
    members["node-3"].process.sigkill()
    members["node-1"].sees("node-1", "node-2")
    assert {tuple(report["alive"]) for report in members["node-1"].reports()[before:]} <= {
        tuple(EVERYONE),
        ("node-1", "node-2"),
    }


def _record(host: Host, *, sender: str, count: int) -> list[bytes]:
    """Capture the payloads of heartbeats that arrive at the host from the sender."""
    with host.inside():
        tap = socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, socket.htons(0x0800))
    datagrams: list[bytes] = []
    with tap:
        tap.settimeout(5)
        while len(datagrams) < count:
            packet = tap.recv(2048)
            if packet[9] == socket.IPPROTO_UDP and packet[12:16] == socket.inet_aton(sender):
                header_bytes = (packet[0] & 0x0F) * 4
                datagrams.append(packet[header_bytes + 8 :])
    return datagrams


def test_a_port_that_another_program_has_is_taken_when_it_is_free(
    members: Cluster, hosts: dict[str, Host], addresses: dict[str, str], tmp_path: Path
) -> None:
    members["node-2"].process.sigkill()
    members["node-1"].sees("node-1", "node-3")
    with hosts["node-2"].inside():
        holder = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    with holder:
        holder.bind(("0.0.0.0", PORT))
        member = members["node-2"] = Member("node-2", hosts["node-2"], tmp_path, addresses)
        member.process.wait_until(lambda: f"{PORT} is held" in member.process.log_tail(), 10, "it says so")
        member.sees("node-2")
        heard = len(members["node-1"].reports())
        time.sleep(1.0)
        assert member.process.alive
        assert len(members["node-1"].reports()) == heard, "and sends nothing that it could not hear the answer to"
    for each in members.values():
        each.sees(*EVERYONE)

"""A planned leave: what is taken back, in which order, read from the running configuration."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from speaker.bgp.vty import Reply
from speaker.frr.leave import Leave, routers

RUNNING = (Path(__file__).parent / "running-config.txt").read_text()


class RecordedVty:
    """Answers `show running-config` with a text and writes down everything else."""

    def __init__(self, running: str) -> None:
        self.running = running
        self.steps: list[str] = []

    def run(self, command: str, **_: Any) -> Reply:
        if command == "show running-config":
            return Reply(0, self.running)
        self.steps.append(command)
        return Reply(0, "")

    def sleep(self, seconds: float) -> None:
        self.steps.append(f"sleep {seconds:g}")


def leave(running: str) -> tuple[Leave, RecordedVty]:
    vty = RecordedVty(running)
    return Leave(vty, sleep=vty.sleep), vty  # type: ignore[arg-type]


def test_all_routers_neighbours_and_prefixes_of_every_family_are_found() -> None:
    default, red = routers(RUNNING)

    assert default.line == "router bgp 64512"
    assert default.neighbors == ["203.0.113.1", "2001:db8:1::1", "eth1"]
    assert default.networks == {
        "address-family ipv4 unicast": ["198.51.100.1/32", "198.51.100.2/32"],
        "address-family ipv6 unicast": ["2001:db8:100::1/128"],
    }
    assert red.line == "router bgp 64512 vrf red"
    assert red.neighbors == ["10.10.10.1"]
    assert red.networks == {"address-family ipv4 unicast": ["198.51.100.3/32"]}


def test_routes_are_marked_then_withdrawn_and_only_then_do_sessions_end() -> None:
    leaving, vty = leave(RUNNING)

    leaving.withdraw(mark_seconds=2, settle_seconds=1)
    leaving.end_sessions(settle_seconds=0.3)

    steps = vty.steps
    waits = [index for index, step in enumerate(steps) if step.startswith("sleep")]
    marked, withdrawn, ended = steps[: waits[0]], steps[waits[0] : waits[1]], steps[waits[1] :]
    assert [steps[index] for index in waits] == ["sleep 2", "sleep 1", "sleep 0.3"]
    assert marked.count("bgp graceful-shutdown") == 2
    assert [step for step in withdrawn if step.startswith("no network")] == [
        "no network 198.51.100.1/32",
        "no network 198.51.100.2/32",
        "no network 2001:db8:100::1/128",
        "no network 198.51.100.3/32",
    ]
    assert [step.split(" shutdown ")[0] for step in ended if " shutdown " in step] == [
        "neighbor 203.0.113.1",
        "neighbor 2001:db8:1::1",
        "neighbor eth1",
        "neighbor 10.10.10.1",
    ]
    assert not any("network" in step for step in (*marked, *ended))


def test_each_prefix_is_withdrawn_within_its_own_router_and_family() -> None:
    leaving, vty = leave(RUNNING)

    leaving.withdraw(mark_seconds=0, settle_seconds=0)

    before = vty.steps[: vty.steps.index("no network 2001:db8:100::1/128")]
    assert before[-1] == "address-family ipv6 unicast"
    before = vty.steps[: vty.steps.index("no network 198.51.100.3/32")]
    assert before[-2:] == ["router bgp 64512 vrf red", "address-family ipv4 unicast"]


def test_nothing_announced_is_left_without_waiting() -> None:
    leaving, vty = leave("Building configuration...\n!\nfrr version 10.3\n!\nend\n")

    leaving.withdraw(mark_seconds=60, settle_seconds=60)
    leaving.end_sessions(settle_seconds=60)

    assert vty.steps == []


def test_a_session_without_prefixes_is_ended_at_once() -> None:
    leaving, vty = leave("router bgp 64512\n neighbor 203.0.113.1 remote-as 64513\nexit\n!\nend\n")

    leaving.withdraw(mark_seconds=60, settle_seconds=60)
    leaving.end_sessions(settle_seconds=0.3)

    assert "sleep 60" not in vty.steps
    assert vty.steps[-1] == "sleep 0.3"

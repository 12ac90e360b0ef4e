"""What the supervisor does when something that it needs fails; the daemons are played."""

from __future__ import annotations

import getpass
import signal
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from speaker.bgp.vty import Vty
from speaker.frr import daemons as daemons_module
from speaker.frr import supervisor as supervisor_module
from speaker.frr.daemons import CannotStart, Daemon, Plan
from speaker.frr.leave import Leave
from speaker.frr.supervisor import Settings, Supervisor
from tests.unit.speaker.bgp.vty_daemons import vty_daemons

SERVING = """
router bgp 64512
 neighbor 192.0.2.1 remote-as 64513
 !
 address-family ipv4 unicast
  network 198.51.100.1/32 route-map adv
 exit-address-family
exit
"""


@pytest.fixture
def supervisor(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Supervisor]:
    """A supervisor on a machine without FRR's programs."""
    monkeypatch.setattr(supervisor_module, "PROGRAMS", tmp_path / "none")
    monkeypatch.setattr(daemons_module, "PROGRAMS", tmp_path / "none")
    monkeypatch.setattr(daemons_module, "_USER", getpass.getuser())
    monkeypatch.setattr(supervisor_module, "socket_folder", lambda _: 0)
    monkeypatch.setattr(supervisor_module, "_SETTLE_SECONDS", 0.0)
    handlers = {number: signal.getsignal(number) for number in (signal.SIGCHLD, signal.SIGTERM, signal.SIGINT)}
    settings = Settings(sockets=tmp_path, orphan_after_seconds=0, leave_wait_seconds=0.0, allow_other_frr=True)
    yield Supervisor(settings)
    signal.set_wakeup_fd(-1)
    for number, handler in handlers.items():
        signal.signal(number, handler)


class Sleeper(Daemon):
    """A process that runs, and answers as it is told to; it is asked on the clock of the test."""

    answering = True
    killed = 0

    def start(self, *, within_seconds: float) -> None:
        """It runs at once."""

    def answers(self) -> bool:
        return self.answering

    def kill(self) -> None:
        self.killed += 1


@dataclass
class Clock:
    """Time as the supervisor sees it."""

    now: float = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def watched(tmp_path: Path) -> tuple[Supervisor, Sleeper, Clock]:
    clock = Clock()
    settings = Settings(sockets=tmp_path, orphan_after_seconds=0, leave_wait_seconds=0.0, allow_other_frr=True)
    found = Supervisor(settings, clock=clock)
    daemon = Sleeper(Plan("bgpd"), tmp_path, 0)
    found._start(daemon)
    found._look_at_daemons()
    return found, daemon, clock


def look(watched: tuple[Supervisor, Sleeper, Clock], *, after: float, answering: bool) -> int:
    supervisor, daemon, clock = watched
    clock.now += after
    daemon.answering = answering
    supervisor._look_at_daemons()
    return daemon.killed


def test_a_pause_of_the_node_kills_no_daemon_that_answers_late(watched: tuple[Supervisor, Sleeper, Clock]) -> None:
    assert look(watched, after=300.0, answering=False) == 0
    assert look(watched, after=2.0, answering=True) == 0
    # A pause in the middle of a series.
    assert look(watched, after=2.0, answering=False) == 0
    assert look(watched, after=300.0, answering=False) == 0
    assert look(watched, after=2.0, answering=True) == 0
    # Answers between: no series is 60 s long.
    for _ in range(10):
        assert all(look(watched, after=5.0, answering=False) == 0 for _ in range(11))
        assert look(watched, after=5.0, answering=True) == 0


def test_a_daemon_that_leaves_all_questions_of_a_minute_unanswered_is_killed_once(
    watched: tuple[Supervisor, Sleeper, Clock],
) -> None:
    killed = [look(watched, after=3.0, answering=False) for _ in range(22)]
    assert killed == [0] * 21 + [1]
    watched[0]._start(watched[1])
    assert look(watched, after=3.0, answering=False) == 1, "it begins anew with its next start"


@pytest.mark.parametrize("error", [RuntimeError("nobody foresaw this"), OSError(24, "Too many open files")])
def test_supervisor_that_fails_takes_the_routes_back_as_in_any_leave(
    supervisor: Supervisor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    def fail() -> str:
        raise error

    monkeypatch.setattr(supervisor_module, "read_sockets", fail)
    monkeypatch.setattr(supervisor_module, "LOOK_SECONDS", 0.0)
    with vty_daemons(tmp_path) as played:
        played.answers["show running-config"] = SERVING
        assert supervisor.run() == 1
    steps = ("bgp graceful-shutdown", "no network 198.51.100.1/32", "neighbor 192.0.2.1 shutdown message")
    found = [next(at for at, each in enumerate(played.commands) if each.startswith(step)) for step in steps]
    assert found == sorted(found)


def test_a_program_that_cannot_be_executed_is_tried_again_and_ends_nothing(
    supervisor: Supervisor, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    daemon = Daemon(Plan("bgpd"), tmp_path, 0)
    with pytest.raises(CannotStart, match=r"bgpd cannot be started: .*No such file"):
        daemon.start(within_seconds=1.0)
    for _ in range(2):
        supervisor._retries["bgpd"] = (0.0, 1.0)
        supervisor._start_again(daemon)
        assert supervisor._retries["bgpd"][1] == 2.0
    assert "next attempt in 2.0 s" in caplog.text


@pytest.mark.parametrize(
    ("connected", "withdrawn", "killed"),
    [([1, 1], True, 0), ([2], False, 0), ([1, 2], True, 1)],
    ids=["nobody", "while the routes are marked", "while they are withdrawn"],
)
def test_speaker_that_connects_while_prefixes_are_withdrawn_does_not_miss_that(
    watched: tuple[Supervisor, Sleeper, Clock],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    connected: list[int],
    withdrawn: bool,
    killed: int,
) -> None:
    """It has read that they are announced. Of the connections one is the supervisor's own."""
    supervisor, bgpd, _ = watched
    counts = iter(connected)
    monkeypatch.setattr(supervisor_module, "_SETTLE_SECONDS", 0.0)
    monkeypatch.setattr(supervisor, "_connections", lambda: frozenset(range(next(counts))))
    with vty_daemons(tmp_path) as played:
        played.answers["show running-config"] = SERVING
        leave = Leave(Vty(tmp_path / "bgpd.vty"), sleep=lambda _: None)
        assert supervisor._withdraw_without_speaker(leave, 60.0) is withdrawn
    assert ("no network 198.51.100.1/32" in played.commands) is withdrawn
    assert played.commands.count("no bgp graceful-shutdown") == 1
    assert bgpd.killed == killed


CLIENTS = """Name      Connect Time    Last Read  Last Write      IPv4 Routes           IPv6 Routes
------------------------------------------------------------------------------------------
{}
bgp[0:1]      00:00:03     00:00:03    00:00:01          0/0                   0/0
Routes column shows (added+updated)/deleted

"""
"""As zebra of 10.3 has it."""
NEIGHBORS = """{"default": {"vrfId": 0, "192.0.2.1": {"peerBfdInfo": {"status": "Up"}}, "192.0.2.2": {}},
 "red": {"vrfId": 7, "eth0": {"peerBfdInfo": {"status": "Down"}}}}"""


@pytest.mark.parametrize(
    ("clients", "peers", "killed"),
    [
        ("bgp  00:00:04\nvnc  00:00:04\nbfd  00:00:04", "[{}]", [1, 1]),
        ("bgp  00:00:04\nbfd  00:00:04", "[{}, {}]", [0, 0]),
        ("vnc  00:00:04\nbfd  00:00:04", "[]", [0, 0]),
        ("bgp  00:00:04", "[]", [0, 0]),
        ("bgp  00:00:04\nbfd  00:00:04", "", [0, 0]),
    ],
    ids=["sessions are lost", "none is", "bgpd has not found zebra", "bfdd has not", "no answer"],
)
def test_bfdd_is_started_anew_once_if_a_new_zebra_cost_it_its_sessions(
    tmp_path: Path, clients: str, peers: str, killed: list[int]
) -> None:
    settings = Settings(sockets=tmp_path, orphan_after_seconds=0, leave_wait_seconds=0.0, allow_other_frr=True)
    supervisor = Supervisor(settings)
    zebra, bfdd = (Sleeper(Plan(name), tmp_path, 0) for name in ("zebra", "bfdd"))
    for daemon in (zebra, bfdd):
        supervisor._start(daemon)
    with vty_daemons(tmp_path, "zebra") as played:
        played.answers |= {
            "show zebra client summary": CLIENTS.format(clients),
            "show bgp vrf all neighbors json": NEIGHBORS,
            "show bfd peers json": peers,
        }
        supervisor._look_at_daemons()
        assert bfdd.killed == 0, "zebra is the first"
        supervisor._retries["zebra"] = (0.0, 1.0)
        supervisor._start_again(zebra)
        found = []
        for _ in killed:
            supervisor._look_at_daemons()
            found.append(bfdd.killed)
        assert found == killed
        # What could not be seen yet is looked for again.
        played.answers |= {
            "show zebra client summary": CLIENTS.format("bgp  00:00:05\nbfd  00:00:05"),
            "show bfd peers json": "[]",
        }
        supervisor._look_at_daemons()
        waited = "bgp" not in clients or "bfd" not in clients or not peers
        assert bfdd.killed == killed[-1] + waited

"""What the supervisor does when something that it needs fails; the daemons are played."""

from __future__ import annotations

import getpass
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from speaker.frr import daemons as daemons_module
from speaker.frr import supervisor as supervisor_module
from speaker.frr.daemons import CannotStart, Daemon, Plan
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


@pytest.mark.parametrize("error", [RuntimeError("nobody foresaw this"), OSError(24, "Too many open files")])
def test_supervisor_that_fails_takes_the_routes_back_as_in_any_leave(
    supervisor: Supervisor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    def fail() -> str:
        raise error

    monkeypatch.setattr(supervisor_module, "read_table", fail)
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

"""The driver when a daemon is silent, and when something fails that nobody foresaw; the daemons are played."""

from __future__ import annotations

import queue
from collections.abc import Iterator
from pathlib import Path

import pytest

from allocator.bgp.command import Daemon
from speaker.bgp.bfd_sessions import bfd_sessions
from speaker.bgp.driver import Driver
from speaker.bgp.events import Connected, Event
from speaker.bgp.vty import VtyError
from tests.lab.waiting import wait_until
from tests.unit.speaker.bgp.vty_daemons import VtyDaemons, vty_daemons

SECONDS = 20.0


@pytest.fixture
def daemons(tmp_path: Path) -> Iterator[VtyDaemons]:
    with vty_daemons(tmp_path) as played:
        yield played


@pytest.fixture
def driver(daemons: VtyDaemons) -> Iterator[Driver]:
    """A driver that is connected to both daemons."""
    events: queue.SimpleQueue[Event] = queue.SimpleQueue()
    found = Driver(daemons.sockets, report=events.put)
    found.start()
    connected: set[Daemon] = set()
    while connected != set(Daemon):
        event = events.get(timeout=SECONDS)
        if isinstance(event, Connected):
            connected.add(event.daemon)
    yield found
    found.stop(SECONDS)
    assert not found.alive


def test_bfdd_that_does_not_answer_a_scrape_keeps_bgpd_waiting_for_a_moment_only(
    daemons: VtyDaemons, driver: Driver
) -> None:
    daemons.silent.add("show bfd peers json")
    asked = driver.ask(Daemon.BFDD, "show bfd peers json")
    wait_until(lambda: "show bfd peers json" in daemons.commands, SECONDS, "bfdd is asked")
    daemons.answers["show bgp summary json"] = "{}"
    # The answer of bgpd may take ten seconds; bfdd must not cost as much.
    assert driver.ask(Daemon.BGPD, "show bgp summary json").result(6.0).text == "{}"
    assert isinstance(asked.exception(0), VtyError)
    assert bfd_sessions(driver.ask) == []

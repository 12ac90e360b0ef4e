"""The driver when a daemon is silent, and when something fails that nobody foresaw; the daemons are played."""

from __future__ import annotations

import os
import queue
import resource
import threading
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from allocator.bgp.command import Daemon
from allocator.bgp.desired import Desired, Difference
from allocator.bgp.frr_config import Config
from allocator.bgp.inputs import Peer
from allocator.bgp.rendering import Rendering, render
from allocator.bgp.route_class import Attributes, Contribution, merged, prefix_of
from allocator.core.addresses import Address
from speaker.bgp.applying import Applying
from speaker.bgp.bfd_sessions import bfd_sessions
from speaker.bgp.driver import Driver
from speaker.bgp.events import Connected, Event
from speaker.bgp.vty import VtyError
from tests.lab.waiting import wait_until
from tests.unit.speaker.bgp.vty_daemons import VtyDaemons, vty_daemons

SECONDS = 20.0
SELECTABLE = 1024
"""FD_SETSIZE."""
PREFIX = prefix_of(Address.parse("198.51.100.1"), 32)
PLAIN = merged([Contribution(Attributes())])
PEERS = {"tor": Peer(name="tor", my_asn=64512, peer_asn=64513, address=Address.parse("192.0.2.1"))}


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


@pytest.mark.parametrize("where", ["take_touched", "update", "_place"])
def test_difference_survives_what_nobody_foresaw(
    daemons: VtyDaemons, driver: Driver, monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    failed = threading.Event()
    whole = getattr(Rendering, where)

    def fail_once(*arguments: Any) -> Any:
        if not failed.is_set():
            failed.set()
            raise KeyError("nobody foresaw this")
        return whole(*arguments)

    with monkeypatch.context() as patch:
        patch.setattr(Rendering, where, fail_once)
        driver.set_complete()
        driver.update(Difference(PEERS, {}, {PREFIX: PLAIN}))
        assert failed.wait(SECONDS)
        network = f"network {PREFIX} route-map"
        wait_until(lambda: any(network in each for each in daemons.commands), SECONDS, "the prefix is announced")
        session = "neighbor 192.0.2.1 remote-as 64513"
        wait_until(lambda: session in daemons.commands, SECONDS, "the session comes after it")
    assert driver.alive


def test_question_is_answered_whatever_fails_before_its_turn(driver: Driver, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise KeyError("nobody foresaw this")

    with monkeypatch.context() as patch:
        patch.setattr(Applying, "show", fail)
        questions = [driver.ask(daemon, "show version") for daemon in Daemon]
        for question in questions:
            with pytest.raises(VtyError, match=r"failed|no connection"):
                question.result(SECONDS)
    wait_until(lambda: answered(driver), SECONDS, "the next question has its answer")


def test_sockets_with_high_numbers_are_waited_for_like_any(daemons: VtyDaemons, many_open_files: None) -> None:
    events: queue.SimpleQueue[Event] = queue.SimpleQueue()
    driver = Driver(daemons.sockets, report=events.put)
    driver.start()
    try:
        for daemon in Daemon:
            assert isinstance(events.get(timeout=SECONDS), Connected)
            assert driver.ask(daemon, "show version").result(SECONDS).status == 0
        assert events.empty()
    finally:
        driver.stop(SECONDS)


@pytest.fixture
def many_open_files() -> Iterator[None]:
    """More than select() can tell apart."""
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    assert before[1] == resource.RLIM_INFINITY or before[1] > 2 * SELECTABLE
    resource.setrlimit(resource.RLIMIT_NOFILE, (2 * SELECTABLE, before[1]))
    with ExitStack() as opened:
        first = opened.enter_context(Path("/dev/null").open())
        number = 0
        while number < SELECTABLE:
            number = os.dup(first.fileno())
            opened.callback(os.close, number)
        yield
    resource.setrlimit(resource.RLIMIT_NOFILE, before)


def answered(driver: Driver) -> bool:
    try:
        return driver.ask(Daemon.BGPD, "show version").result(SECONDS).status == 0
    except VtyError:
        return False


def shown(config: Config) -> str:
    """What bgpd would print of a configuration with the session and the prefix, or without the latter."""
    networks = [f"  network {prefix} route-map {name}" for (_, prefix), name in config.networks.items()]
    lines = [f" {line}" for key, line in config.lines.items() if key[0] == "router" and len(key) == 3]
    lines += [
        f" neighbor {key[2]} {line}" for key, line in config.lines.items() if key[0] == "neighbor" and len(key) == 4
    ]
    of_family = [
        f"  neighbor {key[2]} {line}" for key, line in config.lines.items() if key[0] == "neighbor" and len(key) == 5
    ]
    maps: list[str] = []
    for key, line in config.lines.items():
        if key[0] == "route-map":
            maps.append(f"route-map {key[1]} {line} {key[2]}" if len(key) == 3 else f" {line}")
    start = [
        "router bgp 64512",
        *lines,
        " address-family ipv4 unicast",
        *networks,
        *of_family,
        " exit-address-family",
    ]
    return "\n".join(["bgp route-map delay-timer 1", *start, "exit", *maps])


@pytest.mark.parametrize("marked", [False, True])
def test_what_another_has_removed_is_sent_again_unless_the_node_is_taken_out(
    daemons: VtyDaemons, driver: Driver, marked: bool
) -> None:
    driver.update(Difference(PEERS, {}, {PREFIX: PLAIN}))
    driver.set_complete()
    network = f"network {PREFIX} route-map"
    wait_until(lambda: any(network in each for each in daemons.commands), SECONDS, "the prefix is announced")
    driver.ask(Daemon.BGPD, "show version").result(SECONDS)  # after all that goes with it
    wanted = render(Desired(PEERS, {}, {PREFIX: PLAIN}))
    daemons.answers["show running-config"] = shown(wanted)
    asked = len(daemons.commands)
    driver.reread()
    wait_until(lambda: daemons.commands[asked:].count("show running-config") == 2, SECONDS, "both are read")
    driver.ask(Daemon.BGPD, "show version").result(SECONDS)
    assert not [each for each in daemons.commands[asked:] if "network" in each or "neighbor" in each]
    removed = shown(Config(wanted.lines, {}))
    mark = " bgp graceful-shutdown\n address-family"
    daemons.answers["show running-config"] = removed.replace(" address-family", mark, 1) if marked else removed
    asked = len(daemons.commands)
    driver.reread()
    wait_until(lambda: daemons.commands[asked:].count("show running-config") == 2, SECONDS, "both are read again")
    driver.ask(Daemon.BGPD, "show version").result(SECONDS)
    sent = [each for each in daemons.commands[asked:] if network in each]
    assert len(sent) == (0 if marked else 1)

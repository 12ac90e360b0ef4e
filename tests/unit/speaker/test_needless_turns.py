"""Threads that have nothing to do are not woken: with thousands of Services each turn counts."""

from __future__ import annotations

import socket
import threading
from typing import Any

from prometheus_client import CollectorRegistry

from speaker.layer2.vacancy_prober import VacancyProber
from speaker.membership.service import Heartbeats
from speaker.metrics import SpeakerMetrics
from tests.lab.waiting import wait_until


class Counted(threading.Condition):
    """Counts how often whoever waits is woken."""

    woken = 0

    def notify_all(self) -> None:
        self.woken += 1
        super().notify_all()


def prober() -> tuple[VacancyProber, Counted]:
    """One without interfaces, whose thread does not run, and what wakes that."""
    packets: Any = None
    opened: Any = None
    found = VacancyProber(packets=packets, open_endpoint=opened, metrics=SpeakerMetrics(CollectorRegistry()))
    found._changed = counted = Counted()
    return found, counted


def test_of_many_changes_a_second_the_prober_wakes_for_the_first() -> None:
    asking, counted = prober()
    for _ in range(50):
        asking.ask(dict, at_once=False)
    assert counted.woken == 1


def test_a_service_that_is_about_to_have_an_address_wakes_the_prober_whatever_waits() -> None:
    asking, counted = prober()
    asking.ask(dict, at_once=False)
    asking.ask(dict, at_once=True)
    assert counted.woken == 2
    asking.ask(dict, at_once=False)
    asking.ask(dict, at_once=True)
    assert counted.woken == 2


def test_what_was_asked_last_is_what_is_worked_out() -> None:
    asking, _ = prober()
    worked_out: list[int] = []
    chosen = threading.Event()

    def choose(number: int) -> dict[Any, Any]:
        worked_out.append(number)
        chosen.set()
        return {}

    for number in range(50):
        asking.ask(lambda number=number: choose(number), at_once=number == 20)  # type: ignore[misc]
    asking.start()
    assert chosen.wait(10)
    asking.stop()
    assert worked_out == [49]


def free_port() -> int:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind(("127.0.0.1", 0))
        port: int = sock.getsockname()[1]
    return port


def test_heartbeats_are_asked_to_open_the_fence_only_where_it_is_shut() -> None:
    heartbeats = Heartbeats(
        node="a",
        key=bytes(32),
        port=free_port(),
        metrics=SpeakerMetrics(CollectorRegistry()),
        address="127.0.0.1",
    )
    heartbeats.unfence()
    assert not heartbeats._requests
    heartbeats.fence.keep_up(closed=True)
    heartbeats.start()
    try:
        wait_until(lambda: heartbeats.fence.closed, 10, "the fence is shut")
        heartbeats.unfence()
        wait_until(lambda: heartbeats.fence.open, 10, "the fence is open")
    finally:
        heartbeats.stop()

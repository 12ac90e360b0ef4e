"""The order in which a speaker looks at what it has to report."""

from __future__ import annotations

import threading

from speaker.status.backlog import Backlog
from tests.lab.waiting import wait_until


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def backlog(clock: Clock) -> Backlog[str]:
    return Backlog(order=lambda item: item.islower(), now=clock)


def taken(items: Backlog[str]) -> str:
    """Take all that is due."""
    return "".join(item for _ in range(items.due()) if (item := items.take()) is not None)


def test_what_became_due_last_comes_first_within_its_order() -> None:
    items = backlog(Clock())
    for item in "aAbB":
        items.put(item)
    assert taken(items) == "BAba"


def test_nothing_comes_before_it_is_due() -> None:
    clock = Clock()
    items = backlog(clock)
    items.put("a", after_seconds=1.0)
    items.put("b", after_seconds=0.5)
    assert taken(items) == ""
    clock.now = 0.6
    assert taken(items) == "b"
    clock.now = 1.1
    assert taken(items) == "a"


def test_the_earliest_moment_counts_and_an_item_comes_once() -> None:
    clock = Clock()
    items = backlog(clock)
    for delay in (5.0, 1.0, 3.0):
        items.put("a", after_seconds=delay)
    clock.now = 1.0
    assert taken(items) == "a"
    clock.now = 9.0
    assert taken(items) == ""


def test_changes_that_keep_coming_do_not_put_an_item_off() -> None:
    clock = Clock()
    items = backlog(clock)
    for _ in range(5):
        items.put("a", after_seconds=0.3)
        clock.now += 0.1
    assert taken(items) == "a"


def test_who_waits_is_woken_by_an_item_and_by_the_end() -> None:
    items: Backlog[str] = Backlog(order=lambda _: 0)
    found: list[str | None] = []

    def take() -> None:
        for _ in range(2):
            found.append(items.take())

    thread = threading.Thread(target=take, name="taking")
    thread.start()
    items.put("a", after_seconds=0.05)
    wait_until(lambda: found == ["a"], 5, "it is taken")
    items.close()
    thread.join(5)
    assert found == ["a", None]

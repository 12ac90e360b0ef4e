"""The order in which a speaker looks at what it has to report."""

from __future__ import annotations

import threading

from hypothesis import given, settings
from hypothesis import strategies as st

from speaker.status.backlog import Backlog
from tests.lab.waiting import wait_until
from tests.unit.effort import examples


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


def test_what_failed_comes_behind_all_that_did_not_and_first_come_first() -> None:
    items = backlog(Clock())
    for item in "AB":
        items.put_failed(item, after_seconds=0.0)
    for item in "abC":
        items.put(item)
    assert taken(items) == "CbaAB"


def test_what_failed_and_was_changed_since_comes_as_a_change_and_once() -> None:
    items = backlog(Clock())
    for item in "ab":
        items.put_failed(item, after_seconds=0.0)
    items.put("b")
    assert items.due() == 2
    assert taken(items) == "ba"
    assert taken(items) == ""


@given(
    failing=st.sets(st.sampled_from("abCD"), max_size=3),
    puts=st.lists(st.tuples(st.sampled_from("abcABCD"), st.sampled_from([0.0, 0.1, 1.0])), max_size=12),
    delays=st.lists(st.sampled_from([0.0, 0.05, 1.0]), min_size=1, max_size=5),
)
@settings(max_examples=examples(200), deadline=None)
def test_however_much_fails_nothing_that_is_due_waits_for_it(
    failing: set[str], puts: list[tuple[str, float]], delays: list[float]
) -> None:
    """Whatever has not been tried yet is taken before anything is tried again, with any delays."""
    clock = Clock()
    items = backlog(clock)
    untried: dict[str, float] = {}
    tries = 0
    for item, after_seconds in puts:
        items.put(item, after_seconds=after_seconds)
        untried[item] = min(after_seconds, untried.get(item, after_seconds))
    for _ in range(80):
        if not items.due():
            clock.now += 0.1
            continue
        taken_item = items.take()
        assert taken_item is not None
        if taken_item not in untried:
            due = [each for each, moment in untried.items() if moment <= clock.now]
            assert not due, f"{taken_item} is tried again before {due}"
        untried.pop(taken_item, None)
        if taken_item in failing:
            items.put_failed(taken_item, after_seconds=delays[tries % len(delays)])
            tries += 1
        clock.now += 0.05
    assert not untried


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

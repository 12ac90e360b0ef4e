"""The queue: once each, one thread at a time, later when asked."""

import threading
from collections.abc import Callable
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from allocator.kube.workqueue import BACKOFF_SECONDS, WorkQueue

Disturbance = Callable[[WorkQueue[str]], None]


def test_a_key_waits_once_and_keeps_its_place() -> None:
    queue: WorkQueue[str] = WorkQueue()
    for key in ("a", "b", "a"):
        queue.add(key)
    assert [queue.take(), queue.take()] == ["a", "b"]


def test_a_key_added_while_worked_on_comes_again_only_when_done() -> None:
    queue: WorkQueue[str] = WorkQueue()
    queue.add("a")
    assert queue.take() == "a"
    queue.add("a")
    queue.add("b")
    assert queue.take() == "b", "a is being worked on and must not be given to a second thread"
    queue.done("a")
    assert queue.take() == "a"


def test_a_delayed_key_comes_after_those_that_are_due() -> None:
    queue: WorkQueue[str] = WorkQueue()
    queue.add_after("late", 0.05)
    queue.add("now")
    assert queue.take() == "now"
    assert queue.take() == "late"


def test_closing_wakes_whoever_waits() -> None:
    queue: WorkQueue[str] = WorkQueue()
    taken: list[str | None] = []
    thread = threading.Thread(target=lambda: taken.append(queue.take()), name="waiter")
    thread.start()
    queue.close()
    thread.join(timeout=5)
    assert taken == [None]


def test_many_threads_never_work_on_one_key_at_once() -> None:
    queue: WorkQueue[int] = WorkQueue()
    working: set[int] = set()
    clashes: list[int] = []
    guard = threading.Lock()

    def work() -> None:
        while (key := queue.take()) is not None:
            with guard:
                if key in working:
                    clashes.append(key)
                working.add(key)
            threading.Event().wait(0.0005)
            with guard:
                working.discard(key)
            queue.done(key)

    threads = [threading.Thread(target=work, name=f"worker-{number}") for number in range(6)]
    for thread in threads:
        thread.start()
    for number in range(600):
        queue.add(number % 5)
    threading.Event().wait(0.05)
    queue.close()
    for thread in threads:
        thread.join(timeout=5)
    assert clashes == []


class Clock:
    """A monotonic clock that only the test moves."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def attempts_of_a_failing_key(
    queue: WorkQueue[str], clock: Clock, seconds: float, disturb: Disturbance
) -> list[float]:
    """Let "bad" fail whenever it is due, for some seconds in steps of 10 ms; return when it was tried."""
    tried: list[float] = []
    end = clock.now + seconds
    queue.add("bad")
    while clock.now < end:
        # A key that is always ready, so that `take` never waits for a clock that does not move.
        queue.add("pace")
        while (key := queue.take()) != "pace":
            assert key == "bad"
            tried.append(clock.now)
            disturb(queue)
            queue.retry(key)
            queue.done(key)
        queue.done("pace")
        clock.now += 0.01
        if tried:
            disturb(queue)
    return tried


def sweeps(queue: WorkQueue[str]) -> None:
    for delay in (0.0, 0.05, 0.1, 1.0):
        queue.add_after("bad", delay)


def changes(queue: WorkQueue[str]) -> None:
    queue.add("bad")


def test_several_timers_do_not_bring_a_failing_key_forward() -> None:
    clock = Clock()
    queue: WorkQueue[str] = WorkQueue(clock=clock)
    tried = attempts_of_a_failing_key(queue, clock, 60.0, sweeps)
    gaps = [later - earlier for earlier, later in pairwise(tried)]
    expected = [*BACKOFF_SECONDS, BACKOFF_SECONDS[-1], BACKOFF_SECONDS[-1]]
    assert gaps == pytest.approx(expected[: len(gaps)], abs=0.021)


def test_changes_bring_a_failing_key_forward_to_once_a_second() -> None:
    clock = Clock()
    queue: WorkQueue[str] = WorkQueue(clock=clock)
    tried = attempts_of_a_failing_key(queue, clock, 30.0, changes)
    gaps = [later - earlier for earlier, later in pairwise(tried)]
    assert gaps == pytest.approx([0.05, 0.2, *[1.0] * (len(gaps) - 2)], abs=0.021)


def test_a_success_ends_the_backoff() -> None:
    clock = Clock()
    queue: WorkQueue[str] = WorkQueue(clock=clock)
    for _ in range(5):
        queue.retry("bad")
    queue.forget("bad")
    assert queue.retry("bad").failures == 1


def test_delayed_adds_of_a_key_merge_into_the_earliest() -> None:
    clock = Clock()
    queue: WorkQueue[str] = WorkQueue(clock=clock)
    for delay in (5.0, 3.0, 9.0, 3.0):
        queue.add_after("a", delay)
    assert len(queue) == 1
    clock.now += 3.0
    assert queue.take() == "a"
    queue.done("a")
    clock.now += 100.0
    queue.add("end")
    assert queue.take() == "end", "nothing is left of the adds that were merged"


def test_timers_that_were_overtaken_do_not_pile_up() -> None:
    clock = Clock()
    queue: WorkQueue[str] = WorkQueue(clock=clock)
    for number in range(50_000):
        queue.add_after("a", 1_000_000.0 - number)
    assert len(queue._timers) < 2_000


@given(
    st.lists(
        st.tuples(st.sampled_from("ab"), st.sampled_from(["add", "later", "work", "fail", "tick"]), st.floats(0, 3)),
        max_size=60,
    )
)
def test_no_key_that_was_added_is_lost(steps: list[tuple[str, str, float]]) -> None:
    """Whatever comes together: after its last add a key is worked on again, once everything is due."""
    clock = Clock()
    queue: WorkQueue[str] = WorkQueue(clock=clock)
    owed: set[str] = set()
    for key, what, seconds in steps:
        if what == "add":
            queue.add(key)
            owed.add(key)
        elif what == "later":
            queue.add_after(key, seconds)
            owed.add(key)
        elif what == "tick":
            clock.now += seconds
        else:
            queue.add("pace")
            taken = queue.take()
            assert taken is not None
            owed.discard(taken)
            if what == "fail" and taken != "pace":
                queue.retry(taken)
                owed.add(taken)
            queue.done(taken)
    clock.now += 1_000.0
    while len(queue):
        last = queue.take()
        assert last is not None
        owed.discard(last)
        queue.done(last)
    assert owed == set()

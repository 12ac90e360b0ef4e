"""The queue: once each, one thread at a time, later when asked."""

import threading

from allocator.kube.workqueue import WorkQueue


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

"""How a mirror goes on trying while the API server cannot be reached."""

from __future__ import annotations

import queue
import threading
from collections.abc import Iterator
from contextlib import suppress
from typing import cast

import pytest

from allocator.kube import reflector
from allocator.kube.client import ApiError, Cluster, Expired, Object, Unavailable
from allocator.kube.reflector import Pauses, Reflector
from allocator.kube.resource import SERVICES
from allocator.kube.watch_stream import Interrupt
from tests.lab.waiting import wait_until


class Unreachable:
    """An API server that nobody reaches; it counts who tries."""

    def __init__(self) -> None:
        self.tries = 0

    def pages(self, *_: object, **__: object) -> Iterator[Object]:
        self.tries += 1
        raise Unavailable(0, "Unavailable", "no route to host")


def test_a_way_that_may_be_back_is_tried_at_once_and_soon_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reflector, "_UNREACHED_SECONDS", (0.01, 0.01, 0.01, 600.0))
    server = Unreachable()
    mirror = Reflector(cast(Cluster, server), SERVICES)
    mirror.start()
    try:
        wait_until(lambda: server.tries == 4, 10, "it has tried some times, and pauses for longer")
        mirror.retry()
        wait_until(lambda: server.tries == 8, 10, "it tries as often again")
        mirror.wake()
        wait_until(lambda: server.tries == 9, 10, "it tries once")
        threading.Event().wait(0.1)
        assert server.tries == 9
    finally:
        mirror.stop()


@pytest.mark.parametrize("unreached", range(12))
@pytest.mark.parametrize("refused", range(12))
def test_an_outage_makes_no_answer_wait_longer(unreached: int, refused: int) -> None:
    """And each of the two waits ever longer, up to its last step, whatever comes between."""
    pauses, alone = Pauses(), Pauses()
    for _ in range(unreached):
        pauses.after(answered=False)
    for _ in range(refused):
        alone.after(answered=True)
        pauses.after(answered=True)
    steps: tuple[float, ...] = reflector._REFUSED_SECONDS
    step = steps[min(refused, len(steps) - 1)]
    for found in (pauses, alone):
        assert step / 2 <= found.after(answered=True) <= step
    steps = reflector._UNREACHED_SECONDS
    step = steps[min(unreached, len(steps) - 1)]
    assert step / 2 <= pauses.after(answered=False) <= step


class Starting:
    """An API server that is away, then starts: it forbids, has lost the versions of before, and then serves."""

    def __init__(self, *, away: int) -> None:
        self.away = away
        self.begun = True
        self.answers: list[ApiError] = []
        self.lists = 0

    def stop(self) -> None:
        """Go away; at its start it answers with what every watch meets there."""
        self.answers = [Unavailable(0, "Unavailable", "connection refused")] * self.away
        self.answers += [ApiError(403, "Forbidden", "services is forbidden"), Expired(410, "Expired", "too old")]
        self.begun = False

    def pages(self, *_: object, **__: object) -> Iterator[Object]:
        self.lists += 1
        yield {"kind": "ServiceList", "metadata": {"resourceVersion": "100"}, "items": []}

    def watch(self, *_: object, interrupt: Interrupt, **__: object) -> Iterator[tuple[str, Object]]:
        if self.answers:
            raise self.answers.pop(0)
        self.begun = True
        return self._events(interrupt)

    def _events(self, interrupt: Interrupt) -> Iterator[tuple[str, Object]]:
        while self.begun and not interrupt.requested:
            threading.Event().wait(0.01)
        if not interrupt.requested:
            raise Unavailable(0, "Unavailable", "Response ended prematurely")
        yield from ()


def test_what_a_starting_api_server_answers_does_not_wait_as_long_as_its_absence(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Its roles are not loaded yet, then the version is too old: each waited for the outage's last step before."""
    monkeypatch.setattr(reflector, "_UNREACHED_SECONDS", (0.01,))
    # The watch that breaks with the outage is short here, and counts as one more answer.
    monkeypatch.setattr(reflector, "_REFUSED_SECONDS", (0.01, 0.01, 0.01, 600.0))
    server = Starting(away=10)
    mirror = Reflector(cast(Cluster, server), SERVICES)
    mirror.start()
    try:
        wait_until(lambda: mirror.following, 10, "it is listed and watched")
        server.stop()
        wait_until(lambda: server.lists == 2 and mirror.following, 10, "it is listed anew and watched")
    finally:
        mirror.stop()


class Restored:
    """An API server of one Service; its watches last until a test ends them or has them fail."""

    def __init__(self) -> None:
        self.version = 100
        self.object_version = 90
        self.note = "before"
        self.lists = 0
        self.refuses = False
        self._watch: queue.Queue[bool] = queue.Queue()

    def fail(self) -> None:
        """Cut the open watch."""
        self._watch.put(True)

    def ends(self) -> None:
        """End the open watch as at its timeout."""
        self._watch.put(False)

    def pages(self, *_: object, **__: object) -> Iterator[Object]:
        self.lists += 1
        metadata = {"namespace": "default", "name": "web", "resourceVersion": str(self.object_version)}
        item = {"metadata": metadata, "note": self.note}
        yield {"kind": "ServiceList", "metadata": {"resourceVersion": str(self.version)}, "items": [item]}

    def watch(self, *_: object, interrupt: Interrupt, **__: object) -> Iterator[tuple[str, Object]]:
        if self.refuses:
            raise Unavailable(0, "Unavailable", "connection refused")
        return self._events(interrupt)

    def _events(self, interrupt: Interrupt) -> Iterator[tuple[str, Object]]:
        while not interrupt.requested:
            with suppress(queue.Empty):
                if self._watch.get(timeout=0.02):
                    raise Unavailable(0, "Unavailable", "connection reset")
                return
        yield from ()


@pytest.mark.parametrize(
    ("version", "object_version", "rewound"), [(99, 90, True), (100, 90, False), (200, 90, False), (200, 80, True)]
)
def test_what_comes_back_after_a_failure_is_listed_anew_and_compared(
    version: int, object_version: int, rewound: bool
) -> None:
    server = Restored()
    reported: list[str] = []
    cached = Reflector(cast(Cluster, server), SERVICES, on_rewound=reported.append)
    cached.start()
    try:
        wait_until(lambda: cached.following, 10, "it is listed and watched")
        server.version, server.object_version, server.note = version, object_version, "after"
        server.fail()
        wait_until(lambda: server.lists == 2, 10, "it is listed anew")
        wait_until(lambda: cached.following, 10, "it is watched again")
        found = cached.get("default", "web")
        assert found is not None
        assert found["note"] == "after", "it is whole before it is followed"
        assert bool(reported) is rewound
    finally:
        cached.stop()


def test_it_does_not_follow_while_no_watch_is_open() -> None:
    server = Restored()
    server.refuses = True
    cached = Reflector(cast(Cluster, server), SERVICES)
    cached.start()
    try:
        wait_until(lambda: cached.synced, 10, "it is listed")
        assert not cached.following
        server.refuses = False
        cached.wake()
        wait_until(lambda: cached.following, 10, "it is watched")
        server.ends()
        server.refuses = True
        wait_until(lambda: not cached.following, 1, "a watch that ended without an error counts as well")
    finally:
        cached.stop()

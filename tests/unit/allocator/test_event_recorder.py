"""Events that cannot be written keep no other waiting, and are written when they can be."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from allocator.kube import events
from allocator.kube.client import ApiError, Object, Unavailable
from allocator.kube.events import EventRecorder
from tests.lab.waiting import wait_until

WEB = {"metadata": {"namespace": "default", "name": "web", "uid": "u"}}


class Api:
    """Takes Events but for those that say `bad`, while `error` is set."""

    def __init__(self, error: ApiError) -> None:
        self.error: ApiError | None = error
        self.tried: list[str] = []
        self.written: list[str] = []

    def create(self, _: Any, event: Object, *__: Any) -> Object:
        message = event["message"]
        self.tried.append(message)
        if self.error is not None and message == "bad":
            raise self.error
        self.written.append(message)
        return event


@contextmanager
def recording(api: Any) -> Iterator[EventRecorder]:
    recorder = EventRecorder(api, component="test", backlog=20)
    recorder.start()
    try:
        yield recorder
    finally:
        recorder.stop()
        assert not recorder.alive


@pytest.mark.parametrize(
    "error",
    [Unavailable(503, "ServiceUnavailable", "its webhook is away"), Unavailable(0, "Timeout", "no answer in time")],
    ids=["answered", "not answered"],
)
def test_an_event_that_cannot_be_written_keeps_no_other_waiting(
    error: ApiError, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(events, "_RETRY_SECONDS", 0.1)
    api = Api(error)
    with recording(api) as recorder:
        for message in ("bad", "first", "second"):
            recorder.record(WEB, reason="nodeAssigned", message=message)
        wait_until(lambda: api.written == ["first", "second"], 5, "the others are written")
        wait_until(lambda: api.tried.count("bad") > 2, 5, "it is tried again, though nothing else happens")
        api.error = None
        wait_until(lambda: api.written == ["first", "second", "bad"], 5, "it is written")


def test_many_that_are_refused_for_now_are_tried_one_at_a_time_and_those_that_are_old_no_more(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(events, "_RETRY_SECONDS", 0.1)
    monkeypatch.setattr(events, "_KEPT_SECONDS", 0.0)
    api = Api(Unavailable(429, "TooManyRequests", "too many requests"))
    with recording(api) as recorder:
        for _ in range(10):
            recorder.record(WEB, reason="nodeAssigned", message="bad")
        recorder.record(WEB, reason="nodeAssigned", message="good")
        wait_until(lambda: api.written == ["good"], 5, "the other is written")
    assert api.tried == ["bad"] * 10 + ["good"]

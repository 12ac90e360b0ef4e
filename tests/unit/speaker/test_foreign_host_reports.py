"""Hosts that answer for free addresses are reported to each pool, whatever becomes of the others."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from prometheus_client import CollectorRegistry

from allocator.core.addresses import Address
from allocator.kube.client import ApiError, Conflict, Object, Unavailable
from speaker.cluster.next_addresses import PoolReports
from speaker.metrics import SpeakerMetrics
from speaker.status import foreign_hosts
from speaker.status.foreign_hosts import ForeignHostReporter
from tests.lab.waiting import wait_until

FIRST, SECOND = Address.parse("192.0.2.1"), Address.parse("198.51.100.1")
MAC = bytes.fromhex("020000000009")


class Api:
    """Pools, of which some refuse every write."""

    def __init__(self, *refusing: str, error: ApiError | None = None) -> None:
        self.refusing = set(refusing)
        self.error = error or ApiError(422, "Invalid", "spec.addresses: Required value")
        self.tried: list[str] = []
        self.pools: dict[str, Object] = {}

    def patch(self, _: Any, name: str, body: Object, *__: Any, **___: Any) -> Object:
        self.tried.append(name)
        if name in self.refusing:
            raise self.error
        self.pools[name] = body
        return body


@contextmanager
def reporting(api: Any) -> Iterator[ForeignHostReporter]:
    reporter = ForeignHostReporter(
        api, node="node-a", namespace="metallb-system", metrics=SpeakerMetrics(CollectorRegistry())
    )
    reporter.start()
    try:
        yield reporter
    finally:
        reporter.stop()


def test_a_pool_that_cannot_be_written_keeps_no_other_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(foreign_hosts, "_RETRY_SECONDS", 600.0)
    api = Api("a-broken")
    with reporting(api) as reporter:
        reporter.asked(frozenset({FIRST, SECOND}))
        reporter.follow(
            {
                "a-broken": PoolReports(asked=frozenset({FIRST}), answers={}),
                "b-sound": PoolReports(asked=frozenset({SECOND}), answers={}),
            }
        )
        reporter.taken(FIRST, "eth0", MAC)
        wait_until(lambda: "a-broken" in api.tried, 5, "the first is tried")
        reporter.taken(SECOND, "eth0", MAC)
        wait_until(lambda: "b-sound" in api.pools, 5, "the second is written")
        for _ in range(20):
            reporter.vacant(SECOND)
        wait_until(lambda: api.pools["b-sound"]["status"]["foreignHosts"] == {str(SECOND): None}, 5, "and again")
        assert api.tried.count("a-broken") == 1, "it is not tried again with every look at another"


@pytest.mark.parametrize(
    "error",
    [Unavailable(503, "ServiceUnavailable", "its webhook is away"), Unavailable(0, "Timeout", "no answer in time")],
    ids=["answered", "not answered"],
)
def test_pools_that_are_not_written_for_now_keep_no_other_waiting(
    error: ApiError, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(foreign_hosts, "_RETRY_SECONDS", 0.1)
    api = Api("a-broken", error=error)
    with reporting(api) as reporter:
        reporter.asked(frozenset({FIRST, SECOND}))
        reporter.follow({name: PoolReports(asked=frozenset({FIRST}), answers={}) for name in ("a-broken", "b-sound")})
        reporter.taken(FIRST, "eth0", MAC)
        wait_until(lambda: "b-sound" in api.pools, 5, "the other is written")
        api.refusing.clear()
        wait_until(lambda: "a-broken" in api.pools, 5, "it is written")


@pytest.mark.parametrize(
    "error",
    [ApiError(422, "Invalid", "spec.addresses: Required value"), Conflict(409, "Conflict", "written all the time")],
    ids=["refused", "written by others"],
)
def test_it_is_tried_again_later(error: ApiError, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(foreign_hosts, "_RETRY_SECONDS", 0.05)
    api = Api("a-broken", error=error)
    with reporting(api) as reporter:
        reporter.asked(frozenset({FIRST}))
        reporter.follow({"a-broken": PoolReports(asked=frozenset({FIRST}), answers={})})
        reporter.taken(FIRST, "eth0", MAC)
        wait_until(lambda: len(api.tried) > 1, 5, "it is tried again, though nothing else happens")
        api.refusing.clear()
        wait_until(lambda: "a-broken" in api.pools, 5, "it is written")

"""Writing statuses: objects that cannot be written keep no other waiting, be they one or many."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from allocator.core.addresses import Address
from allocator.kube.client import ApiError, Conflict, Object, Unavailable
from allocator.kube.resource import Resource
from allocator.objects.names import IP_ALLOCATIONS, SERVICE_L2_STATUSES
from speaker.status.facts import Announced, Subject
from speaker.status.rate_limit import WritePace
from speaker.status.service_l2_status import name_of
from speaker.status.writer import StatusWriter
from tests.lab.waiting import wait_until

ADDRESSES = [Address.parse(f"192.0.2.{number}") for number in range(1, 41)]
MANY = 20
"""Of them, that fail: were each to stop the thread for a moment, no other would be written in time."""
HELD = Announced(uid="u", interfaces=("eth0",))


class Api:
    """IPAllocations and ServiceL2Statuses; every write of those of the first `failing` Services fails."""

    def __init__(self, failing: int, error: ApiError, *, kind: Resource = IP_ALLOCATIONS) -> None:
        self.failing = frozenset(self.name(kind, number) for number in range(failing))
        self.error = error
        self.tried: list[str] = []
        self.written: set[str] = set()

    @staticmethod
    def name(kind: Resource, number: int) -> str:
        if kind is IP_ALLOCATIONS:
            return ADDRESSES[number].claim_name
        return name_of("node-a", ("default", f"web-{number}"))

    @classmethod
    def names(cls, numbers: Iterable[int]) -> set[str]:
        """Both objects of each."""
        return {cls.name(kind, number) for number in numbers for kind in (IP_ALLOCATIONS, SERVICE_L2_STATUSES)}

    def get(self, resource: Any, name: str, *_: Any) -> Object:
        if resource is not IP_ALLOCATIONS:
            return {"metadata": {"uid": "u"}}
        return {"metadata": {"name": name, "resourceVersion": "1"}, "status": {}}

    def patch(self, _: Any, name: str, __: Any, *___: Any, **____: Any) -> Object:
        self._write(name)
        return {"metadata": {"name": name, "resourceVersion": "2"}, "status": {}}

    def create(self, _: Any, body: Object, *__: Any) -> Object:
        self._write(body["metadata"]["name"])
        return body

    def _write(self, name: str) -> None:
        if name in self.failing:
            self.tried.append(name)
            raise self.error
        self.written.add(name)


class NoEvents:
    def record(self, *_: Any, **__: Any) -> None:
        """Nobody reads them."""


@contextmanager
def writing(api: Any) -> Iterator[StatusWriter]:
    writer = StatusWriter(
        api,
        node="node-a",
        protocol="layer2",
        namespace="metallb-system",
        pace=WritePace(per_second=1000.0, at_once=100.0),
        events=NoEvents(),
        on_written=lambda _: None,
    )
    writer.start()
    try:
        yield writer
    finally:
        writer.stop()


def report(writer: StatusWriter) -> None:
    for number in reversed(range(len(ADDRESSES))):
        # The latest is written first: those that fail.
        subject = Subject("layer2", ("default", f"web-{number}"), ADDRESSES[number])
        writer.report({subject: HELD}, heard=frozenset({"node-a"}))


ERRORS = {
    "written all the time": Conflict(409, "Conflict", "the object has been modified"),
    "refused": ApiError(403, "Forbidden", "no"),
    "its webhook fails": ApiError(500, "InternalError", "failed calling webhook"),
    "its webhook is away": Unavailable(503, "ServiceUnavailable", "no endpoints available"),
    "it times out": Unavailable(504, "Timeout", "the request timed out"),
}


@pytest.mark.parametrize("kind", [IP_ALLOCATIONS, SERVICE_L2_STATUSES], ids=["addresses", "Services"])
@pytest.mark.parametrize("error", ERRORS.values(), ids=ERRORS.keys())
def test_objects_that_cannot_be_written_keep_no_other_waiting(error: ApiError, kind: Resource) -> None:
    api = Api(MANY, error, kind=kind)
    others = api.names(range(len(ADDRESSES))) - api.failing
    with writing(api) as writer:
        report(writer)
        wait_until(lambda: api.written == others, 10, "all others are written")
        wait_until(lambda: len(api.tried) > MANY, 5, "they are tried again")
        assert len(api.tried) < 10 * MANY


def test_an_object_about_which_nothing_is_answered_keeps_no_other_waiting_for_long() -> None:
    api = Api(1, Unavailable(0, "Unavailable", "read timed out"))
    with writing(api) as writer:
        report(writer)
        wait_until(lambda: len(api.written) == 2 * len(ADDRESSES) - 1, 10, "all others are written")


def test_while_the_api_server_is_away_little_is_tried_and_then_all_is_written() -> None:
    api = Api(len(ADDRESSES), Unavailable(0, "Unavailable", "connection refused"))
    with writing(api) as writer:
        report(writer)
        wait_until(lambda: len(api.tried) > 1, 5, "it is tried again")
        assert len(api.tried) < MANY, "and not once for each that there is to write"
        api.failing = frozenset()
        wait_until(lambda: api.written == api.names(range(len(ADDRESSES))), 10, "all are written")

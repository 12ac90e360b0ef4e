"""Writing statuses: one object that cannot be written keeps no other waiting."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from allocator.core.addresses import Address
from allocator.kube.client import ApiError, Conflict, Object, Unavailable
from allocator.objects.names import IP_ALLOCATIONS
from speaker.status.facts import Announced, Subject
from speaker.status.rate_limit import WritePace
from speaker.status.writer import StatusWriter
from tests.lab.waiting import wait_until

FIRST, SECOND = Address.parse("192.0.2.1"), Address.parse("192.0.2.2")
HELD = Announced(uid="u", interfaces=("eth0",))


class Api:
    """IPAllocations; every write of one of them fails."""

    def __init__(self, failing: Address, error: ApiError) -> None:
        self._failing = failing.claim_name
        self._error = error
        self.tried = 0
        self.statuses: dict[str, Object] = {}

    def get(self, resource: Any, name: str, *_: Any) -> Object:
        if resource is not IP_ALLOCATIONS:
            return {"metadata": {"uid": "u"}}
        return {"metadata": {"name": name, "resourceVersion": "1"}, "status": self.statuses.get(name)}

    def patch(self, resource: Any, name: str, body: Any, *_: Any, **__: Any) -> Object:
        if resource is IP_ALLOCATIONS:
            if name == self._failing:
                self.tried += 1
                raise self._error
            if isinstance(body, list):
                raise ApiError(422, "Invalid", "there is a status")
            self.statuses[name] = body["status"]
        return {"metadata": {"name": name, "resourceVersion": "2"}, "status": {}}

    def create(self, _: Any, body: Object, *__: Any) -> Object:
        return body


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
        pace=WritePace(per_second=25.0, at_once=5.0),
        events=NoEvents(),
        on_written=lambda _: None,
    )
    writer.start()
    try:
        yield writer
    finally:
        writer.stop()


@pytest.mark.parametrize(
    "error",
    [
        Conflict(409, "Conflict", "the object has been modified"),
        ApiError(403, "Forbidden", "no"),
        ApiError(500, "InternalError", "failed calling webhook"),
        Unavailable(504, "Timeout", "the request timed out"),
    ],
    ids=["written all the time", "refused", "its webhook fails", "it times out"],
)
def test_an_object_that_cannot_be_written_keeps_no_other_waiting(error: ApiError) -> None:
    api = Api(SECOND, error)
    with writing(api) as writer:
        # The latest is written first: that is the one that fails.
        for number, address in enumerate((FIRST, SECOND)):
            subject = Subject("layer2", ("default", f"web-{number}"), address)
            writer.report({subject: HELD}, heard=frozenset({"node-a"}))
        wait_until(lambda: FIRST.claim_name in api.statuses, 10, "the other is written")
        wait_until(lambda: api.tried > 1, 5, "it is tried again")
        assert api.tried < 10

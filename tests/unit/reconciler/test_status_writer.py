"""A status that the API server does not keep, for its CRD lacks the field, is written once, and forgotten in time."""

from __future__ import annotations

from typing import Any, cast

from allocator.kube.client import Cluster, Object
from allocator.objects.names import IP_ADDRESS_POOLS
from allocator.reconciler.status_writer import StatusWriter

WANTED = {"assignedIPv4": 1}


class Forgetful:
    """Takes every status and keeps none of it."""

    def __init__(self) -> None:
        self.writes = 0

    def patch(self, *_: Any, **__: Any) -> Object:
        self.writes += 1
        return {"status": {}}


def pool(number: int) -> Object:
    return {"metadata": {"name": f"pool-{number}", "namespace": "metallb-system", "uid": f"u-{number}"}}


def test_what_is_not_kept_is_written_once() -> None:
    server = Forgetful()
    writer = StatusWriter(cast(Cluster, server))
    for _ in range(3):
        writer.write(IP_ADDRESS_POOLS, pool(1), WANTED)
    assert server.writes == 1


def test_of_objects_that_come_and_go_only_so_many_are_remembered() -> None:
    writer = StatusWriter(cast(Cluster, Forgetful()))
    for number in range(3000):
        writer.write(IP_ADDRESS_POOLS, pool(number), WANTED)
    assert len(writer._refused) <= 1000

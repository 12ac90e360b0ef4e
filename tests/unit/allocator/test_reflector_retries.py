"""How a mirror goes on trying while the API server cannot be reached."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import cast

import pytest

from allocator.kube import reflector
from allocator.kube.client import Cluster, Object, Unavailable
from allocator.kube.reflector import Reflector
from allocator.kube.resource import SERVICES
from tests.lab.waiting import wait_until

_FIRST_PAUSES = 4
"""Those that are over within two seconds."""


class Unreachable:
    """An API server that nobody reaches; it counts who tries."""

    def __init__(self) -> None:
        self.tries = 0

    def pages(self, *_: object, **__: object) -> Iterator[Object]:
        self.tries += 1
        raise Unavailable(0, "Unavailable", "no route to host")


def test_a_way_that_may_be_back_is_tried_at_once_and_soon_again() -> None:
    server = Unreachable()
    mirror = Reflector(cast(Cluster, server), SERVICES)
    mirror.start()
    try:
        wait_until(lambda: server.tries > _FIRST_PAUSES, 10, "it has tried some times, and pauses for longer")
        threading.Event().wait(reflector._RETRY_SECONDS[-2])
        before = server.tries
        mirror.retry()
        # Left alone it would try once in this time, or not at all.
        wait_until(lambda: server.tries >= before + 3, reflector._RETRY_SECONDS[-1] - 1, "it tries in a quick row")
    finally:
        mirror.stop()


class Restored:
    """An API server of one object whose watch fails at once; `version` is what its lists are at."""

    def __init__(self) -> None:
        self.version = 100
        self.name = "before"
        self.failing = threading.Event()
        self.lists = 0

    def pages(self, *_: object, size: int = 500, **__: object) -> Iterator[Object]:
        self.lists += size > 1
        metadata = {"namespace": "default", "name": self.name, "resourceVersion": str(self.version)}
        yield {
            "kind": "ServiceList",
            "metadata": {"resourceVersion": str(self.version)},
            "items": [{"metadata": metadata}],
        }

    def watch(self, *_: object, **__: object) -> Iterator[tuple[str, Object]]:
        self.failing.wait()
        raise Unavailable(0, "Unavailable", "connection reset")


@pytest.mark.parametrize(("version", "rewound"), [(99, True), (100, False), (101, False)])
def test_a_server_that_is_behind_what_was_seen_is_told_of_and_listed_anew(version: int, rewound: bool) -> None:
    server = Restored()
    told: list[str] = []
    mirror = Reflector(cast(Cluster, server), SERVICES, on_rewound=told.append)
    mirror.start()
    try:
        wait_until(lambda: mirror.synced, 10, "it is listed")
        server.version, server.name = version, "after"
        server.failing.set()
        if rewound:
            wait_until(lambda: mirror.get("default", "after"), 10, "it is listed anew")
        else:
            threading.Event().wait(0.5)
        assert bool(told) is rewound
        assert server.lists == 1 + rewound
        assert not mirror.following
    finally:
        mirror.stop()

"""How a mirror goes on trying while the API server cannot be reached."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import cast

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

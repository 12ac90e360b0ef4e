"""A watch whose network swallows everything, without a reset and without a word."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest

from allocator.kube.client import Unavailable
from allocator.kube.resource import SERVICES
from tests.unit.allocator.api_server import Server, connect, stream
from tests.wire.conftest import Join

NOTICED_SECONDS = 30.0
"""Keepalive asks after 10 s of silence, every 5 s; three unanswered are enough."""


def test_a_watch_into_a_black_hole_is_noticed_within_half_a_minute(join: Join, tmp_path: Path) -> None:
    api, client = join(api=["192.0.2.1/24"], client=["192.0.2.2/24"])
    bookmark = {"type": "BOOKMARK", "object": {"metadata": {"resourceVersion": "7"}}}
    server = api.call(lambda: Server(stream(json.dumps(bookmark).encode() + b"\n"), "192.0.2.1"))
    try:
        events = client.call(
            lambda: connect(server.address, tmp_path, timeout_seconds=5.0).watch(SERVICES, resource_version="5")
        )
        assert next(events)[0] == "BOOKMARK"
        # Pulled on the far side of the bridge: our own link stays up and says nothing.
        api.links["eth0"].down()
        began = time.monotonic()
        with pytest.raises(Unavailable):
            next(events)
        assert time.monotonic() - began < NOTICED_SECONDS
    finally:
        server.stop()

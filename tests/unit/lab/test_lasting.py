"""What the files of tests/cluster share is started once, and again after its end."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from tests.cluster.lasting import Lasting


def test_one_at_a_time_and_another_after_its_end() -> None:
    seen: list[str] = []

    @contextmanager
    def start() -> Iterator[int]:
        seen.append("started")
        yield len(seen)
        seen.append("ended")

    lasting = Lasting(start)
    lasting.end()
    assert (lasting.running(), lasting.running()) == (1, 1)
    lasting.end()
    lasting.end()
    assert lasting.running() == 3
    lasting.end()
    assert seen == ["started", "ended", "started", "ended"]

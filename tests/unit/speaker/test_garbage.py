"""What stays for as long as the process lives is left out of garbage collection."""

from __future__ import annotations

import gc
from collections.abc import Iterator

import pytest

from speaker.garbage import settle_garbage


@pytest.fixture(autouse=True)
def _collector() -> Iterator[None]:
    thresholds = gc.get_threshold()
    yield
    gc.unfreeze()
    gc.set_threshold(*thresholds)


def test_what_there_is_is_left_out_of_collections_and_all_of_the_rest_is_looked_at_rarely() -> None:
    kept = [[number] for number in range(10_000)]
    assert any(each is kept for each in gc.get_objects())
    thresholds = gc.get_threshold()
    settle_garbage()
    assert not any(each is kept for each in gc.get_objects())
    assert gc.get_threshold()[:2] == thresholds[:2]
    assert gc.get_threshold()[2] > thresholds[2]

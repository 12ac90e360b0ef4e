"""The shared key: read when there, and read anew only when in doubt."""

from __future__ import annotations

import base64
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from allocator.kube.client import Cluster, NotFound, Object, Unavailable
from allocator.kube.resource import Resource
from speaker.membership.key import KeyWatch, read_key
from tests.lab.waiting import wait_until


class Holding(Cluster):
    """A connection that finds one Secret."""

    def __init__(self, data: Object | None) -> None:
        self._data = data

    def get(self, resource: Resource, name: str, namespace: str | None = None) -> Object:
        assert (resource.plural, name, namespace) == ("secrets", "memberlist", "metallb-system")
        return {"data": self._data} if self._data is not None else {}


class Source:
    """What the API server answers, changed by the test."""

    def __init__(self) -> None:
        self.key = b"first"
        self.down = False
        self.reads = threading.Semaphore(0)

    def read(self) -> bytes:
        self.reads.release()
        if self.down:
            raise Unavailable(0, "Unavailable", "gone")
        return self.key


@contextmanager
def watching(source: Source, taken: list[bytes]) -> Iterator[KeyWatch]:
    watch = KeyWatch(source.read, key=b"first", on_change=taken.append)
    watch.start()
    try:
        yield watch
    finally:
        watch.stop()
        assert not watch.alive


def test_the_key_is_the_decoded_field() -> None:
    encoded = base64.b64encode(b"secret").decode()
    assert read_key(Holding({"secretkey": encoded}), "metallb-system") == b"secret"


@pytest.mark.parametrize("data", [None, {}, {"secretkey": ""}, {"secretkey": "not base64!"}, {"other": "eA=="}])
def test_a_secret_without_a_key_counts_as_not_there(data: Object | None) -> None:
    with pytest.raises(NotFound, match="metallb-system/memberlist has no field secretkey"):
        read_key(Holding(data), "metallb-system")


def test_a_replaced_key_is_taken_up_once_in_doubt() -> None:
    source, taken = Source(), list[bytes]()
    with watching(source, taken) as watch:
        source.key = b"second"
        assert taken == []
        watch.doubt()
        wait_until(lambda: taken == [b"second"], 5, "the new key is taken up")


def test_any_number_of_forgeries_cost_one_read_at_a_time() -> None:
    source, taken = Source(), list[bytes]()
    with watching(source, taken) as watch:
        watch.doubt()
        assert source.reads.acquire(timeout=5)
        for _ in range(1000):
            watch.doubt()
    assert not source.reads.acquire(blocking=False)
    assert taken == []


def test_a_missing_api_server_leaves_the_key_as_it_is() -> None:
    source, taken = Source(), list[bytes]()
    source.down = True
    with watching(source, taken) as watch:
        watch.doubt()
        assert source.reads.acquire(timeout=5)
        assert watch.alive
    assert taken == []

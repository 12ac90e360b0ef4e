"""What the reporter remembers of pools: what was found of those that are there."""

from __future__ import annotations

from typing import Any, cast

from allocator.allocation.allocator import Allocator
from allocator.allocation.cache import ClaimCache
from allocator.kube.client import Cluster, Object
from allocator.kube.events import EventRecorder
from allocator.reconciler.foreign_hosts import ForeignHosts
from allocator.reconciler.reporter import Reporter
from tests.unit.allocation.stored_claims import pool


def stored(name: str, **metadata: Any) -> Object:
    document = pool(name, "192.0.2.0/30")
    document["metadata"].update(uid=name, generation=1, resourceVersion="5", **metadata)
    return document


def test_of_a_pool_that_is_gone_nothing_is_remembered() -> None:
    cluster = cast(Cluster, None)
    cache = ClaimCache(cluster, namespace="metallb-system")
    events = EventRecorder(cluster, component="test")
    hosts = ForeignHosts(cluster, cache, Allocator(cluster, cache), events, require_leadership=lambda: None)
    reporter = Reporter(cluster, cache, hosts, namespace="metallb-system", require_leadership=lambda: None)
    reporter._write = lambda *_: False  # type: ignore[method-assign]
    for number in range(3):
        cache._pool_documents._take(stored(f"pool-{number}"), gone=False)
    reporter._report()
    assert set(reporter._reported) == {"pool-0", "pool-1", "pool-2"}
    for number in range(2):
        cache._pool_documents._take(stored(f"pool-{number}"), gone=True)
    reporter._report()
    assert set(reporter._reported) == {"pool-2"}

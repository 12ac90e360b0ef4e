"""Equal values are one object, and nothing is kept of what nobody has any more."""

from __future__ import annotations

import gc
from typing import Any

from allocator.objects.announced_service import _PORTS, ports_from
from allocator.objects.endpoint_slice import _SERVING, slice_from
from allocator.objects.interned import Interned


def endpoint_slice(ports: list[str], nodes: list[str]) -> dict[str, Any]:
    return {
        "metadata": {"name": "web-1", "namespace": "default", "labels": {"kubernetes.io/service-name": "web"}},
        "ports": [{"name": name, "port": 80} for name in ports],
        "endpoints": [{"nodeName": node} for node in nodes],
    }


def test_equal_values_are_one_object_while_anybody_has_it() -> None:
    kept = Interned[frozenset[str]]()
    first, second = kept.of(frozenset({"a", "b"})), kept.of(frozenset({"b", "a"}))
    assert first is second
    assert kept.of(frozenset({"a"})) is not first
    del first, second
    gc.collect()
    assert len(kept) == 0


def test_services_and_slices_share_their_ports_and_nodes() -> None:
    one, other = (slice_from(endpoint_slice(["http", "dns"], ["node-a", "node-b"])) for _ in range(2))
    assert one is not None
    assert other is not None
    assert one.serving is other.serving
    assert one.ports is other.ports
    assert ports_from([{"name": "dns", "port": 53}, {"name": "http", "port": 80}]) is one.ports


def test_nothing_is_kept_of_versions_that_were_replaced() -> None:
    """Whoever may write a Service may write it ten thousand times."""
    gc.collect()
    before = (len(_PORTS), len(_SERVING))
    for number in range(1000):
        slice_from(endpoint_slice([f"p{number}"], [f"node-{number}"]))
    gc.collect()
    assert (len(_PORTS), len(_SERVING)) == before

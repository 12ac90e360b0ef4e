"""Services that share an address, while each keeps its traffic on the nodes of its own endpoints."""

from __future__ import annotations

from collections.abc import Collection, Hashable, Iterable
from typing import TypeVar

from allocator.objects.document import Document
from allocator.objects.service import sharing_key_of

_Key = TypeVar("_Key", bound=Hashable)


def local_sharing_warnings(service: Document) -> tuple[str, ...]:
    """Warn of a Service that may get no traffic at an address it shares, as far as that is known at admission.

    Services of one selector have the same pods. Without a selector, each has endpoints of its own.
    """
    spec = service.get("spec") or {}
    if spec.get("externalTrafficPolicy") != "Local" or spec.get("selector") or not sharing_key_of(service):
        return ()
    return (
        "externalTrafficPolicy Local without a selector, and a sharing key: one node announces the address, and of "
        "the Services that share it those without an endpoint there get no traffic; give them endpoints on the same "
        "nodes, or use externalTrafficPolicy Cluster",
    )


def without_traffic(sharing: Iterable[tuple[_Key, Collection[str]]], node: str) -> frozenset[_Key]:
    """Return the Services that get no traffic at an address which the node announces.

    `sharing` are the Services that have the address, each with the nodes that may announce it for that Service alone:
    under externalTrafficPolicy Local those with an endpoint of it. One that no node may announce it for has no
    endpoint anywhere, which is reported as such.
    """
    return frozenset(key for key, nodes in sharing if nodes and node not in nodes)

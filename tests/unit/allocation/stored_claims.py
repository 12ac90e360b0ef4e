"""IPAllocations and Services as an API server stores them, in memory: create is exclusive, the rest compare-and-swap.

Every change is kept in order, so that a cache can be shown as many of them as a test lets it see.
"""

from __future__ import annotations

import copy
from typing import Any, Self, cast

from allocator.allocation.allocator import Allocator
from allocator.allocation.cache import ClaimCache
from allocator.kube import resource
from allocator.kube.client import AlreadyExists, Cluster, Conflict, NotFound, Object
from allocator.kube.reflector import Change
from allocator.kube.resource import Resource
from allocator.objects import names


class StoredClaims:
    """The part of `Cluster` that claims need; single-threaded."""

    def __init__(self) -> None:
        self.allocations: dict[str, Object] = {}
        self.services: set[tuple[str, str]] = set()
        self.events: list[Change] = []
        self.calls: list[str] = []
        self._version = 100

    def until(self, moment: float) -> Self:
        assert moment
        return self

    def get(self, kind: Resource, name: str, namespace: str | None = None) -> Object:
        self.calls.append(f"get {kind.plural}")
        if kind is resource.SERVICES:
            if (str(namespace), name) not in self.services:
                raise NotFound(404, "NotFound", name)
            return {}
        return copy.deepcopy(self._stored(name))

    def create(self, kind: Resource, obj: Object) -> Object:
        self.calls.append(f"create {kind.plural}")
        name = obj["metadata"]["name"]
        if name in self.allocations:
            raise AlreadyExists(409, "AlreadyExists", name)
        return self._store(name, None, obj)

    def replace(self, kind: Resource, obj: Object) -> Object:
        self.calls.append(f"replace {kind.plural}")
        name = obj["metadata"]["name"]
        old = self._checked(name, obj["metadata"]["resourceVersion"])
        return self._store(name, old, obj)

    def delete(self, kind: Resource, name: str, *, resource_version: str) -> None:
        self.calls.append(f"delete {kind.plural}")
        old = self._checked(name, resource_version)
        del self.allocations[name]
        self._version += 1
        self.events.append(Change(names.IP_ALLOCATIONS, ("", name), old, None, str(self._version)))

    def write_status(self, name: str, status: Object) -> None:
        """As a speaker does: the claim is of another version then."""
        old = self._stored(name)
        self._store(name, old, {**old, "status": status})

    def writes(self) -> list[str]:
        """What has been asked for that changes something."""
        return [call for call in self.calls if not call.startswith("get")]

    def _stored(self, name: str) -> Object:
        if name not in self.allocations:
            raise NotFound(404, "NotFound", name)
        return self.allocations[name]

    def _checked(self, name: str, version: str) -> Object:
        old = self._stored(name)
        if old["metadata"]["resourceVersion"] != version:
            raise Conflict(409, "Conflict", name)
        return old

    def _store(self, name: str, old: Object | None, obj: Object) -> Object:
        self._version += 1
        stored = copy.deepcopy(obj)
        stored["metadata"]["resourceVersion"] = str(self._version)
        self.allocations[name] = stored
        self.events.append(Change(names.IP_ALLOCATIONS, ("", name), old, stored, str(self._version)))
        return copy.deepcopy(stored)


def pool(name: str, *addresses: str) -> Object:
    """An IPAddressPool as stored."""
    metadata = {"name": name, "namespace": "metallb-system", "creationTimestamp": "2026-01-01T00:00:00Z"}
    return {"metadata": metadata, "spec": {"addresses": list(addresses)}}


def cache_of(cluster: Cluster, *pools: Object) -> ClaimCache:
    """A cache that knows the pools. It is never started, so that nothing is listed or watched."""
    cache = ClaimCache(cluster, namespace="metallb-system")
    for document in pools:
        key = ("metallb-system", document["metadata"]["name"])
        cache._take_pool(Change(names.IP_ADDRESS_POOLS, key, None, document, "1"))
    return cache


class Replica:
    """One process: its cache, which has seen the first `seen` events, and its allocator."""

    def __init__(self, stored: StoredClaims, *pools: Object, **settings: Any) -> None:
        self.cache = cache_of(cast(Cluster, stored), *pools)
        self.claims = Allocator(cast(Cluster, stored), self.cache, **settings)
        self._stored = stored
        self._seen = 0

    def see(self, count: int | None = None) -> None:
        """Let the cache see so many more events, or all."""
        until = len(self._stored.events) if count is None else min(self._seen + count, len(self._stored.events))
        for change in self._stored.events[self._seen : until]:
            self.cache._take_claim(change)
        self._seen = until

"""Which Services must be looked at again because a pool, a namespace or a claim changed."""

from __future__ import annotations

import threading

from allocator.allocation.cache import ClaimCache
from allocator.core.claims import ClaimState
from allocator.kube import resource
from allocator.kube.client import Object
from allocator.kube.reflector import Change
from allocator.kube.workqueue import WorkQueue
from allocator.objects import names
from allocator.objects.document import annotations_of, labels_of
from allocator.objects.pool import ranges_of

Key = tuple[str, str]


class AffectedServices:
    """Queues them: the holders of what changed, and those that wait whenever they may get what they wait for.

    `_lock` owns `_waiting`: Services without what they ask for, with their age.
    """

    def __init__(self, cache: ClaimCache, queue: WorkQueue[Key]) -> None:
        self._cache = cache
        self._queue = queue
        self._waiting: dict[Key, str] = {}
        self._lock = threading.Lock()

    def note(self, key: Key, *, waits: bool, service: Object | None) -> None:
        """Note what a repair has come to; `service` is None when it is gone."""
        with self._lock:
            if waits and service is not None:
                self._waiting[key] = service["metadata"]["creationTimestamp"]
            else:
                self._waiting.pop(key, None)

    def waiting_count(self) -> int:
        """Count the Services that wait."""
        return len(self._waiting)

    def changed(self, change: Change) -> None:
        """Queue whoever a change of a pool, a namespace or a claim concerns."""
        if change.resource is names.IP_ALLOCATIONS:
            for holder in (change.new or change.old or {})["spec"]["holders"]:
                self._queue.add((holder["namespace"], holder.get("name") or ""))
            if change.old is not None and _frees_capacity(change):
                self._retry_waiting()
        elif _rules_changed(change):
            self._retry_waiting()
            self._revisit_holders(change)

    def _revisit_holders(self, change: Change) -> None:
        """Queue the Services that a changed pool or namespace may take something from, or whose pool it becomes."""
        name = change.key[1]
        if change.resource is resource.NAMESPACES:
            claims = self._cache.claims_in(name)
        else:
            claims = self._cache.claims_recorded_for(name)
            for owned in ranges_of(change.new):
                claims += self._cache.claims_within(owned)
        of_namespace = name if change.resource is resource.NAMESPACES else None
        concerned = {
            holder
            for claim in claims
            if claim.in_use
            for holder in claim.holders
            if of_namespace in (None, holder.namespace)
        }
        for holder in concerned:
            self._queue.add((holder.namespace, holder.name))

    def _retry_waiting(self) -> None:
        """Queue the Services that wait, the oldest first."""
        with self._lock:
            waiting = sorted(self._waiting, key=lambda key: (self._waiting[key], key))
        for key in waiting:
            self._queue.add(key)


def _rules_changed(change: Change) -> bool:
    """Whether a pool or namespace changed in what decisions read, which its status and heartbeats are not."""

    def read(obj: Object | None) -> object:
        annotations = [annotations_of(obj).get(key) for key in (names.QUOTA_ANNOTATION, names.TAKE_OVER_ANNOTATION)]
        return (obj or {}).get("spec"), labels_of(obj), annotations

    return change.old is None or change.new is None or read(change.old) != read(change.new)


def _frees_capacity(change: Change) -> bool:
    """Whether somebody else may now have an address, or a share of one, that they could not have before."""
    if change.new is None or change.old is None:
        return True
    old, new = change.old["spec"], change.new["spec"]
    return new["state"] == ClaimState.COOLING or new["holders"] != old["holders"] or _key_of(new) != _key_of(old)


def _key_of(spec: Object) -> str:
    return str(spec.get("sharingKey") or "")

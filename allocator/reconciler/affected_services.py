"""Which Services must be looked at again because a pool, a namespace or a claim changed."""

from __future__ import annotations

from collections.abc import Iterable

from allocator.allocation.cache import ClaimCache
from allocator.core.addresses import Address
from allocator.kube import resource
from allocator.kube.client import Object
from allocator.kube.reflector import Change
from allocator.kube.workqueue import WorkQueue
from allocator.objects import names
from allocator.objects.document import annotations_of, in_deletion, labels_of
from allocator.objects.pool import ranges_of
from allocator.reconciler.shown_addresses import ShownAddresses
from allocator.reconciler.waiting import ANY_PIN, ANY_POOL, Interest, Waiting, freed_by

Key = tuple[str, str]


class AffectedServices:
    """Queues them: the holders of what changed, and of those that wait whoever may get what they wait for now."""

    def __init__(self, cache: ClaimCache, queue: WorkQueue[Key], shown: ShownAddresses) -> None:
        self._cache = cache
        self._queue = queue
        self._shown = shown
        self._waiting = Waiting(free=lambda text: cache.is_free(Address.parse(text)))

    def note(self, key: Key, interests: frozenset[Interest] | None, *, service: Object | None) -> None:
        """Note what a repair has come to: what the Service waits for, or None; `service` is None when it is gone."""
        created = service["metadata"]["creationTimestamp"] if service is not None else ""
        self._try(self._waiting.note(key, created, interests if service is not None else None))

    def failed(self, key: Key) -> None:
        """Note that a repair could not be made: what was offered to this Service is for the next."""
        self._try(self._waiting.failed(key))

    def waiting_count(self) -> int:
        """Count the Services that wait."""
        return len(self._waiting)

    def changed(self, change: Change) -> None:
        """Queue whoever a change of a pool, a namespace or a claim concerns."""
        if change.resource is names.IP_ALLOCATIONS:
            if change.old is not None and change.new is not None and change.old.get("spec") == change.new.get("spec"):
                # Which node announces it: a node that fails changes thousands, and no repair reads that.
                return
            # Whoever is listed no more, too: it may have been taken off by somebody else, and show the address still.
            for document in (change.new, change.old):
                for holder in (document or {}).get("spec", {}).get("holders") or ():
                    if holder.get("name"):
                        self._queue.add((holder["namespace"], holder["name"]))
            self._try(self._waiting.freed(freed_by(change, self._cache.pools())))
        elif _rules_changed(change):
            self._secure_shown(change)
            self._retry_waiting(change)
            self._revisit_holders(change)

    def _secure_shown(self, change: Change) -> None:
        """Queue whoever shows an address of a changed pool that nobody holds: before those that wait for one.

        Nothing else may ever change of such a Service: it waits for nothing when it is of another class.
        """
        if change.resource is resource.NAMESPACES:
            return
        for address, keys in self._shown.within(ranges_of(change.new)).items():
            claim = self._cache.claim_at(address)
            if claim is None or not claim.in_use:
                self._try(keys)

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
            if holder.name and of_namespace in (None, holder.namespace)
        }
        for holder in concerned:
            self._queue.add((holder.namespace, holder.name))

    def _retry_waiting(self, change: Change) -> None:
        """Queue those that wait and that a changed pool or namespace may help, the oldest first."""
        name = change.key[1]
        if change.resource is resource.NAMESPACES:
            self._try(self._waiting.of_namespace(name))
        elif change.old is None or change.new is None:
            # All that wait say which pools there are.
            self._try(self._waiting.everybody())
        else:
            takers = {("pool", pool.name) for pool in self._cache.pools() if name in pool.addresses_from}
            self._try(self._waiting.concerned(frozenset({("pool", name), ANY_POOL, ANY_PIN, *takers})))

    def _try(self, keys: Iterable[Key]) -> None:
        for key in keys:
            self._queue.add(key)


def _rules_changed(change: Change) -> bool:
    """Whether a pool or namespace changed in what decisions read, which its status and heartbeats are not."""

    def read(obj: Object | None) -> object:
        annotations = [annotations_of(obj).get(key) for key in (names.QUOTA_ANNOTATION, names.TAKE_OVER_ANNOTATION)]
        return (obj or {}).get("spec"), labels_of(obj), annotations, in_deletion(obj)

    return change.old is None or change.new is None or read(change.old) != read(change.new)

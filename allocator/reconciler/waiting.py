"""The Services that lack an address, what each of them waits for, and which to try again when something changes.

Trying thousands because one claim changed would be the end of a busy cluster. A Service is tried again when something
changed that could help it, the oldest first, one after another for as long as what became free is not taken.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from allocator.core.addresses import Address
from allocator.core.pools import Pool
from allocator.core.requests import ServiceRequest
from allocator.kube.client import Object
from allocator.kube.reflector import Change

Key = tuple[str, str]
Age = tuple[str, Key]
_FIRST: Age = ("", ("", ""))

_IDENTITY = frozenset({"uid", "since", "generateName"})
"""What of a holder keeps nobody from sharing with it; all else may, and its change lets others in."""

Interest = tuple[str, str]
"""What a Service may wait for: ("pool", its name), ("address", as text), ("sharing key", it), ("namespace", its name)
for room under the quota, and ("any pool", "") or ("any pin", "") for what a changed pool may bring."""

ANY_POOL: Interest = ("any pool", "")
ANY_PIN: Interest = ("any pin", "")


def interests_of(request: ServiceRequest, pools: Iterable[Pool]) -> frozenset[Interest]:
    """Return everything whose change could help a Service that lacks what it asks for."""
    found: set[Interest] = {("address", str(pin)) for pin in request.pins}
    if request.applicant.quota is not None:
        found.add(("namespace", request.namespace))
    if request.sharing_key:
        found.add(("sharing key", request.sharing_key))
    if request.pins:
        found.add(ANY_PIN)
    elif request.pool_name is not None:
        found.add(("pool", request.pool_name))
    else:
        found.add(ANY_POOL)
        open_pools = (pool for pool in pools if pool.auto_assign and pool.refuses(request.applicant) is None)
        found.update(("pool", pool.name) for pool in open_pools)
    return frozenset(found)


def freed_by(change: Change, pools: Iterable[Pool]) -> frozenset[Interest]:
    """Return what a change of an IPAllocation may have made free: an address, a share of one, room under a quota.

    A claim that is bound, or that says who announces it, frees nothing.
    """
    old, new = _spec(change.old), _spec(change.new)
    keys = {("sharing key", str(spec["sharingKey"])) for spec in (old, new) if spec.get("sharingKey")}
    if not old:
        return frozenset(keys)
    left = _shares(old) - _shares(new)
    begins_to_cool = new.get("state") == "Cooling" != old.get("state")
    if new and not left and not begins_to_cool and new.get("sharingKey") == old.get("sharingKey"):
        return frozenset()
    # The name, not spec.address, says which address it locks.
    address = Address.from_claim_name(change.key[1])
    freed = {("address", str(address)), ("pool", str(old["pool"])), *keys}
    freed.update(("namespace", namespace) for namespace, _ in left)
    freed.update(("pool", pool.name) for pool in pools if pool.spans(address))
    return frozenset(freed)


def _spec(document: Object | None) -> Object:
    return (document or {}).get("spec") or {}


def _shares(spec: Object) -> set[tuple[str, str]]:
    """What each holder takes of an address and asks of others on it, by namespace; a cooling claim takes nothing."""
    if spec.get("state") == "Cooling":
        return set()
    return {
        (holder["namespace"], repr(sorted((key, value) for key, value in holder.items() if key not in _IDENTITY)))
        for holder in spec.get("holders") or ()
    }


@dataclass(slots=True)
class _Round:
    """Something became free and is offered to one Service after the other."""

    offered: Key
    after: Age
    """How old `offered` is: who comes next is younger."""


@dataclass(slots=True)
class _Group:
    waiting: dict[Key, str] = field(default_factory=dict)
    """With the creationTimestamp of each."""


class Waiting:
    """Who waits for what. Thread-safe: `_lock` owns every field.

    `free` says whether an address, as text, can still be had; what became free is offered until somebody has it.
    """

    def __init__(self, *, free: Callable[[str], bool]) -> None:
        self._free = free
        self._lock = threading.Lock()
        self._interests: dict[Key, frozenset[Interest]] = {}
        self._groups: dict[frozenset[Interest], _Group] = {}
        """Services that wait for the same: thousands have a handful of sets of interests among them."""
        self._rounds: dict[frozenset[Interest], _Round] = {}

    def __len__(self) -> int:
        with self._lock:
            return len(self._interests)

    def note(self, key: Key, created: str, interests: frozenset[Interest] | None) -> list[Key]:
        """Take in that a Service was tried and waits for this, or waits no more (None); return whom to try next."""
        with self._lock:
            self._leave(key)
            if interests is not None:
                self._interests[key] = interests
                self._groups.setdefault(interests, _Group()).waiting[key] = created
            return self._go_on(key)

    def failed(self, key: Key) -> list[Key]:
        """Take in that a Service could not be tried now; return whom to try next."""
        with self._lock:
            return self._go_on(key)

    def freed(self, what: frozenset[Interest]) -> list[Key]:
        """Return whom to try now that this became free; the others follow as `note` says."""
        with self._lock:
            return self._offer(what, after=_FIRST) if what else []

    def concerned(self, what: frozenset[Interest]) -> list[Key]:
        """Return everybody who waits for any of it, the oldest first."""
        with self._lock:
            return [key for _, key in sorted(self._candidates(what))]

    def everybody(self) -> list[Key]:
        """Return all that wait, the oldest first."""
        with self._lock:
            ages = [(created, key) for group in self._groups.values() for key, created in group.waiting.items()]
        return [key for _, key in sorted(ages)]

    def of_namespace(self, namespace: str) -> list[Key]:
        """Return those of one namespace."""
        with self._lock:
            return [key for key in self._interests if key[0] == namespace]

    def _leave(self, key: Key) -> None:
        before = self._interests.pop(key, None)
        if before is not None:
            group = self._groups[before]
            group.waiting.pop(key, None)
            if not group.waiting:
                del self._groups[before]

    def _candidates(self, what: frozenset[Interest]) -> list[Age]:
        return [
            (created, key)
            for interests, group in self._groups.items()
            if not interests.isdisjoint(what)
            for key, created in group.waiting.items()
        ]

    def _offer(self, what: frozenset[Interest], *, after: Age) -> list[Key]:
        """Offer it to the next in turn, who is not offered something else; the round ends when there is none."""
        begun = self._rounds.pop(what, None)
        later = [age for age in self._candidates(self._left_of(what)) if age > after]
        busy = {other.offered for other in self._rounds.values()}
        if not later:
            return []
        first = min([age for age in later if age[1] not in busy] or later)
        self._rounds[what] = _Round(offered=first[1], after=first)
        return [] if begun is not None and begun.offered == first[1] else [first[1]]

    def _left_of(self, what: frozenset[Interest]) -> frozenset[Interest]:
        """What of it can still be had: room under a quota and shares also after the address is somebody's again."""
        if all(self._free(name) for kind, name in what if kind == "address"):
            return what
        return frozenset((kind, name) for kind, name in what if kind not in ("address", "pool"))

    def _go_on(self, key: Key) -> list[Key]:
        mine = [(what, begun.after) for what, begun in self._rounds.items() if begun.offered == key]
        return [following for what, after in mine for following in self._offer(what, after=after)]

"""Takes Services off claims: at once when they let go, and in time when they never came.

What only time makes due is kept in an index by moment, which follows the changes of claims; nothing looks through
all of them. What cannot be collected is tried again later and keeps nothing else waiting.
"""

from __future__ import annotations

import heapq
import threading
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

from allocator.allocation.allocator import Allocator
from allocator.allocation.cache import ClaimCache
from allocator.allocation.claim_writer import LostRace
from allocator.core import lifecycle
from allocator.core.claims import Claim, Holder
from allocator.kube.client import ApiError, Object
from allocator.kube.lease import NotLeading
from allocator.kube.reflector import Change
from allocator.kube.timestamps import write_time
from allocator.objects.ip_allocation import claim_from, cool_until, moment_of
from allocator.process.logs import EventLog
from allocator.reconciler.metrics import REPAIRS
from allocator.rules.conditions import READY

log = EventLog("reconciler")

Key = tuple[str, str]

TENTATIVE_AGE = timedelta(seconds=90)
"""How long a claim may wait for its Service: longer than any API request lives (KEP-1880 uses 60 s)."""

_WITHDRAWAL = timedelta(seconds=3)
"""How long after a release its speaker has to clear the announcement from the status; one that ends does not."""

_RETRY = timedelta(seconds=15)


class Collection:
    """Releases and collects; safe to call from several threads for different claims.

    `_lock` owns `_due` (by claim name, when it is next looked at) and `_heap` (the same by moment, and what was
    overtaken meanwhile). The reflector's thread and the sweep write both.
    """

    def __init__(
        self,
        cache: ClaimCache,
        claims: Allocator,
        *,
        require_leadership: Callable[[], None],
        hand_over: Callable[[Claim], bool] = lambda _: False,
        tentative_age: timedelta = TENTATIVE_AGE,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        """`hand_over` gives what nobody holds any more to another Service that shows the address, if there is one."""
        self._cache = cache
        self._claims = claims
        self._hand_over = hand_over
        self._require_leadership = require_leadership
        self._tentative_age = tentative_age
        self._now = now
        self._due: dict[str, datetime] = {}
        self._heap: list[tuple[datetime, str]] = []
        self._lock = threading.Lock()

    def note(self, change: Change) -> None:
        """Take in one IPAllocation's change."""
        self._schedule(change.key[1], self._moment(change.new) if change.new is not None else None)

    def sweep(self, queue: Callable[[Key], None]) -> None:
        """Collect what is due. `queue` is called with every Service whose reservation has aged.

        Raises NotLeading; whatever else goes wrong with one claim is logged, and it is tried again.
        """
        now = self._now()
        while (name := self._take_due(now)) is not None:
            document = self._cache.claim_document(name)
            if document is None:
                continue
            # Done, it changes and is scheduled anew; until then, and where it fails, it has its next turn later.
            self._schedule(name, now + _RETRY)
            try:
                self._require_leadership()
                self._collect(document, queue)
            except NotLeading:
                self._schedule(name, now)
                raise
            except (LostRace, ApiError) as error:
                log.warning("claim.not-collected", claim=name, error=error, retry_seconds=_RETRY.total_seconds())
            except Exception:
                log.exception("claim.not-collected", claim=name)

    def release(self, claim: Claim, key: Key, *, why: str) -> None:
        """Take the Service off the claim if it may be. Raises NotLeading, LostRace, ApiError."""
        if not self.releasable(claim, key):
            return
        self._require_leadership()
        if not claim.others(*key) and self._hand_over(claim):
            return
        delay = next((pool.reuse_delay_seconds for pool in self._cache.pools() if pool.name == claim.pool), 0)
        self._claims.release(claim, namespace=key[0], name=key[1], reuse_delay=timedelta(seconds=delay), why=why)
        REPAIRS.labels("released").inc()

    def drop_reservation(self, claim: Claim, key: Key) -> None:
        """Take a Service that is not there off the claim; what it only reserved does not cool. As `release`."""
        holder = claim.holder(*key)
        if holder is None or holder.uid is not None:
            self.release(claim, key, why="the Service was deleted")
        elif self.releasable(claim, key):
            self._require_leadership()
            self._drop(claim, [holder], why=self._never_came)

    def drop_over_quota(self, claim: Claim, key: Key) -> None:
        """Take a reservation that was made beside others, and is over the quota, off the claim. As `release`."""
        holder = claim.holder(*key)
        if holder is not None and holder.uid is None:
            self._require_leadership()
            self._drop(claim, [holder], why=f"the quota of namespace {key[0]} is used up")

    def releasable(self, claim: Claim, key: Key) -> bool:
        """Whether the Service may be taken off the claim: it was seen holding it, or it never came in time."""
        holder = claim.holder(*key)
        return holder is not None and (
            holder.uid is not None or holder in lifecycle.expired(claim, before=self._expiry())
        )

    def _collect(self, document: Object, queue: Callable[[Key], None]) -> None:
        claim = claim_from(document)
        until = cool_until(document)
        if until is not None and until > self._now():
            if _announcement(document):
                others = [one for one in document["status"].get("conditions") or () if one["type"] != READY]
                self._claims.withdraw_announcement(claim, others)
        elif until is not None:
            if self._hand_over(claim):
                return
            self._claims.delete(claim)
            last = ",".join(f"{holder.namespace}/{holder.name}" for holder in claim.holders) or None
            log.info("address.free", ip=claim.address, service=last, pool=claim.pool)
        else:
            self._expire(claim, queue)

    def _expire(self, claim: Claim, queue: Callable[[Key], None]) -> None:
        expired = lifecycle.expired(claim, before=self._expiry())
        for holder in expired:
            if holder.name:
                queue((holder.namespace, holder.name))
        unnamed = [holder for holder in expired if not holder.name]
        if unnamed:
            self._drop(claim, unnamed, why=self._never_came)

    def _drop(self, claim: Claim, gone: list[Holder], *, why: str) -> None:
        if len(gone) < len(claim.holders) or not self._hand_over(claim):
            self._claims.drop(claim, gone, why=why)
        REPAIRS.labels("collected").inc(len(gone))

    @property
    def _never_came(self) -> str:
        return f"no Service came in {self._tentative_age.total_seconds():g} s"

    def _expiry(self) -> str:
        """The moment as claims are written, before which a reservation has expired."""
        return write_time(self._now() - self._tentative_age)

    def _moment(self, document: Object) -> datetime | None:
        """When the claim is next due; None when nothing but a change makes it so."""
        if document["metadata"].get("deletionTimestamp"):
            # Only a finalizer of another's keeps it.
            return None
        spec = document.get("spec") or {}
        if (until := cool_until(document)) is not None:
            released = moment_of(spec.get("releasedAt") or "")
            return min(until, released + _WITHDRAWAL) if _announcement(document) else until
        begun = [
            moment_of(holder.get("since") or "") for holder in spec.get("holders") or () if not holder.get("uid")
        ]
        return min(begun) + self._tentative_age if begun else None

    def _schedule(self, name: str, moment: datetime | None) -> None:
        with self._lock:
            if moment is None:
                self._due.pop(name, None)
            elif self._due.get(name) != moment:
                self._due[name] = moment
                heapq.heappush(self._heap, (moment, name))
            if len(self._heap) > 2 * len(self._due) + 64:
                # What was overtaken may be due in days.
                self._heap = [(due, kept) for kept, due in self._due.items()]
                heapq.heapify(self._heap)

    def _take_due(self, now: datetime) -> str | None:
        with self._lock:
            while self._heap and self._heap[0][0] <= now:
                moment, name = heapq.heappop(self._heap)
                if self._due.get(name) == moment:
                    del self._due[name]
                    return name
        return None


def _announcement(document: Object) -> Object | None:
    """Which node announces the address, as its status says."""
    announced: Object | None = (document.get("status") or {}).get("announcedBy")
    return announced

"""Keeps addresses that foreign hosts answer for from being handed out, by what speakers report in the pools' status.

What is marked and what is freed again is `allocator.core.conflicts`'s; this reads, writes and reports it.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from datetime import UTC, datetime

from allocator.allocation.allocator import Allocator
from allocator.allocation.cache import ClaimCache
from allocator.core.addresses import Address
from allocator.core.claims import Claim
from allocator.core.conflicts import Judgement
from allocator.core.pools import Pool
from allocator.kube.client import Cluster, Conflict, NotFound, Object
from allocator.kube.events import EventRecorder
from allocator.kube.timestamps import write_time
from allocator.objects import names
from allocator.objects.pool_status import FOREIGN_HOSTS_FIELD, Answer, answers_in, unreadable_entries
from allocator.process.logs import EventLog
from allocator.rules.pool_status import conflict_text, proxy_text

log = EventLog("reporter")

STALE_SECONDS = 1800.0
"""How long an answer counts that no speaker confirms, as by this process's clock: they do so three times in it."""


_COUNTS_NO_MORE = float("-inf")


class ForeignHosts:
    """Belongs to the reporter's thread.

    `_known` has each pool's answers with the moment at which this process first saw each as it is now.
    """

    def __init__(
        self,
        cluster: Cluster,
        cache: ClaimCache,
        claims: Allocator,
        events: EventRecorder,
        *,
        require_leadership: Callable[[], None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._cluster = cluster
        self._cache = cache
        self._claims = claims
        self._events = events
        self._require_leadership = require_leadership
        self._clock = clock
        self._known: dict[str, dict[Address, tuple[Answer, float]]] = {}
        self._proxies: dict[str, tuple[str, ...]] = {}

    def review(self, document: Object, pool: Pool, *, announced: bool) -> Judgement:
        """Mark and free addresses of the pool by what its status reports; return what that was judged by.

        `announced` says whether layer 2 announces the pool. Raises LostRace (a claim has changed meanwhile: review
        again), NotLeading, ApiError.
        """
        heard = self._heard(pool.name, document)
        now = write_time(datetime.now(UTC))
        judgement = self._cache.judge(
            pool, {address: answer.host for address, answer in heard.items()}, announced=announced, now=now
        )
        for claim in judgement.marked:
            self._require_leadership()
            self._claims.mark(claim)
            self._report(document, "AddressConflict", conflict_text(claim))
        self._free(judgement.freed)
        self._clean_up(document, judgement)
        if judgement.proxies != self._proxies.get(pool.name, ()):
            self._proxies[pool.name] = judgement.proxies
            if judgement.proxies:
                log.warning("pool.proxy-arp", pool=pool.name, hosts=",".join(judgement.proxies))
                self._report(document, "ProxyARP", proxy_text(judgement.proxies))
        return judgement

    def overdue(self) -> frozenset[str]:
        """Return the pools to be reviewed though nothing of them has changed: an answer has become too old."""
        now = self._clock()
        return frozenset(
            name
            for name, answers in self._known.items()
            if any(_COUNTS_NO_MORE < since <= now - STALE_SECONDS for _, since in answers.values())
        )

    def free_orphans(self, pools: Iterable[str]) -> None:
        """Free what was marked in pools that are gone; `pools` are those that there are. Raises as `review`."""
        for name in self._known.keys() - set(pools):
            del self._known[name]
            self._proxies.pop(name, None)
        self._free(self._cache.orphaned_conflicts())

    def _free(self, claims: Iterable[Claim]) -> None:
        for claim in claims:
            self._require_leadership()
            self._claims.unmark(claim)

    def _clean_up(self, document: Object, judgement: Judgement) -> None:
        """Remove reports that are of no interest any more, or too old: no speaker does, as none asks about them."""
        known = self._known[document["metadata"]["name"]]
        stale = [address for address, (_, since) in known.items() if since == _COUNTS_NO_MORE]
        gone = [*(str(address) for address in (*judgement.outdated, *stale)), *unreadable_entries(document)]
        if not gone:
            return
        self._require_leadership()
        metadata = document["metadata"]
        body = {"metadata": {"uid": metadata["uid"]}, "status": {FOREIGN_HOSTS_FIELD: dict.fromkeys(gone)}}
        with suppress(NotFound, Conflict):
            self._cluster.patch(
                names.IP_ADDRESS_POOLS, metadata["name"], body, metadata["namespace"], subresource="status"
            )

    def _heard(self, name: str, document: Object) -> dict[Address, Answer]:
        """The answers that count; one that was not confirmed for too long counts no more, until it changes."""
        now = self._clock()
        before = self._known.get(name, {})
        known = {}
        for address, answer in answers_in(document).items():
            earlier = before.get(address)
            known[address] = earlier if earlier is not None and earlier[0] == answer else (answer, now)
        fresh = {address: entry for address, entry in known.items() if now - entry[1] < STALE_SECONDS}
        # What is too old stays known, so that it is not taken for new.
        stale = {address: (entry[0], _COUNTS_NO_MORE) for address, entry in known.items() if address not in fresh}
        self._known[name] = fresh | stale
        return {address: answer for address, (answer, _) in fresh.items()}

    def _report(self, pool: Object, reason: str, message: str) -> None:
        self._events.record(pool, reason=reason, message=message, normal=False, kind=names.IP_ADDRESS_POOLS)

"""The other speakers' Leases, read now and then: heartbeats show who lives, Leases who does not come back.

Nobody watches them: a thousand Leases renewed every ten seconds would reach each of a thousand speakers, a hundred
events a second. All are listed once a minute. A node that hears nobody lists them all the time, for they may say that
others hear each other, or live by their Leases like itself: the more there are, the less often, for where heartbeats
are blocked everywhere all nodes do. The Leases of peers that have fallen silent are read for a while, once in the
time in which they are renewed: one by one, or, of many, all at once.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection
from dataclasses import replace
from random import Random
from typing import Protocol

from allocator.kube.client import ApiError, Cluster, NotFound, Object
from allocator.kube.reflector import Change
from allocator.kube.resource import LEASES
from allocator.objects.names import SPEAKER_LEASE_PREFIX
from allocator.process.background import Background
from allocator.process.logs import EventLog
from speaker.membership.fence import clock
from speaker.membership.lease import SpeakerLease, lease_from
from speaker.membership.lease_evidence import LIST_SECONDS, RENEW_ALONE_SECONDS, RENEW_SECONDS
from speaker.membership.unheard import Doubt

log = EventLog("leases")

ALONE_SECONDS = 1.5
"""How often all Leases are listed while this node hears nobody, where they are few."""
LISTS_PER_SECOND = 50.0
"""What all nodes together list at most while none hears any, as far as `LONGEST_ALONE_SECONDS` permits."""
LONGEST_ALONE_SECONDS = 1.5 * RENEW_ALONE_SECONDS
"""How often at least, however many they are: who renews no more is given up within 15 s all the same.

A list after the last renewal (a jitter more than this) and for as long as the renewal counts; and of those renewals
that are seen within that time one may fail.
"""
MOST_READ = 8
"""Of how many silent peers the Leases are read one by one: of more, all are listed."""
_WRITTEN_SECONDS = 5.0
_JITTER = 0.2


class HearsOfRenewals(Protocol):
    """Who is notified of renewals, and what is in doubt there."""

    @property
    def doubt(self) -> Doubt:
        """What is in doubt now."""
        ...

    def renewed(self, node: str, *, hears: int | None, serving: bool, since: float) -> None:
        """The node's Lease was seen to be renewed since a look at that time.

        It says how many others the node hears, and whether it serves.
        """
        ...


class LeaseList(Background):
    """Reads the Leases from a thread of its own, passes on what changed, and who was seen to renew.

    All state belongs to the thread. `_read_at` has when each was last read: only what changed since a look shortly
    before is a renewal now, and not one of long ago.
    """

    def __init__(
        self,
        cluster: Cluster,
        *,
        namespace: str,
        heartbeats: HearsOfRenewals,
        wait_written: Callable[[float], bool],
        on_change: Callable[[Change], None],
        random: Random | None = None,
    ) -> None:
        """`wait_written` waits so long for this node's own Lease: of two that start at once, one is to see the other.

        `on_change` is called with each that appeared, went or says something else; a renewal alone is no change.
        """
        super().__init__("leases")
        self._cluster = cluster
        self._namespace = namespace
        self._heartbeats = heartbeats
        self._wait_written = wait_written
        self._on_change = on_change
        self._random = random or Random()  # noqa: S311  that nobody guesses it protects nothing
        self._known: dict[str, SpeakerLease] = {}
        self._read_at: dict[str, float] = {}
        self._list_at = 0.0
        self._synced = threading.Event()

    def wait_synced(self, timeout_seconds: float | None = None) -> bool:
        """Return whether the first list has been passed on, waiting for it up to the timeout."""
        return self._synced.wait(timeout_seconds)

    def _run(self) -> None:
        self._wait_written(_WRITTEN_SECONDS)
        said = ""
        while not self._stopping.is_set():
            try:
                self.look(clock())
                said = ""
            except ApiError as error:
                if str(error) != said:
                    said = str(error)
                    log.warning("leases.unread", error=error, retry_seconds=self.pause_seconds)
            self._stopping.wait(self._jittered(self.pause_seconds))

    @property
    def pause_seconds(self) -> float:
        """About how long to wait between two looks, as things are."""
        if not self._heartbeats.doubt.alone:
            return ALONE_SECONDS
        return min(max(ALONE_SECONDS, len(self._known) / LISTS_PER_SECOND), LONGEST_ALONE_SECONDS)

    def look(self, now: float) -> None:
        """Read what is due. Raises ApiError."""
        doubt = self._heartbeats.doubt
        due = [node for node in sorted(doubt.silent) if now - self._read_at.get(node, 0.0) >= RENEW_SECONDS]
        if now >= self._list_at or doubt.alone or len(due) > MOST_READ:
            self._list(now, doubt.silent)
            return
        for node in due:
            self._read(node, now)

    def _list(self, now: float, silent: Collection[str]) -> None:
        found: dict[str, tuple[SpeakerLease, Object]] = {}
        for page in self._cluster.pages(LEASES, self._namespace):
            for document in page.get("items") or ():
                lease = lease_from(document)
                if lease is not None:
                    found[lease.node] = (lease, document)
        for node in self._known.keys() - found.keys():
            self._drop(node)
        for node, (lease, document) in found.items():
            self._take(node, lease, document, now)
        # Of a silent node without a Lease, that is known now, too.
        self._read_at = dict.fromkeys({*found, *silent}, now)
        self._list_at = now + self._jittered(LIST_SECONDS)
        self._synced.set()

    def _read(self, node: str, now: float) -> None:
        try:
            document = self._cluster.get(LEASES, f"{SPEAKER_LEASE_PREFIX}{node}", self._namespace)
        except NotFound:
            self._read_at[node] = now
            self._drop(node)
            return
        lease = lease_from(document)
        if lease is not None:
            self._take(node, lease, document, now)

    def _take(self, node: str, lease: SpeakerLease, document: Object, now: float) -> None:
        before, self._known[node] = self._known.get(node), lease
        read_at, self._read_at[node] = self._read_at.get(node), now
        if before is None or _lasting(before) != _lasting(lease):
            self._report(document["metadata"]["name"], document)
        lately = read_at is not None and now - read_at < 2 * RENEW_SECONDS
        if before is not None and read_at is not None and lately and before.renewed != lease.renewed:
            self._heartbeats.renewed(node, hears=lease.hears, serving=lease.serving, since=read_at)

    def _drop(self, node: str) -> None:
        if self._known.pop(node, None) is not None:
            self._report(f"{SPEAKER_LEASE_PREFIX}{node}", None)

    def _report(self, name: str, document: Object | None) -> None:
        version = "" if document is None else str(document["metadata"]["resourceVersion"])
        self._on_change(Change(LEASES, (self._namespace, name), None, document, version))

    def _jittered(self, seconds: float) -> float:
        return seconds * self._random.uniform(1.0 - _JITTER, 1.0 + _JITTER)


def _lasting(lease: SpeakerLease) -> SpeakerLease:
    """What a Lease says but for its renewal."""
    return replace(lease, renewed="", hears=0)

"""The other speakers' Leases, read now and then: heartbeats show who lives, Leases who does not come back.

Nobody watches them: a thousand Leases renewed every ten seconds would reach each of a thousand speakers, a hundred
events a second. All are listed once a minute. A node that hears nobody lists them all the time, for they may say that
others hear each other, or live by their Leases like itself; and the Leases of peers that have fallen silent are read
one by one for a while.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
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
from speaker.membership.lease_evidence import LIST_SECONDS, RENEW_SECONDS
from speaker.membership.unheard import Doubt

log = EventLog("leases")

ALONE_SECONDS = 1.5
"""How often all Leases are listed while this node hears nobody."""
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

    def renewed(self, node: str, *, hears: int, serving: bool, since: float) -> None:
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
                    log.warning("leases.unread", error=error, retry_seconds=ALONE_SECONDS)
            self._stopping.wait(self._jittered(ALONE_SECONDS))

    def look(self, now: float) -> None:
        """Read what is due. Raises ApiError."""
        doubt = self._heartbeats.doubt
        if now >= self._list_at or doubt.alone or len(doubt.silent) > MOST_READ:
            self._list(now)
            return
        for node in sorted(doubt.silent):
            if now - self._read_at.get(node, 0.0) >= RENEW_SECONDS:
                self._read(node, now)

    def _list(self, now: float) -> None:
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
        self._read_at = {node: at for node, at in self._read_at.items() if node in found}
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

"""The adoption mark: the leader's statement, on its Lease, that every address in a status has been claimed.

Admission hands out addresses only under it. It is true of one state of the cluster, and of every later one that
comes about by way of claims first, status second. What contradicts it revokes it:

    etcd restored in place from a snapshot    the Lease's version went back: whoever reads that first (leader,
                                              follower, webhook) revokes the mark and starts afresh
    a snapshot from before the mark, the
    Lease deleted, the mark removed           no mark: webhooks stop reserving within a second, the leader adopts
                                              again and writes a new one
    a leader that finds statuses without
    claims when it begins (a backup restored
    without claims, claims deleted)           revokes it before it claims them

Every leader writes a mark of its own once it has adopted, so that no two are alike: a revocation names the one it is
about and never hits its successor.
"""

from __future__ import annotations

from datetime import UTC, datetime
from uuid import uuid4

from allocator.kube import resource
from allocator.kube.client import JSON_PATCH, ApiError, Cluster, Object
from allocator.kube.timestamps import write_time
from allocator.objects import names
from allocator.objects.document import annotations_of
from allocator.process.logs import EventLog

log = EventLog("adoption")

_PATH = "/metadata/annotations/" + names.ADOPTED_ANNOTATION.replace("~", "~0").replace("/", "~1")


def mark_of(lease: Object) -> str:
    """Return the mark on the reconciler's Lease; empty when there is none."""
    return annotations_of(lease).get(names.ADOPTED_ANNOTATION, "")


class AdoptionMark:
    """Reads and writes the mark. Holds no state; safe to call from any thread."""

    def __init__(self, cluster: Cluster, *, namespace: str) -> None:
        self._cluster = cluster
        self._namespace = namespace

    def lease(self) -> Object:
        """Return the Lease as stored now. Raises NotFound, ApiError."""
        return self._cluster.get(resource.LEASES, names.RECONCILER_LEASE, self._namespace)

    def revision(self) -> Object:
        """Return a list of ours as read now: its version is the store's, which every write of anything raises."""
        return next(self._cluster.pages(names.IP_ADDRESS_POOLS, self._namespace, size=1))

    def write(self) -> None:
        """State that everything is claimed. Raises ApiError."""
        mark = f"{write_time(datetime.now(UTC))} {uuid4().hex[:8]}"
        body = {"metadata": {"annotations": {names.ADOPTED_ANNOTATION: mark}}}
        self._cluster.patch(resource.LEASES, names.RECONCILER_LEASE, body, self._namespace)

    def revoke(self, *, why: str) -> None:
        """Take the mark away that is there now, if there is one; a newer one stays. Raises ApiError."""
        mark = mark_of(self.lease())
        if not mark:
            return
        body = [{"op": "test", "path": _PATH, "value": mark}, {"op": "remove", "path": _PATH}]
        self._cluster.patch(resource.LEASES, names.RECONCILER_LEASE, body, self._namespace, content_type=JSON_PATCH)
        log.warning("adoption.revoked", mark=mark, why=why)

    def try_to_revoke(self, *, why: str) -> None:
        """As `revoke`, where failing is no harm: the one who calls starts afresh, and the leader adopts anew."""
        try:
            self.revoke(why=why)
        except ApiError as error:
            log.warning("adoption.not-revoked", error=error, why=why)

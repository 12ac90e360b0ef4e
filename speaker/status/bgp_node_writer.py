"""Makes and corrects the BGPNodeStatus of one node."""

from __future__ import annotations

from allocator.kube.client import AlreadyExists, Cluster, Conflict, NotFound, Object
from allocator.kube.resource import LEASES
from allocator.objects.bgp_node_status import BgpNodeStatus
from allocator.objects.names import BGP_NODE_STATUSES, SPEAKER_LEASE_PREFIX
from speaker.status.service_l2_status import owned_by_lease


class BgpNodeWriter:
    """Belongs to one thread. Every method may raise ApiError; after it the object is read anew."""

    def __init__(self, cluster: Cluster, *, node: str, namespace: str) -> None:
        self._cluster = cluster
        self._node = node
        self._namespace = namespace
        self._stored: Object | None = None
        self._not_kept: Object | None = None
        """What the API server took and did not keep: its CRD is of an older release and lacks a field."""

    def forget(self) -> None:
        """Read the object anew the next time: another may have changed it, or it may be lost."""
        self._stored = None

    def differs(self, wanted: BgpNodeStatus) -> bool:
        """Return whether the object has to be written, which costs a read where it is not known."""
        if self._stored is None:
            try:
                self._stored = self._cluster.get(BGP_NODE_STATUSES, self._node, self._namespace)
            except NotFound:
                return True
        said = wanted.as_status()
        return said not in (self._stored.get("status") or {}, self._not_kept)

    def write(self, wanted: BgpNodeStatus) -> None:
        """Make the object say this. Raises Conflict where somebody else wrote meanwhile."""
        stored = self._stored if self._stored is not None else self._created()
        said = wanted.as_status()
        # In a merge patch what is null goes.
        gone = {name: None for name in (stored.get("status") or {}) if name not in said}
        body = {
            "metadata": {"resourceVersion": stored["metadata"]["resourceVersion"]},
            "status": {**said, **gone},
        }
        self._stored = None
        try:
            self._stored = self._cluster.patch(
                BGP_NODE_STATUSES, self._node, body, self._namespace, subresource="status"
            )
        except NotFound as error:
            # Deleted since: it is made the next time.
            raise Conflict(error.status, error.reason, str(error)) from error
        self._not_kept = None if self._stored.get("status") == said else said

    def _created(self) -> Object:
        lease = self._cluster.get(LEASES, f"{SPEAKER_LEASE_PREFIX}{self._node}", self._namespace)
        document = {
            "apiVersion": BGP_NODE_STATUSES.api_version,
            "kind": BGP_NODE_STATUSES.kind,
            "metadata": {
                "name": self._node,
                "namespace": self._namespace,
                "ownerReferences": [owned_by_lease(self._node, lease["metadata"]["uid"])],
            },
        }
        try:
            return self._cluster.create(BGP_NODE_STATUSES, document, self._namespace)
        except AlreadyExists:
            return self._cluster.get(BGP_NODE_STATUSES, self._node, self._namespace)

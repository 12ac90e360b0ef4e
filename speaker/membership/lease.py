"""One Lease per node: that a speaker runs there, where its heartbeats go to, and that it still renews."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from datetime import UTC, datetime

from allocator.kube.client import AlreadyExists, ApiError, Cluster, NotFound, Object
from allocator.kube.resource import LEASES, NODES
from allocator.kube.timestamps import write_time
from allocator.objects.document import Document, annotations_of
from allocator.objects.names import HEARTBEAT_ADDRESSES_ANNOTATION, SPEAKER_LEASE_PREFIX
from allocator.process.logs import EventLog
from speaker.membership.transport import known_addresses

log = EventLog("lease")

RENEW_SECONDS = 10.0
_DURATION_SECONDS = 30
_RETRY_SECONDS = 2.0


@dataclass(frozen=True, slots=True, kw_only=True)
class SpeakerLease:
    """A speaker's Lease: `serving` while its holder is named, `renewed` as it was written."""

    node: str
    addresses: tuple[str, ...] = ()
    serving: bool = False
    renewed: str = ""


def lease_from(document: Document) -> SpeakerLease | None:
    """Read a Lease; None for one that is no speaker's."""
    name = document["metadata"]["name"]
    if not name.startswith(SPEAKER_LEASE_PREFIX):
        return None
    spec: Document = document.get("spec") or {}
    return SpeakerLease(
        node=name.removeprefix(SPEAKER_LEASE_PREFIX),
        addresses=known_addresses(annotations_of(document).get(HEARTBEAT_ADDRESSES_ANNOTATION, "").split(",")),
        serving=bool(spec.get("holderIdentity")),
        renewed=spec.get("renewTime") or "",
    )


class LeaseKeeper:
    """Writes this node's Lease from a thread of its own: at the start, on every change, and every ten seconds.

    `_addresses` and `_serving` are guarded by `_wake`. The Lease goes with its Node (owner reference); a speaker
    that stops only takes its name off.
    """

    def __init__(self, cluster: Cluster, *, node: str, namespace: str) -> None:
        self._cluster = cluster
        self._node = node
        self._namespace = namespace
        self._name = f"{SPEAKER_LEASE_PREFIX}{node}"
        self._wake = threading.Condition()
        self._addresses: tuple[str, ...] = ()
        self._serving = False
        self._changed = False
        self._stopping = False
        self._written = False
        self._thread = threading.Thread(target=self._run, name="lease", daemon=True)

    def start(self) -> None:
        """Begin to write."""
        self._thread.start()

    def stop(self) -> None:
        """End the thread and take this node's name off the Lease, if the API server is there."""
        with self._wake:
            self._stopping = True
            self._wake.notify()
        if self._thread.is_alive():
            self._thread.join(timeout=6)
        if self._written:
            self._write(holder=None)

    @property
    def alive(self) -> bool:
        """Whether the thread still runs."""
        return self._thread.is_alive()

    def reach_at(self, addresses: tuple[str, ...]) -> None:
        """From now on the others reach this node at these addresses, besides its InternalIP."""
        with self._wake:
            if addresses != self._addresses:
                self._addresses = addresses
                self._changed = True
                self._wake.notify()

    def serve(self, serving: bool) -> None:
        """Say whether this node can announce."""
        with self._wake:
            if serving != self._serving:
                self._serving = serving
                self._changed = True
                self._wake.notify()

    def _run(self) -> None:
        while True:
            with self._wake:
                self._changed = False
                holder = self._node if self._serving else None
            self._written = self._write(holder=holder)
            with self._wake:
                self._wake.wait_for(
                    lambda: self._stopping or self._changed, RENEW_SECONDS if self._written else _RETRY_SECONDS
                )
                if self._stopping:
                    return

    def _write(self, *, holder: str | None) -> bool:
        try:
            node = self._cluster.get(NODES, self._node)
            body = self._lease(node, holder)
            try:
                self._cluster.patch(LEASES, self._name, body, self._namespace)
            except NotFound:
                self._cluster.create(LEASES, body, self._namespace)
        except AlreadyExists:
            return False
        except ApiError as error:
            log.debug("lease.unwritten", error=error)
            return False
        return True

    def _lease(self, node: Object, holder: str | None) -> Object:
        internal = [
            entry["address"]
            for entry in (node.get("status") or {}).get("addresses") or ()
            if entry.get("type") == "InternalIP" and entry.get("address")
        ]
        addresses = known_addresses([*internal, *self._addresses])
        return {
            "apiVersion": LEASES.api_version,
            "kind": LEASES.kind,
            "metadata": {
                "name": self._name,
                "namespace": self._namespace,
                "labels": {"app": "metallb", "component": "speaker"},
                "annotations": {HEARTBEAT_ADDRESSES_ANNOTATION: ",".join(addresses)},
                "ownerReferences": [
                    {
                        "apiVersion": NODES.api_version,
                        "kind": NODES.kind,
                        "name": self._node,
                        "uid": node["metadata"]["uid"],
                    }
                ],
            },
            "spec": {
                "holderIdentity": holder,
                "leaseDurationSeconds": _DURATION_SECONDS,
                "renewTime": write_time(datetime.now(UTC)),
            },
        }

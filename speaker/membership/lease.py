"""One Lease per node: that a speaker runs there, where its heartbeats go to, and that it still renews."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime

from allocator.core.addresses import AddressError
from allocator.kube.client import AlreadyExists, ApiError, Cluster, NotFound, Object
from allocator.kube.resource import LEASES, NODES
from allocator.kube.timestamps import write_time
from allocator.objects.document import Document, annotations_of
from allocator.objects.lease import SUBNETS_READ
from allocator.objects.names import (
    HEARD_SPEAKERS_ANNOTATION,
    HEARTBEAT_ADDRESSES_ANNOTATION,
    RANKED_ALIKE,
    RANKED_BY_SUBNET,
    SPEAKER_LEASE_PREFIX,
    SPEAKER_RANKING_ANNOTATION,
    SPEAKER_SUBNETS_ANNOTATION,
)
from allocator.process.logs import EventLog
from speaker.membership.lease_evidence import RENEW_ALONE_SECONDS, RENEW_SECONDS
from speaker.membership.link import Subnet
from speaker.membership.transport import known_addresses

log = EventLog("lease")

_DURATION_SECONDS = 30
_ADDRESSES_READ = 16
_DIGITS_READ = 9
"""What is read of a Lease: more than speakers write, and so little that one which says anything costs nobody."""
_RETRY_SECONDS = 2.0
JOINING = "joining"
"""What a Lease says of how many others its node hears while none of them counts yet."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SpeakerLease:
    """A speaker's Lease: `serving` while its holder is named, `renewed` as it was written.

    `hears` is how many other speakers the node had heard for long enough to count when it wrote it; None where it
    heard some, and none of them for so long: in a LAN that heals all are to meet before some count as cut off.
    `subnets` are those of its interfaces.
    """

    node: str
    addresses: tuple[str, ...] = ()
    serving: bool = False
    renewed: str = ""
    hears: int | None = 0
    subnets: tuple[Subnet, ...] = ()


def lease_from(document: Document) -> SpeakerLease | None:
    """Read a Lease; None for one that is no speaker's. What cannot be read in it, or is too much, is left out."""
    name = document["metadata"]["name"]
    if not name.startswith(SPEAKER_LEASE_PREFIX):
        return None
    spec: Document = document.get("spec") or {}
    annotations = annotations_of(document)
    heard = annotations.get(HEARD_SPEAKERS_ANNOTATION, "")
    hears = int(heard) if heard.isascii() and heard.isdigit() and len(heard) <= _DIGITS_READ else 0
    return SpeakerLease(
        node=name.removeprefix(SPEAKER_LEASE_PREFIX),
        addresses=known_addresses(_listed(annotations.get(HEARTBEAT_ADDRESSES_ANNOTATION, ""), _ADDRESSES_READ)),
        hears=None if heard == JOINING else hears,
        subnets=tuple(_subnets(annotations.get(SPEAKER_SUBNETS_ANNOTATION, ""))),
        serving=bool(spec.get("holderIdentity")),
        renewed=spec.get("renewTime") or "",
    )


def _listed(written: str, at_most: int) -> list[str]:
    return written.split(",", at_most)[:at_most]


def _subnets(written: str) -> Iterator[Subnet]:
    for text in _listed(written, SUBNETS_READ):
        with contextlib.suppress(AddressError):
            yield Subnet.parse(text)


class LeaseKeeper:
    """Writes this node's Lease from a thread of its own: at the start, on every change, and every ten seconds.

    It is written at once, too, when this node comes to hear nobody or hears somebody again, and more often while it
    hears nobody: others that hear nobody either go by that. What the setters set is guarded by
    `_wake`. The Lease goes with its Node (owner reference); a speaker that stops only takes its name off.
    """

    def __init__(
        self,
        cluster: Cluster,
        *,
        node: str,
        namespace: str,
        by_subnet: bool = True,
        on_stored: Callable[[Object], None] = lambda _: None,
    ) -> None:
        """`by_subnet` is whether this speaker ranks nodes by the address's subnet.

        `on_stored` is called with the Lease as the API server returned it after a write, from the thread.
        """
        self._cluster = cluster
        self._node = node
        self._namespace = namespace
        self._ranking = RANKED_BY_SUBNET if by_subnet else RANKED_ALIKE
        self._on_stored = on_stored
        self._name = f"{SPEAKER_LEASE_PREFIX}{node}"
        self._wake = threading.Condition()
        self._addresses: tuple[str, ...] = ()
        self._subnets: tuple[str, ...] = ()
        self._serving = False
        self._hears: int | None = 0
        self._alone = False
        self._changed = False
        self._stopping = False
        self._written = threading.Event()
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
        if self._written.is_set():
            self._write(holder=None, hears=0)

    def wait_written(self, timeout_seconds: float) -> bool:
        """Return whether the Lease was ever written, waiting for it up to the timeout."""
        return self._written.wait(timeout_seconds)

    @property
    def alive(self) -> bool:
        """Whether the thread still runs."""
        return self._thread.is_alive()

    def reach_at(self, addresses: tuple[str, ...], subnets: tuple[str, ...]) -> None:
        """From now on this node is reached at these addresses, besides its InternalIP, and is in these subnets."""
        with self._wake:
            if (addresses, subnets) != (self._addresses, self._subnets):
                self._addresses, self._subnets = addresses, subnets
                self._changed = True
                self._wake.notify()

    def serve(self, serving: bool, *, hears: int | None, alone: bool) -> None:
        """Say whether this node can announce, how many other speakers it hears, and whether it should hear some."""
        with self._wake:
            changed = serving != self._serving or alone != self._alone or (hears is None) != (self._hears is None)
            self._serving, self._hears, self._alone = serving, hears, alone
            if changed:
                self._changed = True
                self._wake.notify()

    def _run(self) -> None:
        while True:
            with self._wake:
                self._changed = False
                holder = self._node if self._serving else None
                hears = self._hears
            written = self._write(holder=holder, hears=hears)
            if written:
                self._written.set()
            with self._wake:
                pause = RENEW_ALONE_SECONDS if self._alone else RENEW_SECONDS
                self._wake.wait_for(lambda: self._stopping or self._changed, pause if written else _RETRY_SECONDS)
                if self._stopping:
                    return

    def _write(self, *, holder: str | None, hears: int | None) -> bool:
        try:
            node = self._cluster.get(NODES, self._node)
            body = self._lease(node, holder, hears)
            try:
                stored = self._cluster.patch(LEASES, self._name, body, self._namespace)
            except NotFound:
                stored = self._cluster.create(LEASES, body, self._namespace)
        except AlreadyExists:
            return False
        except ApiError as error:
            log.debug("lease.unwritten", error=error)
            return False
        self._on_stored(stored)
        return True

    def _lease(self, node: Object, holder: str | None, hears: int | None) -> Object:
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
                "annotations": {
                    HEARTBEAT_ADDRESSES_ANNOTATION: ",".join(addresses),
                    HEARD_SPEAKERS_ANNOTATION: JOINING if hears is None else str(hears),
                    SPEAKER_SUBNETS_ANNOTATION: ",".join(self._subnets),
                    SPEAKER_RANKING_ANNOTATION: self._ranking,
                },
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

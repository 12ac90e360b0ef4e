"""Writes who announces what into the API: one ServiceL2Status a Service, and announcedBy on each IPAllocation."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from allocator.cluster import APPLY_PATCH, ApiError, Cluster, Conflict, NotFound, Object, Unavailable
from allocator.core.addresses import Address
from allocator.documents import labels_of
from allocator.logs import EventLog
from allocator.names import IP_ALLOCATIONS, LEASES, SERVICE_L2_STATUSES, SPEAKER_LEASE_PREFIX
from allocator.reflector import Change, Key
from speaker.write_pace import WritePace

log = EventLog("status")

SETTLE_SECONDS = 0.3
"""What moves away again within this time is not written at all."""
CONFLICT_CONDITION = "AddressConflict"

_RETRY_SECONDS = 5.0
_REFUSED_SECONDS = 60.0
_NODE_LABEL = "metallb.io/node"
_NAME_LABEL = "metallb.io/service-name"
_NAMESPACE_LABEL = "metallb.io/service-namespace"


@dataclass(frozen=True, slots=True, kw_only=True)
class Announcement:
    """That this node announces an address, on which interfaces (empty: on all), since when."""

    interfaces: tuple[str, ...]
    since: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Contested:
    """Whether another host claims an address: what is known of it, and since when it is so."""

    claimed: bool
    message: str
    since: str


@dataclass(frozen=True, slots=True)
class _Shown:
    """What this node says on an IPAllocation."""

    announcement: Announcement | None = None
    contested: Contested | None = None


class StatusWriter:
    """Brings the API's word about this node's announcements in line, one paced write after the other.

    There is no queue: what is wanted is compared with what is there, so that whatever happened while the API server
    was away, or while others had their turn, costs one write an object at most. `_wanted`, `_contested`, `_statuses`
    and `_changed` are guarded by `_wake`; `_shown` belongs to the thread.
    """

    def __init__(self, cluster: Cluster, *, node: str, namespace: str, pace: WritePace) -> None:
        self._cluster = cluster
        self._node = node
        self._namespace = namespace
        self._pace = pace
        self._wake = threading.Condition()
        self._wanted: dict[tuple[Key, Address], Announcement] | None = None
        self._contested: dict[Address, Contested] = {}
        self._statuses: dict[str, Object] = {}
        self._changed = False
        self._stopping = threading.Event()
        self._shown: dict[Address, _Shown] = {}
        self._thread = threading.Thread(target=self._run, name="status", daemon=True)

    def start(self) -> None:
        """Begin writing."""
        self._thread.start()

    def stop(self) -> None:
        """End the thread; the next holder of each address corrects what is left."""
        self._stopping.set()
        self._poke()
        if self._thread.is_alive():
            self._thread.join(timeout=6)

    @property
    def alive(self) -> bool:
        """Whether the thread still runs."""
        return self._thread.is_alive()

    def announce(self, wanted: Mapping[tuple[Key, Address], Announcement]) -> None:
        """This node announces exactly this; returns at once."""
        with self._wake:
            if wanted == self._wanted:
                return
            self._wanted = dict(wanted)
        self._poke()

    def contest(self, address: Address, contested: Contested) -> None:
        """Another host claims the address, or no longer does; returns at once."""
        with self._wake:
            self._contested[address] = contested
        self._poke()

    def on_change(self, change: Change) -> None:
        """Take note of a ServiceL2Status (called by its reflector)."""
        with self._wake:
            if change.new is None:
                self._statuses.pop(change.key[1], None)
            else:
                self._statuses[change.key[1]] = change.new
        self._poke()

    def _poke(self) -> None:
        with self._wake:
            self._changed = True
            self._wake.notify()

    def _run(self) -> None:
        while not self._stopping.is_set():
            with self._wake:
                self._wake.wait_for(lambda: self._changed)
            self._stopping.wait(SETTLE_SECONDS)
            with self._wake:
                self._changed = False
            try:
                while (step := self._next()) is not None and self._pace.wait_turn(self._stopping):
                    # Its turn may have been long in coming.
                    step = self._next()
                    if step is not None:
                        step()
            except ApiError as error:
                log.debug("status.unwritten", error=error)
                self._stopping.wait(_RETRY_SECONDS if isinstance(error, Unavailable) else _REFUSED_SECONDS)
                self._poke()

    def _next(self) -> Callable[[], None] | None:
        """Return the next write there is to do."""
        with self._wake:
            if self._wanted is None or self._stopping.is_set():
                return None
            wanted, contested, statuses = dict(self._wanted), dict(self._contested), list(self._statuses.values())
        announced: dict[Address, Announcement] = {}
        services: dict[Key, dict[Address, Announcement]] = {}
        for (key, address), announcement in sorted(wanted.items()):
            announced.setdefault(address, announcement)
            services.setdefault(key, {})[address] = announcement
        for address in announced.keys() | contested.keys() | self._shown.keys():
            show = _Shown(announced.get(address), contested.get(address))
            if self._shown.get(address, _Shown()) != show:
                return lambda: self._show(address, show)
        return self._next_status(services, statuses)

    def _next_status(
        self, services: Mapping[Key, Mapping[Address, Announcement]], statuses: Iterable[Object]
    ) -> Callable[[], None] | None:
        own: dict[Key, list[Object]] = {}
        for status in statuses:
            labels = labels_of(status)
            key = (labels.get(_NAMESPACE_LABEL, ""), labels.get(_NAME_LABEL, ""))
            ours = labels.get(_NODE_LABEL) == self._node
            if key in services and ours and key not in own:
                own[key] = [status]
            elif key in services or ours:
                # Of a former holder, a second of ours, or of what we no longer announce.
                return lambda: self._delete(status)
        for key, announcements in services.items():
            if key not in own:
                return lambda: self._create(key)
            said, status = self._status_of(key, announcements), own[key][0]
            if _told(status) != said and not self._refuses(status, said):
                return lambda: self._tell(status, said)
        return None

    def _status_of(self, key: Key, announcements: Mapping[Address, Announcement]) -> Object:
        first = next(iter(announcements.values()))
        return {
            "node": self._node,
            "serviceName": key[1],
            "serviceNamespace": key[0],
            "interfaces": [{"name": name} for name in first.interfaces],
            "addresses": [str(address) for address in announcements],
            "since": min(each.since for each in announcements.values()),
        }

    def _refuses(self, status: Object, said: Object) -> bool:
        """Tell whether the API server has dropped fields: its CRD is MetalLB's own."""
        told = _told(status)
        return bool(told) and all(told.get(field) == said[field] for field in told) and "addresses" not in told

    def _show(self, address: Address, show: _Shown) -> None:
        status: Object = {}
        if show.announcement is not None:
            status["announcedBy"] = {
                "node": self._node,
                "interfaces": list(show.announcement.interfaces),
                "since": show.announcement.since,
            }
        if show.contested is not None:
            status["conditions"] = [
                {
                    "type": CONFLICT_CONDITION,
                    "status": "True" if show.contested.claimed else "False",
                    "reason": "ForeignClaim" if show.contested.claimed else "NoForeignClaim",
                    "message": show.contested.message,
                    "lastTransitionTime": show.contested.since,
                }
            ]
        body = {
            "apiVersion": IP_ALLOCATIONS.api_version,
            "kind": IP_ALLOCATIONS.kind,
            "metadata": {"name": address.claim_name},
            "status": status,
        }
        # Applied, not patched: what this node no longer says goes, unless another node says it by now.
        self._write(
            lambda: self._cluster.patch(
                IP_ALLOCATIONS,
                address.claim_name,
                body,
                subresource="status",
                content_type=APPLY_PATCH,
                field_manager=f"{SPEAKER_LEASE_PREFIX}{self._node}",
                force=True,
            )
        )
        self._shown[address] = show
        if show == _Shown():
            del self._shown[address]
        with self._wake:
            known = self._contested.get(address)
            if show.announcement is None and known is not None and not known.claimed:
                del self._contested[address]

    def _create(self, key: Key) -> None:
        lease = self._cluster.get(LEASES, f"{SPEAKER_LEASE_PREFIX}{self._node}", self._namespace)
        body: Object = {
            "apiVersion": SERVICE_L2_STATUSES.api_version,
            "kind": SERVICE_L2_STATUSES.kind,
            "metadata": {
                "generateName": "l2-",
                "namespace": self._namespace,
                "labels": {_NODE_LABEL: self._node, _NAME_LABEL: key[1], _NAMESPACE_LABEL: key[0]},
                # Goes with the Lease, which goes with the Node.
                "ownerReferences": [
                    {
                        "apiVersion": LEASES.api_version,
                        "kind": LEASES.kind,
                        "name": lease["metadata"]["name"],
                        "uid": lease["metadata"]["uid"],
                    }
                ],
            },
        }
        self._learn(self._write(lambda: self._cluster.create(SERVICE_L2_STATUSES, body, self._namespace)))

    def _tell(self, status: Object, said: Object) -> None:
        name = status["metadata"]["name"]
        stored = self._write(
            lambda: self._cluster.patch(
                SERVICE_L2_STATUSES, name, {"status": said}, self._namespace, subresource="status"
            )
        )
        self._learn(stored)
        if stored is None:
            self._forget(name)

    def _delete(self, status: Object) -> None:
        name = status["metadata"]["name"]

        def delete() -> None:
            self._cluster.delete(SERVICE_L2_STATUSES, name, self._namespace)

        self._write(delete)
        self._forget(name)

    def _write(self, write: Callable[[], Object | None]) -> Object | None:
        """Do a write; None where the object is gone, or is another by now. Raises other ApiErrors."""
        try:
            return write()
        except (NotFound, Conflict) as error:
            log.debug("status.passed-over", error=error)
            return None

    def _learn(self, stored: Object | None) -> None:
        """What a write returned is known before the watch tells."""
        if stored is not None:
            with self._wake:
                self._statuses[stored["metadata"]["name"]] = stored

    def _forget(self, name: str) -> None:
        with self._wake:
            self._statuses.pop(name, None)


def _told(status: Object) -> Object:
    return dict(status.get("status") or {})

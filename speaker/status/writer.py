"""Writes who announces what into the API: one ServiceL2Status a Service, and announcedBy on each IPAllocation."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping

from allocator.core.addresses import Address
from allocator.kube.client import APPLY_PATCH, ApiError, Cluster, Conflict, NotFound, Object, Unavailable
from allocator.kube.reflector import Change, Key
from allocator.kube.resource import LEASES
from allocator.objects.names import IP_ALLOCATIONS, SERVICE_L2_STATUSES, SPEAKER_LEASE_PREFIX
from allocator.process.logs import EventLog
from speaker.status.diff import (
    NAME_LABEL,
    NAMESPACE_LABEL,
    NODE_LABEL,
    Announcement,
    Books,
    Contested,
    Drop,
    Show,
    Shown,
    Step,
    Tell,
    steps,
)
from speaker.status.rate_limit import WritePace

log = EventLog("status")

SETTLE_SECONDS = 0.3
"""What moves away again within this time is not written at all."""
READY_CONDITION = "Ready"
CONFLICT_CONDITION = "AddressConflict"

_RETRY_SECONDS = 5.0
_REFUSED_SECONDS = 60.0
_INVALID = 422


class StatusWriter:
    """Brings the API's word about this node's announcements in line, one paced write after the other.

    There is no queue that grows: what is wanted is compared with what is there (`steps`), so that whatever happened
    while the API server was away, or while others had their turn, costs one write an object at most. Steps planned
    for what is no longer wanted are not taken. `_wanted`, `_contested`, `_statuses`, `_changed` and `_asked` are
    guarded by `_wake`; `_shown`, `_refused` and `_has_turn` belong to the thread.
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
        self._asked = 0
        self._stopping = threading.Event()
        self._shown: dict[Address, Shown] = {}
        self._refused: dict[Address, tuple[Shown, float]] = {}
        self._has_turn = False
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
            self._asked += 1
        self._poke()

    def contest(self, address: Address, contested: Contested) -> None:
        """Another host claims the address, or no longer does; returns at once."""
        with self._wake:
            self._contested[address] = contested
            self._asked += 1
        self._poke()

    def on_change(self, change: Change) -> None:
        """Take note of a ServiceL2Status (called by its reflector)."""
        name = change.key[1]
        with self._wake:
            known = self._statuses.get(name)
            if change.new is None:
                self._statuses.pop(name, None)
            else:
                self._statuses[name] = change.new
            # The echo of what this node wrote itself is no news.
            news = _version(known) != _version(change.new)
        if news:
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
                while self._write_down():
                    log.debug("status.planned-anew")
            except ApiError as error:
                log.debug("status.unwritten", error=error)
                self._stopping.wait(_RETRY_SECONDS if isinstance(error, Unavailable) else _REFUSED_SECONDS)
                self._poke()

    def _write_down(self) -> bool:
        """Take the steps there are to take; tell whether to look again because something else is wanted by now."""
        with self._wake:
            if self._wanted is None:
                return False
            asked = self._asked
            books = Books(
                node=self._node,
                wanted=self._wanted,
                contested=dict(self._contested),
                shown=dict(self._shown),
                statuses=tuple(self._statuses.values()),
            )
        for step in steps(books):
            if self._is_refused(step):
                continue
            if not self._has_turn and not self._pace.wait_turn(self._stopping):
                return False
            self._has_turn = True
            with self._wake:
                if self._asked != asked:
                    # The turn may have been long in coming; it is for whatever comes first now.
                    return True
            self._has_turn = False
            self._take(step)
        return False

    def _is_refused(self, step: Step) -> bool:
        """Tell whether the API server refused just that a short while ago: nothing else is to wait for it."""
        if not isinstance(step, Show):
            return False
        shown, at = self._refused.get(step.address, (None, 0.0))
        return shown == step.shown and time.monotonic() - at < _REFUSED_SECONDS

    def _take(self, step: Step) -> None:
        match step:
            case Show(address, shown):
                self._show(address, shown)
            case Tell(service, name, said):
                name = name or self._create(service)
                if name is not None:
                    self._tell(name, said)
            case Drop(name):
                self._delete(name)

    def _show(self, address: Address, show: Shown) -> None:
        body = {
            "apiVersion": IP_ALLOCATIONS.api_version,
            "kind": IP_ALLOCATIONS.kind,
            "metadata": {"name": address.claim_name},
            "status": _status(self._node, show),
        }
        # Applied, not patched: what this node no longer says goes, unless another node says it by now.
        try:
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
        except ApiError as error:
            if error.status != _INVALID:
                raise
            # What is left of an entry that another node owns in part is none. The next holder writes all of it anew.
            log.debug("status.refused", ip=address, error=error)
            self._refused[address] = (show, time.monotonic())
            return
        self._refused.pop(address, None)
        self._shown[address] = show
        if show == Shown():
            del self._shown[address]
        with self._wake:
            known = self._contested.get(address)
            if show.announcement is None and known is not None and not known.claimed:
                del self._contested[address]

    def _create(self, key: Key) -> str | None:
        lease = self._cluster.get(LEASES, f"{SPEAKER_LEASE_PREFIX}{self._node}", self._namespace)
        body: Object = {
            "apiVersion": SERVICE_L2_STATUSES.api_version,
            "kind": SERVICE_L2_STATUSES.kind,
            "metadata": {
                "generateName": "l2-",
                "namespace": self._namespace,
                "labels": {NODE_LABEL: self._node, NAME_LABEL: key[1], NAMESPACE_LABEL: key[0]},
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
        stored = self._write(lambda: self._cluster.create(SERVICE_L2_STATUSES, body, self._namespace))
        self._learn(stored)
        # The second of the two writes that a new status costs has a turn of its own.
        if stored is None or not self._pace.wait_turn(self._stopping):
            return None
        return str(stored["metadata"]["name"])

    def _tell(self, name: str, said: Object) -> None:
        stored = self._write(
            lambda: self._cluster.patch(
                SERVICE_L2_STATUSES, name, {"status": said}, self._namespace, subresource="status"
            )
        )
        self._learn(stored)
        if stored is None:
            self._forget(name)

    def _delete(self, name: str) -> None:
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


def _status(node: str, show: Shown) -> Object:
    """What this node says on an IPAllocation; nothing where it neither announces the address nor reports on it."""
    status: Object = {}
    conditions: list[Object] = []
    if (announcement := show.announcement) is not None:
        interfaces = list(announcement.interfaces)
        status["announcedBy"] = {"node": node, "interfaces": interfaces, "since": announcement.since}
        conditions.append(
            {
                "type": READY_CONDITION,
                "status": "True",
                "reason": "Announced",
                "message": f'announced by node "{node}" on {", ".join(interfaces) or "all of its interfaces"}',
                "lastTransitionTime": announcement.since,
            }
        )
    if (contested := show.contested) is not None:
        conditions.append(
            {
                "type": CONFLICT_CONDITION,
                "status": "True" if contested.claimed else "False",
                "reason": "ForeignClaim" if contested.claimed else "NoForeignClaim",
                "message": contested.message,
                "lastTransitionTime": contested.since,
            }
        )
    if conditions:
        status["conditions"] = conditions
    return status


def _version(status: Object | None) -> str | None:
    return None if status is None else status["metadata"].get("resourceVersion")

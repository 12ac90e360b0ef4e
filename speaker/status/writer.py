"""Writes who announces what into the API: a status on each IPAllocation, and one ServiceL2Status a Service."""

from __future__ import annotations

import random
import threading
from collections.abc import Mapping
from collections.abc import Set as AbstractSet
from dataclasses import replace
from datetime import UTC, datetime
from enum import Enum

from allocator.core.addresses import Address
from allocator.kube.client import ApiError, Cluster, Conflict, Object, Unavailable
from allocator.kube.reflector import Change, Key
from allocator.kube.timestamps import write_time
from allocator.process.logs import EventLog
from speaker.election.election import rank
from speaker.status.allocation_status import AllocationStatuses, Told
from speaker.status.backlog import Backlog
from speaker.status.events import Recorder, reference
from speaker.status.facts import Announced, Fact, Subject
from speaker.status.rate_limit import WritePace
from speaker.status.reported_address import ReportedAddress
from speaker.status.service_l2_status import Announcement, Step, StoredStatuses, steps
from speaker.status.service_l2_writer import ServiceL2Writer
from speaker.status.statement import Contested, NoHolder, Occupied

log = EventLog("status")

SETTLE_SECONDS = 0.3
"""What moves away again within this time is not written at all."""
OTHERS_SECONDS = 2.0
"""How long a node waits with what another is to say before it: that one may have seen a change a little later."""
LEFT_OUT_SECONDS = 120.0
"""Within which a ServiceL2Status follows that other nodes than before are left out, and nothing else."""

_RETRY_SECONDS = (1.0, 2.0, 5.0, 10.0, 30.0, 60.0)
_OUTAGE_SECONDS = 1.0


class _Due(Enum):
    """What there is to look at besides single addresses and Services."""

    HEARD = "who speaks for all"


_Item = tuple[int, Address | Key | _Due]
_CONFLICT, _ADDRESS, _SERVICE, _OTHER = range(4)


class StatusWriter:
    """Brings what the API says of this node's announcements in line, one paced write after the other.

    A change costs a look at one address and one Service, and what is wanted by the time of the write is what is
    written. An object that cannot be written is tried again later and keeps no other waiting. `_addresses`,
    `_announced`, `_stored`, `_left`, `_heard` and `_reporting` are guarded by `_lock`; `_failures` belongs to the
    thread.
    """

    def __init__(
        self, cluster: Cluster, *, node: str, protocol: str, namespace: str, pace: WritePace, events: Recorder
    ) -> None:
        """Write what is announced by one `protocol`."""
        self._node = node
        self._protocol = protocol
        self._pace = pace
        self._events = events
        self._allocations = AllocationStatuses(cluster, node=node, namespace=namespace)
        self._statuses = ServiceL2Writer(cluster, node=node, namespace=namespace)
        self._lock = threading.Lock()
        self._addresses: dict[Address, ReportedAddress] = {}
        self._announced: dict[Key, dict[Address, Announcement]] = {}
        self._stored = StoredStatuses()
        self._left: dict[Key, set[str]] = {}
        self._heard: frozenset[str] = frozenset({node})
        self._reporting = False
        self._backlog: Backlog[_Item] = Backlog(order=lambda item: item[0])
        self._failures: dict[_Item, int] = {}
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="status", daemon=True)

    def start(self) -> None:
        """Begin writing."""
        self._thread.start()

    def stop(self) -> None:
        """End the thread; the next holder of each address corrects what is left."""
        self._stopping.set()
        self._backlog.close()
        if self._thread.is_alive():
            self._thread.join(timeout=6)

    @property
    def alive(self) -> bool:
        """Whether the thread still runs."""
        return self._thread.is_alive()

    def report(self, changed: Mapping[Subject, Fact | None], *, heard: AbstractSet[str]) -> None:
        """This is to be said from now on, of these; returns at once. As `Reports.report`."""
        now = write_time(datetime.now(UTC))
        with self._lock:
            for subject, fact in changed.items():
                if subject.protocol == self._protocol:
                    self._take(subject, fact, now)
            if heard != self._heard:
                self._heard = frozenset(heard)
                self._backlog.put((_OTHER, _Due.HEARD), after_seconds=OTHERS_SECONDS)
            if not self._reporting:
                self._reporting = True
                for service in self._stored.services():
                    self._backlog.put((_SERVICE, service), after_seconds=OTHERS_SECONDS)

    def contest(self, address: Address, contested: Contested) -> None:
        """Another host claims the address, or no longer does; returns at once."""
        with self._lock:
            # A host may be found before it is known here that it was asked for.
            self._entry(address).contest(contested)
            self._backlog.put((_CONFLICT, address))

    def on_change(self, change: Change) -> None:
        """Take note of one of this node's ServiceL2Statuses (called by their reflector)."""
        with self._lock:
            service = self._stored.note(change)
            if service is not None and self._reporting:
                self._backlog.put((_SERVICE, service), after_seconds=OTHERS_SECONDS)

    def on_lease(self, lease: Object) -> None:
        """Take note of this node's Lease, which owns the objects made here."""
        self._statuses.lease_uid = str(lease["metadata"].get("uid") or "")

    def compare_all(self) -> None:
        """The API may have lost what was written: look at everything anew."""
        with self._lock:
            for address, entry in self._addresses.items():
                entry.told = None
                self._backlog.put((_ADDRESS, address))

    def _take(self, subject: Subject, fact: Fact | None, now: str) -> None:
        service, address = subject.service, subject.address
        entry = self._entry(address)
        entry.take(service, fact, now=now)
        if entry.over:
            del self._addresses[address]
        else:
            mine = entry.named or entry.announced
            self._backlog.put((_ADDRESS, address), after_seconds=SETTLE_SECONDS if mine else OTHERS_SECONDS)
        announced = self._announced.get(service, {})
        before = announced.pop(address, None)
        if isinstance(fact, Announced):
            announced[address] = Announcement(interfaces=fact.interfaces, since=entry.since, left_out=fact.left_out)
        now_announced = announced.get(address)
        if before == now_announced:
            return
        if announced:
            self._announced[service] = announced
        else:
            self._announced.pop(service, None)
        delay = SETTLE_SECONDS
        if (
            before is not None
            and now_announced is not None
            and replace(before, left_out=now_announced.left_out) == now_announced
        ):
            # One node's label may change this for every Service there is: not all at once.
            delay = LEFT_OUT_SECONDS * random.uniform(0.5, 1.0)  # noqa: S311  no secret
        self._backlog.put((_SERVICE, service), after_seconds=delay)

    def _entry(self, address: Address) -> ReportedAddress:
        entry = self._addresses.get(address)
        if entry is None:
            entry = self._addresses[address] = ReportedAddress(node=self._node)
        return entry

    def _run(self) -> None:
        while (item := self._backlog.take()) is not None:
            try:
                if self._has_to_act(item) and self._pace.wait_turn(self._stopping):
                    self._act(item)
            except Conflict:
                # Another wrote first: what is to be said now may be another thing.
                self._backlog.put(item)
            except Unavailable as error:
                log.debug("status.unwritten", error=error)
                self._again(item)
                self._stopping.wait(_OUTAGE_SECONDS)
            except ApiError as error:
                log.warning("status.refused", what=item[1], error=error, retry_seconds=self._again(item))
            except Occupied as error:
                log.debug("status.left", ip=item[1], node=error.node, retry_seconds=self._again(item))
            else:
                self._failures.pop(item, None)

    def _again(self, item: _Item) -> float:
        failures = self._failures.get(item, 0)
        self._failures[item] = failures + 1
        delay = _RETRY_SECONDS[min(failures, len(_RETRY_SECONDS) - 1)]
        self._backlog.put(item, after_seconds=delay)
        return delay

    def _has_to_act(self, item: _Item) -> bool:
        match item[1]:
            case Address() as address:
                with self._lock:
                    entry = self._addresses.get(address)
                    return entry is not None and entry.is_to_tell(
                        speaks_for_all=lambda: self._speaks_for_all(address)
                    )
            case _Due():
                self._look_at_what_nobody_announces()
                return False
            case service:
                with self._lock:
                    return bool(self._left.get(service)) or bool(self._steps(service))

    def _act(self, item: _Item) -> None:
        match item[1]:
            case Address() as address:
                self._tell_address(address)
            case _Due():
                return
            case service:
                self._tell_service(service)

    def _tell_address(self, address: Address) -> None:
        with self._lock:
            entry = self._addresses.get(address)
            if entry is None or not entry.is_to_tell(speaks_for_all=lambda: self._speaks_for_all(address)):
                return
            say, edits, new = entry.statement, entry.edits, entry.new
            # Whatever becomes of the write, it may be there.
            entry.named = entry.named or entry.announced
            unannounced = entry.unannounced
            heard = self._heard
        told = self._allocations.tell(address, say, new=new, heard=heard)
        if told.reason_changed and isinstance(say.announcement, NoHolder):
            for service, fact in unannounced.items():
                message = f"{address} is announced by no node: {fact.message}"
                self._events.record(
                    reference(service, fact.uid), reason="announceFailed", message=message, normal=False
                )
        with self._lock:
            entry.note_told(say, edits=edits)
            if entry.over:
                self._addresses.pop(address, None)
            self._note_left(entry, told)

    def _note_left(self, entry: ReportedAddress, told: Told) -> None:
        """A node that is not there any more was named: it has left its ServiceL2Status, too."""
        if told.replaced in ("", self._node) or told.replaced in self._heard:
            return
        for service in entry.facts:
            self._left.setdefault(service, set()).add(told.replaced)
            self._backlog.put((_SERVICE, service))

    def _tell_service(self, service: Key) -> None:
        with self._lock:
            left = set(self._left.get(service, ()))
        for node in left:
            self._statuses.delete_that_of(node, service)
            with self._lock:
                self._left[service].discard(node)
                if not self._left[service]:
                    del self._left[service]
        with self._lock:
            planned = self._steps(service)
        for step in planned:
            stored = self._statuses.take(step, service, lambda: self._pace.wait_turn(self._stopping))
            with self._lock:
                if stored is not None:
                    self._stored.put(stored)
                else:
                    self._stored.drop(service, step.name)

    def _steps(self, service: Key) -> tuple[Step, ...]:
        return tuple(steps(self._node, service, self._announced.get(service, {}), self._stored.of(service)))

    def _look_at_what_nobody_announces(self) -> None:
        with self._lock:
            entries = list(self._addresses.items())
        # Whatever changes meanwhile is put by whoever changes it.
        for address, entry in entries:
            if not entry.announced:
                self._backlog.put((_ADDRESS, address))

    def _speaks_for_all(self, address: Address) -> bool:
        return rank(address=address, candidates=self._heard)[0] == self._node

"""Writes who announces what into the API: a status on each IPAllocation, and one ServiceL2Status a Service."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from collections.abc import Set as AbstractSet

from allocator.core.addresses import Address
from allocator.kube.client import ApiError, Cluster, Conflict, Object, Unavailable
from allocator.kube.reflector import Change, Key
from allocator.objects.names import SERVICE_L2_STATUSES
from allocator.process.logs import EventLog
from speaker.status.allocation_status import AllocationStatuses
from speaker.status.backlog import Backlog
from speaker.status.events import Recorder, reference
from speaker.status.facts import Fact, Subject
from speaker.status.rate_limit import WritePace
from speaker.status.report_state import AddressReport, Item, ReportState
from speaker.status.retries import OUTAGE_SECONDS, Retries, is_outage
from speaker.status.service_status_writer import ServiceStatusWriter
from speaker.status.statement import Contested, NoHolder, Occupied

log = EventLog("status")


class StatusWriter:
    """Brings what the API says of this node's announcements in line, one paced write after the other.

    A change costs a look at one address and one Service, and what is wanted by the time of the write is what is
    written. An object that cannot be written is tried again later, behind whatever has not failed; the thread stops
    only while the API server answers nothing at all. `_retries` belongs to the thread.
    """

    def __init__(
        self,
        cluster: Cluster,
        *,
        node: str,
        protocol: str,
        namespace: str,
        pace: WritePace,
        events: Recorder,
        on_written: Callable[[Object], None],
    ) -> None:
        """Write what is announced by one `protocol`; `on_written` is called with each IPAllocation as stored."""
        self._protocol = protocol
        self._pace = pace
        self._events = events
        self._allocations = AllocationStatuses(cluster, node=node, namespace=namespace, on_written=on_written)
        self._statuses = ServiceStatusWriter(cluster, SERVICE_L2_STATUSES, node=node, namespace=namespace)
        self._backlog: Backlog[Item] = Backlog(order=lambda item: item.order)
        self._state = ReportState(node=node, backlog=self._backlog)
        self._retries = Retries(self._backlog)
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
        own = {subject: fact for subject, fact in changed.items() if subject.protocol == self._protocol}
        self._state.report(own, heard=heard)

    def contest(self, address: Address, contested: Contested) -> None:
        """Another host claims the address, or no longer does; returns at once."""
        self._state.contest(address, contested)

    def on_change(self, change: Change) -> None:
        """Take note of one of this node's ServiceL2Statuses (called by their reflector)."""
        self._state.note(change)

    def on_lease(self, lease: Object) -> None:
        """Take note of this node's Lease, which owns the objects made here."""
        self._statuses.lease_uid = str(lease["metadata"].get("uid") or "")

    def compare_all(self) -> None:
        """The API may have lost what was written: look at everything anew."""
        self._state.doubt_all()

    def _run(self) -> None:
        while (item := self._backlog.take()) is not None:
            try:
                self._look_at(item)
            except (ApiError, Occupied) as error:
                self._put_off(item, error)
            else:
                self._retries.succeeded(item)

    def _put_off(self, item: Item, error: ApiError | Occupied) -> None:
        retry_seconds = self._retries.failed(item, error)
        match error:
            case Conflict():
                # Another wrote first: what is to be said now may be another thing.
                pass
            case Occupied():
                log.debug("status.left", ip=item.what, node=error.node, retry_seconds=retry_seconds)
            case Unavailable():
                log.debug("status.unwritten", what=item.what, error=error, retry_seconds=retry_seconds)
            case _:
                log.warning("status.refused", what=item.what, error=error, retry_seconds=retry_seconds)
        if is_outage(error):
            self._stopping.wait(OUTAGE_SECONDS)

    def _look_at(self, item: Item) -> None:
        match item.what:
            case None:
                self._state.doubt_what_was_left()
            case Address() as address:
                # Looked at once more after the turn, which may be long in coming.
                if self._state.address_report(address) is not None and self._turn():
                    report = self._state.address_report(address)
                    if report is not None:
                        self._tell(address, report)
            case service:
                if (self._state.left_by(service) or self._state.steps(service)) and self._turn():
                    self._tell_service(service)

    def _turn(self) -> bool:
        return self._pace.wait_turn(self._stopping)

    def _tell(self, address: Address, report: AddressReport) -> None:
        told = self._allocations.tell(address, report.say, new=report.new, heard=report.heard)
        if told.reason_changed and isinstance(report.say.announcement, NoHolder):
            for service, fact in report.unannounced.items():
                message = f"{address} is announced by no node: {fact.message}"
                about = reference(service, fact.uid)
                self._events.record(about, reason="announceFailed", message=message, normal=False)
        self._state.note_told(address, report, told)

    def _tell_service(self, service: Key) -> None:
        for node in self._state.left_by(service):
            self._statuses.delete_that_of(node, service)
            self._state.note_deleted(service, node)
        for step in self._state.steps(service):
            stored = self._statuses.take(step, service, self._turn)
            self._state.note_stored(service, step.name, stored)

"""Writes what a node's BGP comes to into the API: one BGPNodeStatus, and a ServiceBGPStatus for each Service.

Nothing is written while nothing changes, and no faster than STATUS_WRITES_PER_SECOND: a hundred nodes write at once.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from enum import IntEnum
from typing import NamedTuple

from allocator.bgp.command import Daemon
from allocator.kube.client import ApiError, Cluster, Conflict, Unavailable
from allocator.kube.reflector import Change, Key
from allocator.objects.names import SERVICE_BGP_STATUSES
from allocator.process.background import Background
from allocator.process.logs import EventLog
from speaker.bgp.events import Event
from speaker.bgp.node_report import moment, node_report
from speaker.bgp.reports import BgpReader, Snapshot
from speaker.status.backlog import Backlog
from speaker.status.bgp_node_writer import BgpNodeWriter
from speaker.status.rate_limit import WritePace
from speaker.status.retries import OUTAGE_SECONDS, Retries, is_outage
from speaker.status.service_bgp_status import NOTHING, StoredServiceStatuses, said_of, steps
from speaker.status.service_l2_status import Drop, Step
from speaker.status.service_status_writer import ServiceStatusWriter

log = EventLog("status")

STATUS_WRITES_PER_SECOND = 10.0
STATUS_WRITES_AT_ONCE = 20.0
MOST_OBJECTS = 20_000
"""Services times nodes, from which on there are no ServiceBGPStatuses; they come back at nine tenths of it."""
CHANGE_SECONDS = 0.5
"""How long a change of sessions or of a Service may be followed by another that is written with it."""
COUNTERS_SECONDS = 10.0
"""The same for numbers of prefixes, and when to look whether any differ."""
SESSIONS_SECONDS = 30.0
"""After which Services follow that sessions came or went: those that flap cost one write a Service then."""
START_SECONDS = 5.0
"""From when all is known until sessions have been read as well."""
RECHECK_SECONDS = 300.0
"""When to read the BGPNodeStatus again, which nobody watches."""


class Order(IntEnum):
    """What comes first."""

    NODE = 0
    ALL = 1
    """Every Service: which of them there are, is seen then."""
    SERVICE = 2


class Item(NamedTuple):
    """Something to look at; `service` is for its order alone."""

    order: Order
    service: Key = ("", "")


NODE, ALL = Item(Order.NODE), Item(Order.ALL)


class BgpStatusWriter(Background):
    """A `BgpListener`, called on the thread that decides about BGP; writes on one of its own.

    `_lock` guards `_stored` and `_down_since`; `_seen` belongs to the deciding thread, all else to the writing one.
    """

    def __init__(
        self,
        cluster: Cluster,
        reader: BgpReader,
        *,
        node: str,
        namespace: str,
        node_count: Callable[[], int],
        clock: Callable[[], float] = time.time,
    ) -> None:
        """`node_count` says how many nodes announce, this one included."""
        super().__init__("bgp-status")
        self._reader = reader
        self._node = node
        self._node_count = node_count
        self._clock = clock
        self._objects = ServiceStatusWriter(cluster, SERVICE_BGP_STATUSES, node=node, namespace=namespace)
        self._node_object = BgpNodeWriter(cluster, node=node, namespace=namespace)
        self._pace = WritePace(per_second=STATUS_WRITES_PER_SECOND, at_once=STATUS_WRITES_AT_ONCE)
        self._backlog: Backlog[Item] = Backlog(order=lambda item: item.order)
        self._lock = threading.Lock()
        self._stored = StoredServiceStatuses()
        self._down_since: dict[str, str] = {}
        self._seen: Snapshot | None = None
        self._services_off = False
        self._read_at = 0.0
        self._known_at: float | None = None
        self._retries = Retries(self._backlog)

    def stop(self) -> None:
        """End the thread; what is written stays, as FRR goes on."""
        self._backlog.close()
        super().stop()

    def on_services(self, keys: frozenset[str] | None) -> None:
        """Look at these Services soon."""
        if keys is None:
            self._backlog.put(ALL, after_seconds=CHANGE_SECONDS)
            return
        for key in keys:
            namespace, _, name = key.partition("/")
            self._backlog.put(Item(Order.SERVICE, (namespace, name)), after_seconds=CHANGE_SECONDS)

    def on_snapshot(self, snapshot: Snapshot) -> None:
        """Look at the node: soon where sessions have changed, later where only numbers have."""
        before, self._seen = self._seen, snapshot
        with self._lock:
            self._note_down(before, snapshot)
        if before is None or _judged(before) != _judged(snapshot):
            self._backlog.put(NODE, after_seconds=CHANGE_SECONDS)
        else:
            self._backlog.put(NODE, after_seconds=COUNTERS_SECONDS)
        if before is not None and _carrying(before) != _carrying(snapshot):
            self._backlog.put(ALL, after_seconds=SESSIONS_SECONDS)

    def on_event(self, event: Event) -> None:
        """Pass over it: what stays is in the snapshot."""

    def on_change(self, change: Change) -> None:
        """Take note of one of this node's ServiceBGPStatuses (called by their reflector)."""
        with self._lock:
            service = self._stored.note(change)
        if service is not None:
            # What this node wrote itself just now may be seen in steps.
            self._backlog.put(Item(Order.SERVICE, service), after_seconds=2 * CHANGE_SECONDS)

    def _run(self) -> None:
        self._backlog.put(NODE, after_seconds=CHANGE_SECONDS)
        while (item := self._backlog.take()) is not None:
            try:
                self._look_at(item)
            except ApiError as error:
                self._put_off(item, error)
            else:
                self._retries.succeeded(item)

    def _put_off(self, item: Item, error: ApiError) -> None:
        if item.order is Order.NODE:
            self._node_object.forget()
        retry_seconds = self._retries.failed(item, error)
        what = "/".join(item.service) if item.order is Order.SERVICE else f"node {self._node}"
        if isinstance(error, Unavailable):
            log.debug("status.unwritten", what=what, error=error, retry_seconds=retry_seconds)
        elif not isinstance(error, Conflict):
            log.warning("status.refused", what=what, error=error, retry_seconds=retry_seconds)
        if is_outage(error):
            self._stopping.wait(OUTAGE_SECONDS)

    def _look_at(self, item: Item) -> None:
        if item.order is Order.NODE:
            self._look_at_node()
            self._backlog.put(NODE, after_seconds=COUNTERS_SECONDS)
            return
        settling = self._settling()
        if settling:
            self._backlog.put(item, after_seconds=settling)
            return
        if item.order is Order.ALL:
            with self._lock:
                keys = self._stored.services()
            for key in {*keys, *map(_key, self._reader.services())}:
                self._backlog.put(Item(Order.SERVICE, key))
            return
        # Looked at once more after the turn, which may be long in coming.
        if self._steps(item.service) and self._turn():
            for step in self._steps(item.service):
                document = self._objects.take(step, item.service, self._turn)
                with self._lock:
                    if isinstance(step, Drop):
                        self._stored.drop(step.name)
                    elif document is not None:
                        self._stored.put(document)

    def _settling(self) -> float:
        """Return how long nothing can be said of Services yet: what was said before this speaker began stays."""
        now = time.monotonic()
        snapshot = self._reader.snapshot()
        # Where FRR is not there, nothing that this node announced is announced any more.
        if not snapshot.known or (snapshot.waiting_for and not snapshot.lacks(Daemon.BGPD)):
            self._known_at = None
            return START_SECONDS
        if self._known_at is None:
            self._known_at = now
        return max(0.0, self._known_at + START_SECONDS - now)

    def _look_at_node(self) -> None:
        snapshot = self._reader.snapshot()
        with self._lock:
            down_since = dict(self._down_since)
        report = node_report(snapshot, self._reader.wanted(), down_since=down_since)
        now = time.monotonic()
        if now - self._read_at >= RECHECK_SECONDS:
            self._read_at = now
            self._node_object.forget()
        if self._node_object.differs(report) and self._turn():
            self._node_object.write(report)
        self._limit_services()

    def _limit_services(self) -> None:
        count = len(self._reader.services()) * max(1, self._node_count())
        off = count > (MOST_OBJECTS * 0.9 if self._services_off else MOST_OBJECTS)
        if off != self._services_off:
            self._services_off = off
            log.info("status.of-services", written=not off, objects=count, limit=MOST_OBJECTS)
            self._backlog.put(ALL)

    def _steps(self, service: Key) -> list[Step]:
        say = NOTHING
        if not self._services_off:
            say = said_of(self._reader.service("/".join(service)), self._reader.snapshot())
        with self._lock:
            return list(steps(self._node, service, say, self._stored.of(service)))

    def _turn(self) -> bool:
        return self._pace.wait_turn(self._stopping)

    def _note_down(self, before: Snapshot | None, now: Snapshot) -> None:
        """Keep since when a session is not up; of one that was not when this began, nobody knows."""
        was_up = {name for name, state in before.states.items() if state.up} if before is not None else set()
        up = {name for name, state in now.states.items() if state.up}
        for name in was_up - up:
            self._down_since[name] = moment(self._clock())
        for name in up | (self._down_since.keys() - now.sessions.keys()):
            self._down_since.pop(name, None)


def _key(service: str) -> Key:
    namespace, _, name = service.partition("/")
    return namespace, name


def _judged(snapshot: Snapshot) -> object:
    """What of a snapshot is to be reported at once: no numbers."""
    states = {name: (state.up, state.bfd, state.last_reset, state.drops) for name, state in snapshot.states.items()}
    connected = {daemon: (state.connected, state.version) for daemon, state in snapshot.daemons.items()}
    words = (snapshot.waiting_for, snapshot.leave_reason, snapshot.password_problems)
    return states, connected, words, snapshot.sessions, snapshot.refused, snapshot.rejected, snapshot.withheld


def _carrying(snapshot: Snapshot) -> object:
    return {(name, state.families) for name, state in snapshot.states.items() if state.up}

"""Announces this node's addresses by BGP: from what is seen of the cluster to what FRR is to do, on one thread.

Data flow: watch events and Services -> `ObjectTable`, `Leaving` -> `DesiredState` -> difference -> `Driver` -> FRR;
what FRR does -> events, sessions read back -> `Snapshot` -> whoever reports.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from queue import Empty, SimpleQueue

from allocator.bgp.command import Daemon
from allocator.bgp.desired import DesiredState
from allocator.bgp.inputs import LocalNode, Password, Service
from allocator.bgp.route_class import Prefix, RouteClass
from allocator.kube.reflector import Change, Key
from allocator.kube.resource import NODES, Resource
from allocator.objects.names import BGP_KINDS, IP_ADDRESS_POOLS
from allocator.objects.node import Node
from allocator.process.background import Background
from allocator.process.logs import EventLog
from speaker.bgp.driver import Driver
from speaker.bgp.events import Event
from speaker.bgp.frr_reports import FrrReports
from speaker.bgp.kube_proxy import LOOK_SECONDS, KubeProxyGate
from speaker.bgp.leaving import Leaving
from speaker.bgp.object_table import ObjectTable
from speaker.bgp.observed import Observed, observe
from speaker.bgp.reports import BgpListener, Leave, Nobody, ServiceRoutes, SessionState, Snapshot
from speaker.bgp.session_reader import SessionReader
from speaker.bgp.vty import Reply

log = EventLog("bgp")

LISTED = (IP_ADDRESS_POOLS, *BGP_KINDS)
"""The kinds of which all objects are to be put, beside Services and Nodes."""

_CLUSTER, _SECRETS = "Service", "Secret"


@dataclass(frozen=True, slots=True, kw_only=True)
class BgpSettings:
    """What the BGP of a node is told. `kube_proxy_url` is empty where nobody is to be asked before it begins."""

    node: str
    sockets: Path
    kube_proxy_url: str
    marked_seconds: float
    leave_on_cordon: bool = False


class BgpAnnouncer(Background):
    """The part of a speaker that announces by BGP; a `BgpReader`.

    Nothing is sent to FRR before the whole cluster is known (`on_known`, `on_listed`, `set_passwords`) and kube-proxy
    is ready: what FRR announces already stays until then. When it stops, FRR goes on as it is.

    Everything comes in through `_inputs`, from any thread. `_lock` guards the desired state, which the thread changes
    and readers read; `_snapshot` is replaced whole; all else belongs to the thread.
    """

    def __init__(
        self, settings: BgpSettings, *, on_secrets: Callable[[frozenset[str]], None] = lambda _: None
    ) -> None:
        """`on_secrets` is called, on the thread, with the names of the Secrets whose passwords are needed."""
        super().__init__("bgp")
        self._settings = settings
        self._on_secrets = on_secrets
        self._listener: BgpListener = Nobody()
        self._inputs: SimpleQueue[Callable[[], None]] = SimpleQueue()
        self._lock = threading.Lock()
        self._state = DesiredState(LocalNode(name=settings.node, leaving=True))
        self._table = ObjectTable(self._state)
        self._leaving = Leaving(
            settings.node, on_cordon=settings.leave_on_cordon, marked_seconds=settings.marked_seconds
        )
        self._gate = KubeProxyGate(settings.kube_proxy_url)
        self._returning: KubeProxyGate | None = None
        self._unlisted = {_CLUSTER, *(kind.kind for kind in LISTED)}
        self._asked: frozenset[str] = frozenset()
        self._begun = False
        self._events: list[Event] = []
        self._changed: frozenset[str] = frozenset()
        self._all_changed = False
        self._frr = FrrReports()
        self._snapshot = Snapshot(node=settings.node)
        self._reader = SessionReader(lambda command: self._driver.ask(Daemon.BGPD, command), self._take_states)
        self._driver = Driver(settings.sockets, report=lambda event: self._put(partial(self._take_event, event)))

    def report_to(self, listener: BgpListener) -> None:
        """Call this listener from now on; before `start`."""
        self._listener = listener

    def start(self) -> None:
        """Begin."""
        self._driver.start()
        super().start()

    def stop(self) -> None:
        """End both threads; FRR goes on as it is, so that a speaker that restarts costs no route."""
        self._stopping.set()
        self._put(lambda: None)
        super().stop()
        self._driver.stop()

    @property
    def alive(self) -> bool:
        """Whether both threads run."""
        return super().alive and self._driver.alive

    def on_change(self, change: Change) -> None:
        """Take note of a BGP object, a pool, or this Node; nothing else counts. Any thread."""
        if change.resource == NODES and change.key[1] != self._settings.node:
            return
        seen = observe(change)
        if seen is not None:
            self._put(partial(self._take_object, seen))

    def follow(self, services: Mapping[Key, Service | None]) -> None:
        """Take note of Services that have changed; None is gone, or has no address. Any thread."""
        self._put(partial(self._take_services, services))

    def on_known(self) -> None:
        """All Services and Nodes have been put. Any thread."""
        self._put(lambda: self._unlisted.discard(_CLUSTER))

    def on_listed(self, resource: Resource) -> None:
        """All objects of a kind have been put. Any thread."""
        self._put(lambda: self._unlisted.discard(resource.kind))

    def set_passwords(self, passwords: Mapping[str, Password], asked: frozenset[str]) -> None:
        """Take note of the passwords by Secret, all that are in those that were `asked` for. Any thread."""
        self._put(partial(self._take_passwords, passwords, asked))

    def snapshot(self) -> Snapshot:
        """Return what there is now."""
        return self._snapshot

    def service(self, key: str) -> ServiceRoutes:
        """Return what is announced of a Service (`namespace/name`)."""
        with self._lock:
            return ServiceRoutes(self._state.announcements(key), self._state.peers_of(key))

    def services(self) -> tuple[str, ...]:
        """Return the Services with addresses, announced or not."""
        with self._lock:
            return tuple(self._state.services)

    def prefixes(self) -> Mapping[Prefix, RouteClass]:
        """Return all that is to be announced."""
        with self._lock:
            return self._state.desired.prefixes

    def ask(self, daemon: Daemon, command: str) -> Future[Reply]:
        """Ask a daemon a `show` command, in turn with the changes."""
        return self._driver.ask(daemon, command)

    def _put(self, take: Callable[[], None]) -> None:
        self._inputs.put(take)

    def _run(self) -> None:
        while not self._stopping.is_set():
            taken = self._next()
            with self._lock:
                for take in taken:
                    take()
            self._judge_node()
            self._begin()
            self._hand_on()
            self._reader.read(self._state.sessions.running.values(), connected=self._frr.connected(Daemon.BGPD))
            self._report()

    def _next(self) -> list[Callable[[], None]]:
        """Wait for inputs or until something is due, and return all that have come."""
        taken = []
        try:
            taken.append(self._inputs.get(timeout=self._due_in_seconds()))
            while True:
                taken.append(self._inputs.get_nowait())
        except Empty:
            return taken

    def _due_in_seconds(self) -> float | None:
        now = time.monotonic()
        due = [] if self._leaving.deadline is None else [self._leaving.deadline]
        if self._frr.connected(Daemon.BGPD):
            due.append(self._reader.due)
        if self._returning is not None or not (self._begun or self._missing):
            due.append(now + LOOK_SECONDS)
        return max(0.0, min(due) - now) if due else None

    def _take_object(self, seen: Observed) -> None:
        if isinstance(seen.value, Node) or seen.plural == NODES.plural:
            self._leaving.set_node(seen.value if isinstance(seen.value, Node) else None)
            return
        secrets = self._table.secrets
        self._table.take(seen)
        if self._table.secrets != secrets:
            self._on_secrets(self._table.secrets)

    def _take_services(self, services: Mapping[Key, Service | None]) -> None:
        for key, service in services.items():
            self._state.set_service("/".join(key), service)

    def _take_passwords(self, passwords: Mapping[str, Password], asked: frozenset[str]) -> None:
        self._table.set_passwords(passwords)
        self._asked = asked

    def _take_event(self, event: Event) -> None:
        self._frr.take(event)
        self._events.append(event)

    def _take_states(self, vrf: str, states: Mapping[str, SessionState]) -> None:
        self._put(lambda: self._frr.set_states(vrf, states))

    def _judge_node(self) -> None:
        """See whether the node leaves or comes back, and how far it is."""
        before = self._leaving.stage
        node = self._leaving.advance(time.monotonic(), announcing=self._begun, may_return=self._may_return)
        if self._leaving.stage is not before:
            log.info("bgp.leave", stage=self._leaving.stage, reason=self._leaving.reason)
            self._driver.set_graceful_shutdown(self._leaving.stage is not Leave.NO)
        if self._leaving.reason or self._leaving.stage is Leave.NO:
            self._returning = None
        with self._lock:
            self._state.set_node(node)

    def _may_return(self) -> bool:
        """Whether a node that has left can serve again: what its kube-proxy knew may be of long ago."""
        if self._returning is None:
            self._returning = KubeProxyGate(self._settings.kube_proxy_url)
        return self._returning.open

    def _begin(self) -> None:
        """Begin to change FRR, once all is known; a node whose FRR announces already has never stopped serving."""
        if not self._begun and not self._missing and (self._frr.adopted_prefixes or self._gate.open):
            self._begun = True
            self._driver.set_complete()

    def _hand_on(self) -> None:
        """Have FRR follow."""
        with self._lock:
            difference = self._state.take_difference()
            self._changed = self._state.take_services_changed()
        self._all_changed = difference.sessions is not None
        if difference:
            self._frr.expect(difference)
            self._driver.update(difference)

    def _report(self) -> None:
        events, self._events = self._events, []
        for event in events:
            self._listener.on_event(event)
        if self._all_changed or self._changed:
            self._listener.on_services(None if self._all_changed else self._changed)
        with self._lock:
            snapshot = self._frr.snapshot(
                Snapshot(
                    node=self._settings.node,
                    waiting_for=self._waiting_for(),
                    sessions=self._state.sessions.running,
                    profiles=self._state.profiles,
                    refused=self._state.sessions.refused,
                    prefix_count=self._state.prefix_count,
                    leave=self._leaving.stage,
                    leave_reason=self._leave_reason(),
                )
            )
        if snapshot != self._snapshot:
            self._snapshot = snapshot
            self._listener.on_snapshot(snapshot)

    @property
    def _missing(self) -> frozenset[str]:
        """What is to be known before FRR may be changed."""
        return frozenset(self._unlisted) or frozenset(() if self._table.secrets <= self._asked else (_SECRETS,))

    def _waiting_for(self) -> str:
        if self._begun:
            return ""
        if self._missing:
            return f"the API server's lists of {', '.join(sorted(self._missing))}"
        return self._gate.said

    def _leave_reason(self) -> str:
        return self._leaving.reason or (self._returning.said if self._returning is not None else "")

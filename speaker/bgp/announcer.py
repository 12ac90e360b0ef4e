"""Announces this node's addresses by BGP: from what is seen of the cluster to what FRR is to do, on one thread.

Data flow: watch events and Services -> `Decision` -> difference -> `Driver` -> FRR;
what FRR does -> events, sessions read back -> `Snapshot` -> whoever reports.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from functools import partial
from queue import Empty, SimpleQueue

from allocator.bgp.command import Daemon
from allocator.bgp.inputs import Password, Service
from allocator.kube.reflector import Change, Key
from allocator.kube.resource import NODES, Resource
from allocator.process.background import Background
from allocator.process.logs import EventLog
from speaker.bgp.decision import SERVICES, Decision
from speaker.bgp.driver import Driver
from speaker.bgp.events import Event
from speaker.bgp.observed import observe
from speaker.bgp.peers_in_use import in_use
from speaker.bgp.reports import BgpListener, Leave, Nobody, ServiceRoutes, SessionState, Snapshot
from speaker.bgp.reset_turn import ResetTurn
from speaker.bgp.session_reader import SessionReader
from speaker.bgp.settings import BgpSettings
from speaker.bgp.vty import Reply

log = EventLog("bgp")

_AGAIN_SECONDS = 0.5


class BgpAnnouncer(Background):
    """The part of a speaker that announces by BGP; a `BgpReader`.

    Nothing is sent to FRR before the whole cluster is known (`on_known`, `on_listed`, `set_passwords`) and kube-proxy
    is ready: what FRR announces already stays until then. When it stops, FRR goes on as it is.

    Everything comes in through `_inputs`, from any thread. `_lock` guards the desired state, which the thread changes
    and readers read; `_snapshot` is replaced whole; all else belongs to the thread.
    """

    def __init__(
        self,
        settings: BgpSettings,
        *,
        turn: ResetTurn | None = None,
        on_secrets: Callable[[frozenset[str]], None] = lambda _: None,
    ) -> None:
        """`turn` says which resets of sessions may be now, None all; `on_secrets` is called, on the thread, with the
        names of the Secrets whose passwords are needed."""
        super().__init__("bgp")
        self._settings = settings
        self._listener: BgpListener = Nobody()
        self._inputs: SimpleQueue[Callable[[], None]] = SimpleQueue()
        self._lock = threading.Lock()
        self._decision = Decision(settings, turn=turn, on_secrets=on_secrets)
        self._events: list[Event] = []
        self._changed: frozenset[str] | None = frozenset()
        self._snapshot = Snapshot(node=settings.node)
        self._driver = Driver(
            settings.sockets,
            report=lambda event: self._put(partial(self._take_event, event)),
            in_use=in_use,
            may_reset=turn.may_reset if turn is not None else lambda _: True,
        )
        self._reader = SessionReader(partial(self._driver.ask, Daemon.BGPD), self._put_states)

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
            self._put(partial(self._decision.take_object, seen))

    def follow(self, services: Mapping[Key, Service | None]) -> None:
        """Take note of Services that have changed; None is gone, or has no address. Any thread."""
        self._put(partial(self._decision.take_services, services))

    def on_known(self) -> None:
        """All Services and Nodes have been put. Any thread."""
        self._put(lambda: self._decision.readiness.set_listed(SERVICES))

    def on_listed(self, resource: Resource) -> None:
        """All objects of a kind have been put. Any thread."""
        self._put(lambda: self._decision.readiness.set_listed(resource.kind))

    def set_passwords(
        self, passwords: Mapping[str, Password], asked: frozenset[str], problems: Mapping[str, str]
    ) -> None:
        """Take note of the passwords by Secret, all that are in those that were `asked` for. Any thread.

        `problems` say what is wrong with some of these.
        """
        self._put(partial(self._decision.take_passwords, passwords, asked, problems))

    def retry_resets(self) -> None:
        """Sessions whose reset was not permitted may be asked about again. Any thread."""
        self._driver.retry()

    def snapshot(self) -> Snapshot:
        """Return what there is now."""
        return self._snapshot

    def service(self, key: str) -> ServiceRoutes:
        """Return what is announced of a Service (`namespace/name`)."""
        with self._lock:
            return self._decision.routes_of(key)

    def services(self) -> tuple[str, ...]:
        """Return the Services with addresses, announced or not."""
        with self._lock:
            return tuple(self._decision.state.services)

    def wanted(self) -> Mapping[str, int]:
        """Return how many prefixes each session is to carry."""
        with self._lock:
            return self._decision.state.wanted

    def lags(self) -> Mapping[str, float]:
        """Return for how many seconds sessions have had other prefixes than they are to have; those alone that do."""
        with self._lock:
            return self._decision.lags()

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
                    self._guarded(take)
            self._guarded(self._act)

    def _guarded(self, work: Callable[[], None]) -> None:
        """What nobody foresaw ends no thread: layer 2 would end with it."""
        try:
            work()
        except Exception:
            log.exception("bgp.failed")
            self._stopping.wait(_AGAIN_SECONDS)

    def _act(self) -> None:
        self._judge_node()
        self._hand_on()
        sessions = self._decision.state.sessions.running.values()
        self._reader.read(sessions, connected=self._decision.frr.connected(Daemon.BGPD))
        self._report()

    def _next(self) -> list[Callable[[], None]]:
        """Wait for inputs or until something is due, and return all that have come."""
        due = [each for each in (self._decision.readiness.due, self._decision.peers_in_use.due) if each is not None]
        if self._decision.frr.connected(Daemon.BGPD):
            due.append(self._reader.due)
        taken = []
        try:
            taken.append(self._inputs.get(timeout=max(0.0, min(due) - time.monotonic()) if due else None))
            while True:
                taken.append(self._inputs.get_nowait())
        except Empty:
            return taken

    def _take_event(self, event: Event) -> None:
        self._decision.take_event(event)
        self._events.append(event)

    def _put_states(self, vrf: str, states: Mapping[str, SessionState]) -> None:
        self._put(partial(self._take_states, vrf, states))

    def _take_states(self, vrf: str, states: Mapping[str, SessionState]) -> None:
        self._decision.take_states(vrf, states)
        if self._decision.take_discrepancy():
            log.warning("bgp.otherwise-than-sent", action="bgpd's configuration is read again")
            self._driver.reread()

    def _judge_node(self) -> None:
        """See whether FRR may be changed by now, and whether the node leaves or comes back."""
        readiness = self._decision.readiness
        leave, begun = readiness.leave, readiness.begun
        node = readiness.advance(serving=self._decision.frr.adopted_prefixes > 0)
        self._decision.look_at_peers()
        if readiness.leave is not leave:
            self._driver.set_graceful_shutdown(readiness.leave is not Leave.NO)
        with self._lock:
            self._decision.follow_node(node)
        if readiness.begun and not begun:
            with self._lock:
                self._decision.begin()
            self._hand_on()
            self._driver.set_complete()

    def _hand_on(self) -> None:
        """Have FRR follow."""
        with self._lock:
            difference = self._decision.take_difference()
            changed = self._decision.state.take_services_changed()
        if difference.sessions is not None:
            self._changed = None
        elif self._changed is not None:
            self._changed |= changed
        if difference:
            self._driver.update(difference)

    def _report(self) -> None:
        events, self._events = self._events, []
        changed, self._changed = self._changed, frozenset()
        for event in events:
            self._listener.on_event(event)
        if changed is None or changed:
            self._listener.on_services(changed)
        snapshot = self._decision.snapshot()
        if snapshot != self._snapshot:
            self._snapshot = snapshot
            self._listener.on_snapshot(snapshot)

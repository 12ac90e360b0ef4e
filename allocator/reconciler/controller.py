"""The reconciler's main part: watches, a queue of Services to repair, a few workers, and a sweep for what aged."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from allocator.allocation.allocator import Allocator
from allocator.allocation.cache import ClaimCache
from allocator.allocation.claim_writer import LostRace
from allocator.core.pools import PriorityOrder
from allocator.kube import resource
from allocator.kube.client import ApiError, Cluster, Object
from allocator.kube.events import EventRecorder
from allocator.kube.lease import NotCurrent, NotLeading
from allocator.kube.reflector import Change, Reflector
from allocator.kube.workqueue import WorkQueue
from allocator.objects import names
from allocator.objects.service import addresses_in_status, wants_address
from allocator.process.logs import EventLog
from allocator.reconciler.adoption import Adoption
from allocator.reconciler.affected_services import AffectedServices
from allocator.reconciler.collection import TENTATIVE_AGE, Collection
from allocator.reconciler.foreign_hosts import ForeignHosts
from allocator.reconciler.metrics import UPDATE_ERRORS, UPDATES, StateCollector
from allocator.reconciler.node_moves import NodeMoves
from allocator.reconciler.repair import Key, Repair
from allocator.reconciler.reporter import Reporter
from allocator.reconciler.securing import Securing
from allocator.reconciler.service_outcome import ServiceOutcome
from allocator.reconciler.shown_addresses import ShownAddresses, age_of
from allocator.status_page.moves import Move
from allocator.status_page.picture import Picture, picture_of

log = EventLog("reconciler")

_WORKERS = 4
_SWEEP_SECONDS = 1.0
_RENEWAL_SECONDS = 1.0
_BEHIND_SECONDS = 0.1
"""Between two looks whether a watch is back."""
_SAME_EVENT_AGAIN_SECONDS = 600.0
"""A repeated try is not recorded again."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What an installation may set."""

    namespace: str
    lb_class: str = ""
    take_over_foreign: bool = False
    order: PriorityOrder = PriorityOrder.LOWEST_FIRST
    tentative_age: timedelta = TENTATIVE_AGE


class ListsMissing(Exception):
    """To lead was asked of a replica that does not know yet what there is."""


class Controller:
    """Watches always; repairs only between `lead` and the end of leadership."""

    def __init__(
        self,
        cluster: Cluster,
        settings: Settings,
        *,
        require_leadership: Callable[[], None],
        on_change: Callable[[Change], None] = lambda _: None,
    ) -> None:
        """`on_change` is called with every change of pools, namespaces and claims, also while another leads."""
        self._on_change = on_change
        self._cluster = cluster
        self._settings = settings
        self._require_leadership = require_leadership
        self._queue: WorkQueue[Key] = WorkQueue()
        self.stopping = threading.Event()
        """Set once, by `stop_working`."""
        self._accepting = threading.Event()
        """Set once keys are queued: on a standby nobody would take them out again."""
        self._leading = threading.Event()
        self._current_at = time.monotonic()
        """When all was watched last; belongs to the thread that calls `try_watches`."""
        self.rewound = ""
        """How it shows that etcd was restored from an older snapshot, or empty. Set by a reflector's thread."""
        self._services = Reflector(
            cluster, resource.SERVICES, on_change=self._service_changed, on_rewound=self._set_rewound
        )
        self._cache = ClaimCache(
            cluster,
            namespace=settings.namespace,
            order=settings.order,
            on_change=self._cache_changed,
            on_rewound=self._set_rewound,
        )
        self._shown = ShownAddresses()
        self._affected = AffectedServices(self._cache, self._queue, self._shown)
        self._claims = Allocator(cluster, self._cache)
        self._events = EventRecorder(
            cluster, component="metallb-controller", repeat_after_seconds=_SAME_EVENT_AGAIN_SECONDS
        )
        self._reporter = Reporter(
            cluster,
            self._cache,
            ForeignHosts(cluster, self._cache, self._claims, self._events, require_leadership=require_leadership),
            namespace=settings.namespace,
            require_leadership=require_leadership,
        )
        self._securing = Securing(
            self._cache,
            self._claims,
            self._shown,
            find_service=self._services.get,
            require_leadership=self._require_current,
            lb_class=settings.lb_class,
        )
        self._collection = Collection(
            self._cache,
            self._claims,
            require_leadership=self._require_current,
            hand_over=self._securing.hand_over,
            tentative_age=settings.tentative_age,
        )
        self._repair = Repair(
            cluster,
            self._cache,
            self._claims,
            ServiceOutcome(cluster, self._events),
            self._collection,
            self._securing,
            find_service=self._services.get,
            require_leadership=self._require_current,
            lb_class=settings.lb_class,
            take_over_foreign=settings.take_over_foreign,
        )
        self._moves = NodeMoves(
            cluster,
            find_claim=self._cache.claim_document,
            require_leadership=require_leadership,
            on_failed=self._move_failed,
        )
        self._adoption = Adoption(self._take_over)
        self._threads = [
            threading.Thread(target=self._work, name=f"repair-{number}", daemon=True) for number in range(_WORKERS)
        ]
        self._threads.append(threading.Thread(target=self._sweep, name="sweep", daemon=True))

    def start(self) -> None:
        """Begin watching. Raises ApiError when the API server cannot be asked."""
        # Claims before Services: a claim read after its Service's absence was read would look abandoned.
        self._cache.start()
        self._cache.wait_synced(timeout_seconds=60)
        self._services.start()
        self._reporter.start()
        self._events.start()

    def stop_working(self) -> None:
        """End the repairs; what is being repaired is finished first. Then another may lead."""
        self.stopping.set()
        self._adoption.stop()
        self._queue.close()
        self._reporter.stop_writing()
        for thread in self._threads:
            if thread.is_alive():
                thread.join(timeout=10)

    def stop(self) -> None:
        """End everything."""
        self.stop_working()
        self._reporter.stop()
        self._events.stop()
        self._services.stop()
        self._cache.stop()

    def wait_current(self) -> None:
        """Return once this process may act and sees what it acts upon. Raises NotLeading, also when stopped."""
        while True:
            try:
                return self._require_current()
            except NotCurrent as error:
                if self.stopping.wait(_BEHIND_SECONDS):
                    raise NotLeading(str(error)) from error

    def try_watches(self) -> float:
        """Try again at once to watch what is not watched; return for how many seconds something has not been."""
        behind = self._behind()
        for one in behind:
            one.wake()
        now = time.monotonic()
        self._current_at = self._current_at if behind else now
        return now - self._current_at

    def problems(self) -> list[str]:
        """Say what is not listed yet, and what is not adopted; empty when Services can be served."""
        return self.unlisted() + self._adoption.problems()

    def unlisted(self) -> list[str]:
        """Say what is not listed yet; empty when this replica may lead."""
        return self._cache.problems() + ([] if self._services.synced else ["services are not listed yet"])

    def dead_threads(self) -> list[str]:
        """Name the threads that have ended though nobody stopped them."""
        dead = self._cache.dead_threads()
        dead += [] if self._services.alive else ["services"]
        dead += [] if self._events.alive else ["events"]
        dead += self._reporter.dead_threads()
        if self._leading.is_set():
            dead += [thread.name for thread in self._threads if not thread.is_alive()]
        return dead

    def state(self) -> StateCollector:
        """Return the collector of the state's metrics."""
        return StateCollector(
            self._cache,
            leading=self._leading.is_set,
            loaded=lambda: not self.problems(),
            configuration=self._reporter.configuration,
            waiting=self._affected.waiting_count,
        )

    def picture(self, moves: Sequence[Move] = ()) -> Picture:
        """Return what the status page shows, leading or not."""
        return picture_of(
            at=datetime.now(UTC),
            leading=self._leading.is_set(),
            problems=self.problems(),
            configuration=self._reporter.configuration(),
            pools=self._cache.pool_documents(),
            allocations=self._cache.claim_documents(),
            services=self._services.items(),
            moves=tuple(moves),
            bgp_node_statuses=self._reporter.bgp_node_statuses(),
            l2_advertisements=self._reporter.l2_advertisements(),
            bgp_advertisements=self._reporter.bgp_advertisements(),
            nodes=self._reporter.node_labels(),
        )

    def lead(self, *, on_unclaimed: Callable[[int], None] = lambda _: None) -> None:
        """Take up the work. Returns once every address that a Service shows is claimed for it.

        Only then anything is assigned: to those that have no address first, by age. `on_unclaimed` is called before
        the first is claimed, with how many Services show what is not theirs by a claim. Raises ListsMissing when a
        list has not been read yet, NotLeading when leadership ends meanwhile.
        """
        if missing := self.unlisted():
            raise ListsMissing("; ".join(missing))
        self.wait_current()
        self._accepting.set()
        services = sorted(self._services.items(), key=age_of)
        if unclaimed := sum(1 for service in services if self._securing.is_unclaimed(service)):
            on_unclaimed(unclaimed)
        self.adopt()
        for service in services:
            if addresses_in_status(service):
                self._queue.add_idle(_key(service))
            else:
                self._queue.add(_key(service))
        for claim in self._cache.claims():
            for holder in claim.holders:
                if holder.name:
                    self._queue.add_idle((holder.namespace, holder.name))
        for thread in self._threads:
            thread.start()
        self._reporter.lead()
        self._leading.set()

    def adopt(self) -> None:
        """Claim everything that Services show, and return once that is done. Raises NotLeading."""
        self.wait_current()
        services = sorted(self._services.items(), key=age_of)
        self._adoption.run([service for service in services if addresses_in_status(service)])

    def _set_rewound(self, why: str) -> None:
        log.error("cluster.rewound", error=why)
        self.rewound = why

    def _behind(self) -> list[Reflector]:
        """Which copies may be old, because their watch has failed and is not back.

        Who shares what with whom, and what is free, is decided upon them: a change that was stored before an outage
        and is not seen yet would be decided over. Writes that are not compare-and-swap would make that true.
        """
        return [one for one in (self._services, *self._cache.reflectors()) if not one.following]

    def _require_current(self) -> None:
        """Raise NotLeading unless this process may act now, and NotCurrent unless it sees what it acts upon."""
        self._require_leadership()
        if self.rewound:
            # What else is remembered here is of the state that is lost.
            raise NotLeading(self.rewound)
        if behind := self._behind():
            raise NotCurrent(f"{', '.join(one.resource.plural for one in behind)} are not watched")

    def _take_over(self, service: Object) -> None:
        """Claim what the Service shows; one that wants no address any more gives it up.

        Its claim says what it needed before: until it has given the address up, another could join beside it.
        """
        if wants_address(service, lb_class=self._settings.lb_class):
            self._securing.secure(service)
        else:
            self._repair.service(_key(service))

    def _move_failed(self, namespace: str, name: str, why: str) -> None:
        service = self._services.get(namespace, name)
        if service is not None:
            self._events.record(service, reason="moveFailed", message=why, normal=False)

    def _service_changed(self, change: Change) -> None:
        self._shown.note(change)
        if self._accepting.is_set():
            self._queue.add(change.key)

    def _cache_changed(self, change: Change) -> None:
        self._on_change(change)
        self._reporter.note(change)
        if change.resource is names.IP_ALLOCATIONS:
            self._collection.note(change)
            self._moves.note(change)
        if self._accepting.is_set():
            self._affected.changed(change)

    def _work(self) -> None:
        while (key := self._queue.take()) is not None:
            try:
                self._attempt_when_current(key)
            except NotLeading:
                # A renewal that came late may still come; if it does not, the process ends.
                self._queue.add_after(key, _RENEWAL_SECONDS)
            finally:
                self._queue.done(key)

    def _attempt_when_current(self, key: Key) -> None:
        """As `_attempt`, as soon as this process may act. The key stays in its turn. Raises NotLeading."""
        UPDATES.inc()
        while True:
            try:
                return self._attempt(key)
            except NotCurrent:
                self.wait_current()

    def _attempt(self, key: Key) -> None:
        """Repair the Service once, and again later where that fails. Raises NotLeading."""
        try:
            repaired = self._repair.service(key)
        except NotLeading:
            raise
        except (LostRace, ApiError) as error:
            self._try_again(key, error)
        except Exception:
            log.exception("repair.failed", service="/".join(key))
            self._try_again(key, None)
        else:
            self._queue.forget(key)
            if repaired.again_seconds:
                self._queue.add_after(key, repaired.again_seconds)
            service = self._services.get(*key)
            self._affected.note(key, repaired.interests if repaired.waits else None, service=service)

    def _try_again(self, key: Key, error: Exception | None) -> None:
        UPDATE_ERRORS.inc()
        self._affected.failed(key)
        retry = self._queue.retry(key)
        if retry.failures > 2:
            log.warning(
                "repair.retried",
                service="/".join(key),
                error=error,
                failures=retry.failures,
                retry_seconds=retry.delay_seconds,
            )

    def _sweep(self) -> None:
        """Carry out what only time makes due: claims that have cooled or whose Service never came."""
        while not self.stopping.wait(_SWEEP_SECONDS):
            # A renewal that came late may still come; if it does not, the process ends.
            with suppress(NotLeading):
                self._collection.sweep(self._queue.add)
                self._moves.sweep()


def _key(service: Object) -> Key:
    return service["metadata"]["namespace"], service["metadata"]["name"]

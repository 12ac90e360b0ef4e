"""The reconciler's main part: watches, a queue of Services to repair, a few workers, and a sweep for what aged."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from allocator.allocation.allocator import Allocator, LostRace
from allocator.allocation.cache import ClaimCache
from allocator.core.claims import Claim, ClaimState
from allocator.core.pools import PriorityOrder
from allocator.kube import resource
from allocator.kube.client import ApiError, Cluster, Object
from allocator.kube.events import EventRecorder
from allocator.kube.lease import NotLeading
from allocator.kube.reflector import Change, Reflector
from allocator.kube.workqueue import BACKOFF_SECONDS, WorkQueue
from allocator.objects import names
from allocator.objects.document import annotations_of, labels_of
from allocator.objects.ip_allocation import claim_from, cool_until
from allocator.objects.service import addresses_in_status
from allocator.process.logs import EventLog
from allocator.reconciler.metrics import UPDATE_ERRORS, UPDATES, StateCollector
from allocator.reconciler.repair import TENTATIVE_AGE, Key, Repair
from allocator.reconciler.reporter import Reporter
from allocator.status_page.moves import Move
from allocator.status_page.picture import Picture, picture_of

log = EventLog("reconciler")

_WORKERS = 4
_SWEEP_SECONDS = 1.0
_RENEWAL_SECONDS = 1.0
_SAME_EVENT_AGAIN_SECONDS = 600.0
"""A repeated try is no news."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What an installation may set."""

    namespace: str
    lb_class: str = ""
    order: PriorityOrder = PriorityOrder.LOWEST_FIRST
    tentative_age: timedelta = TENTATIVE_AGE


class Controller:
    """Watches always; repairs only between `lead` and the end of leadership.

    `_waiting_lock` owns `_waiting` (Services without the address they want, with their age).
    """

    def __init__(
        self,
        cluster: Cluster,
        settings: Settings,
        *,
        require_leadership: Callable[[], None],
        on_change: Callable[[Change], None] = lambda _: None,
    ) -> None:
        """`on_change` is told of every change of pools, namespaces and claims, also while another leads."""
        self._on_change = on_change
        self._cluster = cluster
        self._settings = settings
        self._require_leadership = require_leadership
        self._queue: WorkQueue[Key] = WorkQueue()
        self._waiting: dict[Key, str] = {}
        self._waiting_lock = threading.Lock()
        self._stopping = threading.Event()
        self._leading = threading.Event()
        self._services = Reflector(cluster, resource.SERVICES, on_change=self._service_changed)
        self._cache = ClaimCache(
            cluster, namespace=settings.namespace, order=settings.order, on_change=self._view_changed
        )
        self._claims = Allocator(cluster, self._cache)
        self._reporter = Reporter(
            cluster, self._cache, namespace=settings.namespace, require_leadership=require_leadership
        )
        self._events = EventRecorder(
            cluster, component="metallb-controller", repeat_after_seconds=_SAME_EVENT_AGAIN_SECONDS
        )
        self._repair = Repair(
            cluster,
            self._cache,
            self._claims,
            self._events,
            find_service=self._services.get,
            require_leadership=require_leadership,
            lb_class=settings.lb_class,
            tentative_age=settings.tentative_age,
        )
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

    def stop(self) -> None:
        """End everything; what is being repaired is finished first."""
        self._stopping.set()
        self._queue.close()
        for thread in self._threads:
            if thread.is_alive():
                thread.join(timeout=10)
        self._reporter.stop()
        self._events.stop()
        self._services.stop()
        self._cache.stop()

    def problems(self) -> list[str]:
        """Say what is not listed yet."""
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
        """Return what tells the state to Prometheus."""
        return StateCollector(
            self._cache,
            leading=self._leading.is_set,
            loaded=lambda: not self.problems(),
            configuration=self._reporter.configuration,
            waiting=lambda: len(self._waiting),
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
        )

    def lead(self) -> None:
        """Take up the work: first every Service that has an address, so that it keeps it, then the others by age.

        Returns once each of those has its claims. Raises NotLeading when leadership ends meanwhile.
        """
        self._cache.wait_synced(timeout_seconds=60)
        self._services.wait_synced(timeout_seconds=60)
        everything = sorted(self._services.items(), key=_age)
        for service in everything:
            if addresses_in_status(service):
                self._take_over(_key(service))
        for service in everything:
            if not addresses_in_status(service):
                self._queue.add(_key(service))
        for claim in self._cache.claims():
            for holder in claim.holders:
                self._queue.add((holder.namespace, holder.name))
        for thread in self._threads:
            thread.start()
        self._reporter.lead()
        self._leading.set()

    def _take_over(self, key: Key) -> None:
        """Repair a Service that shows an address until that works: left for later, another could be given it.

        One that cannot be repaired must not keep all others waiting: it is left to the workers in the end.
        """
        for delay in BACKOFF_SECONDS:
            if not self._attempt(key) or self._stopping.wait(delay):
                return

    def _service_changed(self, change: Change) -> None:
        self._queue.add(change.key)

    def _view_changed(self, change: Change) -> None:
        self._on_change(change)
        self._reporter.note(change)
        if change.resource is not names.IP_ALLOCATIONS:
            if _rules_changed(change):
                self._retry_waiting()
                self._revisit_holders(change)
            return
        stored = change.new or change.old
        for holder in (stored or {})["spec"]["holders"]:
            self._queue.add((holder["namespace"], holder.get("name") or ""))
        if change.old is not None and _frees_capacity(change):
            self._retry_waiting()

    def _revisit_holders(self, change: Change) -> None:
        """Queue the Services that hold something of a changed pool or in a changed namespace: they may have to go."""
        name = change.key[1]
        for claim in self._cache.claims():
            for holder in claim.holders if claim.in_use else ():
                if name == (claim.pool if change.resource is names.IP_ADDRESS_POOLS else holder.namespace):
                    self._queue.add((holder.namespace, holder.name))

    def _retry_waiting(self) -> None:
        """Queue the Services that wait, the oldest first."""
        with self._waiting_lock:
            waiting = sorted(self._waiting, key=lambda key: (self._waiting[key], key))
        for key in waiting:
            self._queue.add(key)

    def _work(self) -> None:
        while (key := self._queue.take()) is not None:
            try:
                self._attempt(key)
            except NotLeading:
                # A renewal that came late may still come; if it does not, the process ends.
                self._queue.add_after(key, _RENEWAL_SECONDS)
            finally:
                self._queue.done(key)

    def _attempt(self, key: Key) -> int:
        """Repair the Service once; return 0, or how often in a row that has failed by now. Raises NotLeading."""
        UPDATES.inc()
        try:
            waits = self._repair.service(key)
        except NotLeading:
            raise
        except (LostRace, ApiError) as error:
            return self._try_again(key, error)
        except Exception:
            log.exception("repair.failed", service="/".join(key))
            return self._try_again(key, None)
        self._queue.forget(key)
        service = self._services.get(*key)
        with self._waiting_lock:
            if waits and service is not None:
                self._waiting[key] = service["metadata"]["creationTimestamp"]
            else:
                self._waiting.pop(key, None)
        return 0

    def _try_again(self, key: Key, error: Exception | None) -> int:
        UPDATE_ERRORS.inc()
        retry = self._queue.retry(key)
        if retry.failures > 2:
            log.warning(
                "repair.retried",
                service="/".join(key),
                error=error,
                failures=retry.failures,
                retry_seconds=retry.delay_seconds,
            )
        return retry.failures

    def _sweep(self) -> None:
        """Find what only time makes due: claims that have cooled or whose Service never came or silently went."""
        while not self._stopping.wait(_SWEEP_SECONDS):
            try:
                self._require_leadership()
                self._sweep_claims()
            except NotLeading:
                continue
            except (LostRace, ApiError) as error:
                log.debug("sweep.interrupted", error=error)
            except Exception:
                log.exception("sweep.failed")

    def _sweep_claims(self) -> None:
        now = datetime.now(UTC)
        # Every claim once a second: on documents as they are, or thousands of claims cost a fifth of a core.
        for document in self._cache.claim_documents():
            spec = document["spec"]
            if spec["state"] == ClaimState.COOLING:
                due = cool_until(document)
                if due is not None and due <= now:
                    self._set_free(claim_from(document))
                continue
            for holder in spec["holders"]:
                name = holder.get("name") or ""
                if not name:
                    self._repair.collect_unnamed(claim_from(document))
                elif not holder.get("uid") or self._services.get(holder["namespace"], name) is None:
                    self._queue.add((holder["namespace"], name))

    def _set_free(self, claim: Claim) -> None:
        self._claims.delete(claim)
        last = ",".join(f"{holder.namespace}/{holder.name}" for holder in claim.holders) or None
        log.info("address.free", ip=claim.address, service=last, pool=claim.pool)


def _key(service: Object) -> Key:
    return service["metadata"]["namespace"], service["metadata"]["name"]


def _age(service: Object) -> tuple[str, Key]:
    return service["metadata"]["creationTimestamp"], _key(service)


def _rules_changed(change: Change) -> bool:
    """Whether a pool or namespace changed in what decisions read, which its status and heartbeats are not."""

    def read(obj: Object | None) -> object:
        return (obj or {}).get("spec"), labels_of(obj), annotations_of(obj).get(names.QUOTA_ANNOTATION)

    return change.old is None or change.new is None or read(change.old) != read(change.new)


def _frees_capacity(change: Change) -> bool:
    """Whether somebody else may now have an address, or a share of one, that they could not have before."""
    if change.new is None or change.old is None:
        return True
    old, new = change.old["spec"], change.new["spec"]
    return new["state"] == ClaimState.COOLING or new["holders"] != old["holders"] or _key_of(new) != _key_of(old)


def _key_of(spec: Object) -> str:
    return str(spec.get("sharingKey") or "")

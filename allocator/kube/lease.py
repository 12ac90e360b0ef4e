"""Leadership among replicas by a Lease, as client-go's leader election has it, with every time measured here.

Two replicas may never write at once, whatever the network, the scheduler and the wall clocks do:

    the leader      may write for RENEW_DEADLINE_SECONDS from the moment before it sent its last renewal that the
                    API server took; a request not answered in REQUEST_SECONDS is given up and tried again
    a follower      takes the Lease only when it has seen it unchanged for LEASE_SECONDS, which is longer; times in
                    the record come from another's wall clock and are for people to read
    the API server  takes a write only for the version it was made from, so that a request that was stuck in the
                    network and arrives late changes nothing

    an outage       ends the right to write until the Lease has been renewed once more: etcd may have been restored
                    meanwhile, and what was decided before then is of a state that is no more

A replica that ends hands the Lease back, and the next one leads within FOLLOW_SECONDS.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

from allocator.kube import resource
from allocator.kube.client import AlreadyExists, ApiError, Cluster, Conflict, NotFound, Object
from allocator.kube.rewind import History, Rewound
from allocator.kube.timestamps import read_time, write_time
from allocator.process.logs import EventLog

log = EventLog("leadership")

LEASE_SECONDS = 6
RENEW_DEADLINE_SECONDS = 4.0
REQUEST_SECONDS = 1.5
RENEW_SECONDS = 1.0
FOLLOW_SECONDS = 0.5
_AGAIN_SECONDS = 0.25
"""After a renewal that failed: several must fit into the deadline."""
_REMEMBERED = 64
"""More renewals than a leader can send within its deadline; one that may not write the Lease goes on sending."""


class NotLeading(Exception):
    """A write was asked for by a process that does not hold the lease (any more)."""


class NotCurrent(NotLeading):
    """A write was asked for by a leader that has to wait, and leads on.

    It has not renewed the Lease yet since the API server failed to answer, or its copies may be older than that.
    """


class Leadership:
    """Runs the election in a thread of its own and says whether this process may act now.

    `_safe_until` is written by the election's thread, and set to zero once on resigning; it is read whole. The other
    fields belong to the election's thread, and after its end to whoever resigns.
    """

    def __init__(
        self,
        cluster: Cluster,
        *,
        namespace: str,
        lease: str,
        identity: str,
        on_started: Callable[[], None],
        clock: Callable[[], float] = time.monotonic,
        wait: Callable[[float], object] | None = None,
    ) -> None:
        """`on_started` runs on a thread of its own once leadership is gained; `wait` is for simulations."""
        self._cluster = cluster.within(REQUEST_SECONDS)
        self._namespace = namespace
        self._name = lease
        self._identity = identity
        self._on_started = on_started
        self._clock = clock
        self._lease: Object | None = None
        self._seen_version: str | None = None
        self._seen_at: float | None = None
        """When the Lease was last seen to change and be held, or to be deleted; None if it is nobody's."""
        self._held_seconds = float(LEASE_SECONDS)
        self._leads = False
        self._wrote = False
        self._safe_until = 0.0
        self._interrupted = False
        """Whether the API server failed to answer since the last renewal. Written by the election's thread."""
        self._stopping = threading.Event()
        self._wait = wait or self._stopping.wait
        self._ended = threading.Event()
        self._history = History()
        self._sent: deque[str] = deque(maxlen=_REMEMBERED)
        """The renewTimes sent since the last renewal that was answered, that one included."""
        self._rewound = ""
        self._thread = threading.Thread(target=self.run, name="election", daemon=True)

    def start(self) -> None:
        """Begin to contend for the Lease."""
        self._thread.start()

    @property
    def holds(self) -> bool:
        """Whether this process holds the lease, safely before anybody else could take it."""
        return not self._ended.is_set() and self._clock() < self._safe_until

    @property
    def ended(self) -> bool:
        """Whether leadership was had and lost, or the election died: the process must start afresh."""
        return self._ended.is_set() or not self._thread.is_alive()

    @property
    def rewound(self) -> str:
        """How it shows that etcd was restored from an older snapshot while this replica ran; empty if it was not."""
        return self._rewound

    def require(self) -> None:
        """Raise NotLeading unless this process may act now, NotCurrent where it soon may again."""
        if not self.holds:
            raise NotLeading(f"{self._identity} does not hold {self._name}")
        if self._interrupted:
            raise NotCurrent(f"{self._identity} has not renewed {self._name} since the API server was away")

    def resign(self) -> None:
        """Give the lease up, so that another replica takes over at its next try."""
        self._ended.set()
        self._stopping.set()
        self._safe_until = 0.0
        if self._thread.is_alive():
            # A renewal may be under way; what is handed back is the Lease as that leaves it.
            self._thread.join(timeout=3 * REQUEST_SECONDS)
        if self._wrote:
            self._release()

    def _release(self) -> None:
        """Hand the Lease back: no holder, as client-go's ReleaseOnCancel does."""
        for _ in range(2):
            try:
                lease = self._cluster.get(resource.LEASES, self._name, self._namespace)
                if lease["spec"].get("holderIdentity") == self._identity:
                    lease["spec"] = {**lease["spec"], "holderIdentity": "", "leaseDurationSeconds": 1}
                    self._cluster.replace(resource.LEASES, lease)
                return
            except Conflict:
                # A renewal that was stuck in the network has just arrived.
                continue
            except ApiError as error:
                log.info("leadership.not-handed-back", lease=self._name, error=error)
                return

    def run(self) -> None:
        """Contend until stopped, or until leadership was had and lost: what the thread runs."""
        while not self._stopping.is_set():
            pause = RENEW_SECONDS if self._leads else FOLLOW_SECONDS
            try:
                self._contend()
            except Rewound as error:
                log.error("cluster.rewound", error=error)
                self._safe_until = 0.0
                self._rewound = str(error)
                self._ended.set()
                return
            except ApiError as error:
                self._lease = None
                self._interrupted = True
                pause = _AGAIN_SECONDS if self._leads else FOLLOW_SECONDS
                log.debug("leadership.not-renewed", lease=self._name, error=error)
            if self._leads and not self.holds:
                if not self._stopping.is_set():
                    log.warning("leadership.lost", lease=self._name, identity=self._identity)
                self._ended.set()
                return
            self._wait(pause)

    def _contend(self) -> None:
        for _ in range(2):
            if self._lease is None or not self._leads:
                self._read()
            if not self._may_take():
                return
            try:
                self._write()
            except (AlreadyExists, Conflict, NotFound):
                # Changed since it was read: by an adoption mark, by a late request of our own, or by another replica.
                self._lease = None
            else:
                return

    def _read(self) -> None:
        try:
            self._lease = self._cluster.get(resource.LEASES, self._name, self._namespace)
        except NotFound:
            self._lease = None
        else:
            self._history.check(self._lease)
            self._check_renewal(self._lease["spec"])
        spec = (self._lease or {}).get("spec") or {}
        version = self._lease["metadata"]["resourceVersion"] if self._lease is not None else None
        if version == self._seen_version:
            return
        # A Lease handed back need not be waited for; one that was deleted may have a leader that does not know yet.
        self._seen_at = self._clock() if spec.get("holderIdentity") or version is None else None
        self._seen_version = version
        self._held_seconds = float(max(LEASE_SECONDS, spec.get("leaseDurationSeconds") or 0))

    def _check_renewal(self, spec: Object) -> None:
        """Raise Rewound where the Lease is ours and not as we last wrote it: nobody else writes it so."""
        if self._leads and spec.get("holderIdentity") == self._identity and spec.get("renewTime") not in self._sent:
            raise Rewound(
                f"{self._name} was last renewed at {spec.get('renewTime')}, which is not when this leader last "
                "renewed it: etcd was restored from an older snapshot"
            )

    def _may_take(self) -> bool:
        holder = ((self._lease or {}).get("spec") or {}).get("holderIdentity")
        if self._leads and holder not in (None, "", self._identity):
            self._safe_until = 0.0
            return False
        if self._leads:
            # After a standstill others may have begun to count: then it is too late, whatever the record says.
            return self.holds
        if holder == self._identity:
            # An earlier try of ours was not answered and taken all the same.
            return True
        return self._seen_at is None or self._clock() - self._seen_at >= self._held_seconds

    def _write(self) -> None:
        # From before the request is sent: that is when others may begin to count.
        begun = self._clock()
        self._wrote = True
        if self._lease is None:
            lease = {
                "apiVersion": resource.LEASES.api_version,
                "kind": resource.LEASES.kind,
                "metadata": {"name": self._name, "namespace": self._namespace},
                "spec": self._spec({}),
            }
            self._lease = self._cluster.create(resource.LEASES, lease, self._namespace)
        else:
            renewed = {**self._lease, "spec": self._spec(self._lease.get("spec") or {})}
            self._sent.append(renewed["spec"]["renewTime"])
            self._lease = self._cluster.replace(resource.LEASES, renewed)
        self._history.check(self._lease)
        self._sent.clear()
        self._sent.append(self._lease["spec"]["renewTime"])
        self._interrupted = False
        self._safe_until = begun + RENEW_DEADLINE_SECONDS
        if not self._leads and self.holds:
            self._leads = True
            log.info("leadership.gained", lease=self._name, identity=self._identity)
            threading.Thread(target=self._lead, name="lead", daemon=True).start()

    def _lead(self) -> None:
        try:
            self._on_started()
        except Exception:
            log.exception("leadership.failed", lease=self._name)
            self._ended.set()

    def _spec(self, current: Object) -> Object:
        now = datetime.now(UTC)
        renewed = current.get("renewTime")
        if renewed and read_time(renewed) == now:
            # A wall clock that does not advance must not make a renewal a write that changes nothing.
            now += timedelta(microseconds=1)
        same = current.get("holderIdentity") == self._identity
        transitions = int(current.get("leaseTransitions") or 0)
        return {
            "holderIdentity": self._identity,
            "leaseDurationSeconds": LEASE_SECONDS,
            "acquireTime": current.get("acquireTime") or write_time(now) if same else write_time(now),
            "renewTime": write_time(now),
            "leaseTransitions": transitions if same else transitions + 1,
        }

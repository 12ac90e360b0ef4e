"""Leadership among replicas: the election of the `kubernetes` package on a Lease, with a fence of our own.

The package's loop measures by the wall clock and lets transport errors through; the lock below turns those into
"not renewed", and `Leadership.holds` measures by the monotonic clock, so that neither a clock step nor a paused
process leaves two leaders writing.
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime
from http import HTTPStatus
from types import SimpleNamespace
from typing import Any

from allocator.kube import resource
from allocator.kube.client import ApiError, Cluster, NotFound, Object
from allocator.kube.package import ElectionConfig, LeaderElection, LeaderElectionRecord
from allocator.kube.timestamps import read_time, write_time
from allocator.process.logs import EventLog

log = EventLog("leadership")

LEASE_SECONDS = 6
RENEW_DEADLINE_SECONDS = 4
RETRY_SECONDS = 1


class NotLeading(Exception):
    """A write was asked for by a process that does not hold the lease (any more)."""


class Leadership:
    """Runs the election in a thread of its own and tells whether this process may act now."""

    def __init__(
        self, cluster: Cluster, *, namespace: str, lease: str, identity: str, on_started: Callable[[], None]
    ) -> None:
        self._lock = _LeaseLock(cluster, namespace=namespace, name=lease, identity=identity)
        self._on_started = on_started
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, name="election", daemon=True)

    def start(self) -> None:
        """Begin to stand for election."""
        self._thread.start()

    @property
    def holds(self) -> bool:
        """Whether this process holds the lease, safely before anybody else could take it."""
        return not self._ended.is_set() and time.monotonic() < self._lock.safe_until

    @property
    def ended(self) -> bool:
        """Whether leadership was had and lost, or the election died: the process must start afresh."""
        return self._ended.is_set() or not self._thread.is_alive()

    def annotate(self, key: str, value: str) -> None:
        """Leave a mark on the Lease that later leaders keep. Raises ApiError."""
        self._lock.annotate(key, value)

    def require(self) -> None:
        """Raise NotLeading unless this process may act now."""
        if not self.holds:
            raise NotLeading(f"{self._lock.identity} does not hold {self._lock.name}")

    def resign(self) -> None:
        """Give the lease up, so that another replica takes over at its next try."""
        held = self.holds
        self._ended.set()
        self._lock.safe_until = 0.0
        if held:
            self._lock.clear()

    def _run(self) -> None:
        config = ElectionConfig(
            self._lock,
            lease_duration=LEASE_SECONDS,
            renew_deadline=RENEW_DEADLINE_SECONDS,
            retry_period=RETRY_SECONDS,
            onstarted_leading=self._started,
            onstopped_leading=self._stopped,
        )
        LeaderElection(config).run()

    def _started(self) -> None:
        log.info("leadership.gained", lease=self._lock.name, identity=self._lock.identity)
        self._on_started()

    def _stopped(self) -> None:
        if not self._ended.is_set():
            log.warning("leadership.lost", lease=self._lock.name, identity=self._lock.identity)
        self._ended.set()


class _LeaseLock:
    """The lock the package's LeaderElection asks for, on plain dicts and with timeouts.

    `safe_until` is written by the election's thread (and set to zero once on resigning), `resigned` once by the
    thread that resigns; both are read whole.
    """

    def __init__(self, cluster: Cluster, *, namespace: str, name: str, identity: str) -> None:
        self._cluster = cluster
        self.namespace = namespace
        self.name = name
        self.identity = identity
        self.safe_until = 0.0
        self.resigned = False
        self._lease: Object = {}

    def get(self, name: str, namespace: str) -> tuple[bool, Any]:
        if self.resigned:
            # The election's loop cannot be stopped; it must not take back what was handed over.
            return False, SimpleNamespace(body="{}", reason="resigned")
        try:
            self._lease = self._cluster.get(resource.LEASES, name, namespace)
        except NotFound:
            body = json.dumps({"code": HTTPStatus.NOT_FOUND})
            return False, SimpleNamespace(body=body, reason="NotFound")
        except ApiError as error:
            return False, SimpleNamespace(body="{}", reason=str(error))
        return True, self._record()

    def create(self, name: str, namespace: str, election_record: LeaderElectionRecord) -> bool:
        begun = time.monotonic()
        lease = {
            "apiVersion": resource.LEASES.api_version,
            "kind": resource.LEASES.kind,
            "metadata": {"name": name, "namespace": namespace},
            "spec": self._spec(election_record, {}),
        }
        return self._write(lambda: self._cluster.create(resource.LEASES, lease, namespace), begun)

    def update(self, name: str, namespace: str, election_record: LeaderElectionRecord) -> bool:  # noqa: ARG002
        begun = time.monotonic()
        self._lease["spec"] = self._spec(election_record, self._lease.get("spec") or {})
        return self._write(lambda: self._cluster.replace(resource.LEASES, self._lease), begun)

    def annotate(self, key: str, value: str) -> None:
        """Write one annotation; the next renewal reads the Lease anew and keeps it."""
        body = {"metadata": {"annotations": {key: value}}}
        self._cluster.patch(resource.LEASES, self.name, body, self.namespace)

    def clear(self) -> None:
        """Hand the lease back: no holder, as client-go's ReleaseOnCancel does."""
        self.resigned = True
        try:
            # A renewal may have been under way: what is handed back is the Lease as it stands now.
            lease = self._cluster.get(resource.LEASES, self.name, self.namespace)
            if lease["spec"].get("holderIdentity") == self.identity:
                lease["spec"] = {**lease["spec"], "holderIdentity": "", "leaseDurationSeconds": 1}
                self._cluster.replace(resource.LEASES, lease)
        except ApiError as error:
            log.info("leadership.not-handed-back", lease=self.name, error=error)

    def _write(self, write: Callable[[], Object], begun: float) -> bool:
        try:
            self._lease = write()
        except ApiError as error:
            log.debug("leadership.not-renewed", lease=self.name, error=error)
            return False
        # From before the request was sent: that is when others may begin to count.
        self.safe_until = begun + RENEW_DEADLINE_SECONDS
        return True

    def _spec(self, record: LeaderElectionRecord, current: Object) -> Object:
        now = write_time(datetime.now(UTC))
        same = current.get("holderIdentity") == record.holder_identity
        transitions = int(current.get("leaseTransitions") or 0)
        return {
            "holderIdentity": record.holder_identity,
            "leaseDurationSeconds": LEASE_SECONDS,
            "acquireTime": current.get("acquireTime") or now if same else now,
            "renewTime": now,
            "leaseTransitions": transitions if same else transitions + 1,
        }

    def _record(self) -> LeaderElectionRecord:
        spec = self._lease.get("spec") or {}
        holder = spec.get("holderIdentity")
        if not holder:
            # No holder: nothing to wait for.
            return LeaderElectionRecord(None, None, None, None)
        acquired, renewed = spec.get("acquireTime"), spec.get("renewTime")
        return LeaderElectionRecord(
            holder,
            str(spec.get("leaseDurationSeconds") or LEASE_SECONDS),
            str(read_time(acquired)) if acquired else None,
            str(read_time(renewed)) if renewed else None,
        )

"""Which node may reset sessions now: one after the other, by a Lease, so that routers lose one next hop at a time.

Only sessions wait that are up, for such resets as an edit brings along. What is to end permanently, and what is down
anyway, waits for nobody.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime

from allocator.bgp.command import Reset
from allocator.kube.client import AlreadyExists, ApiError, Cluster, Conflict, NotFound, Object
from allocator.kube.resource import LEASES
from allocator.kube.timestamps import write_time
from allocator.process.background import Background
from allocator.process.logs import EventLog
from speaker.bgp.reports import SessionState

log = EventLog("bgp")

LEASE_NAME = "admitlb-bgp-resets"

RESET_SECONDS = 30.0
"""How long a node has its turn at most: a router may need as long to take a session again."""
EXPIRED_SECONDS = 60.0
"""A Lease that has not changed for so long is of a node that is gone."""
_ACT_SECONDS = 5.0
"""A turn that nobody needs any more is passed on after that."""
_RETRY_SECONDS = 3.0
_LOOK_SECONDS = 0.2
_FINAL = frozenset({"removed", "shutdown set"})
"""Resets after which there is no session: nobody waits for it to come back."""


class ResetTurn(Background):
    """Asks for this node's turn when a reset waits for it, and passes it on once the sessions are back.

    `_lock` guards what the driver's, the announcer's and this thread share.
    """

    def __init__(
        self,
        cluster: Cluster,
        *,
        node: str,
        namespace: str,
        on_turn: Callable[[], None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`on_turn` is called when it is this node's turn, on this thread; it must not block."""
        super().__init__("bgp-resets")
        self._lease = _Lease(cluster, holder=node, namespace=namespace, clock=clock)
        self._on_turn = on_turn
        self._clock = clock
        self._wanted = threading.Event()
        self._lock = threading.Lock()
        self._down: frozenset[tuple[str, str]] = frozenset()
        self._has_turn = False
        self._resetting: set[tuple[str, str]] = set()
        self._acted = False

    def stop(self) -> None:
        """End the thread; a turn that is had is passed on."""
        self._stopping.set()
        self._wanted.set()
        super().stop()

    def may_reset(self, reset: Reset) -> bool:
        """Return whether a session may be reset now; where not, `on_turn` is called when it may. Any thread."""
        if reset.reason in _FINAL:
            return True
        session = (reset.vrf, reset.neighbor)
        with self._lock:
            if session in self._down:
                return True
            if self._has_turn:
                return True
        self._wanted.set()
        return False

    def note_resetting(self, resets: Iterable[Reset]) -> None:
        """These sessions are being reset. Any thread."""
        with self._lock:
            self._acted = True
            self._resetting |= {(each.vrf, each.neighbor) for each in resets if each.reason not in _FINAL}
            self._down |= self._resetting

    def note_states(self, states: Mapping[str, SessionState]) -> None:
        """The sessions are so now. Any thread."""
        with self._lock:
            self._down = frozenset((each.vrf, each.neighbor) for each in states.values() if not each.up)
            self._resetting &= self._down

    def _run(self) -> None:
        while not self._stopping.is_set():
            self._wanted.wait()
            if self._stopping.is_set():
                return
            if not self._lease.take():
                self._stopping.wait(_RETRY_SECONDS)
                continue
            self._wanted.clear()
            with self._lock:
                self._has_turn, self._acted = True, False
                self._resetting.clear()
            log.info("bgp.reset-turn")
            self._on_turn()
            self._wait_for_sessions()
            with self._lock:
                self._has_turn = False
            self._lease.give_back()

    def _wait_for_sessions(self) -> None:
        began = self._clock()
        while not self._stopping.wait(_LOOK_SECONDS):
            lasted = self._clock() - began
            with self._lock:
                if self._acted and not self._resetting:
                    return
                if lasted >= (RESET_SECONDS if self._acted else _ACT_SECONDS):
                    return


class _Lease:
    """The Lease; every write is for the version that was read. Belongs to one thread."""

    def __init__(self, cluster: Cluster, *, holder: str, namespace: str, clock: Callable[[], float]) -> None:
        self._cluster = cluster
        self._holder = holder
        self._namespace = namespace
        self._clock = clock
        self._seen: tuple[str, float] | None = None
        """The version last read, and since when it has been that."""

    def take(self) -> bool:
        """Return whether this node holds it now."""
        try:
            found = self._cluster.get(LEASES, LEASE_NAME, self._namespace)
        except NotFound:
            return self._tried(lambda: self._cluster.create(LEASES, self._body(self._holder), self._namespace))
        except ApiError as error:
            log.debug("bgp.reset-turn-unread", error=error)
            return False
        version = found["metadata"]["resourceVersion"]
        if self._seen is None or self._seen[0] != version:
            self._seen = (version, self._clock())
        other = (found.get("spec") or {}).get("holderIdentity") or self._holder
        if other != self._holder and self._clock() - self._seen[1] < EXPIRED_SECONDS:
            return False
        return self._tried(lambda: self._patch(self._holder, version))

    def give_back(self) -> None:
        """Let the next one have it; where that fails it expires."""
        try:
            found = self._cluster.get(LEASES, LEASE_NAME, self._namespace)
            if (found.get("spec") or {}).get("holderIdentity") == self._holder:
                self._patch(None, found["metadata"]["resourceVersion"])
        except ApiError as error:
            log.debug("bgp.reset-turn-kept", error=error)

    def _tried(self, write: Callable[[], Object]) -> bool:
        try:
            write()
        except (AlreadyExists, Conflict):
            return False
        except ApiError as error:
            log.debug("bgp.reset-turn-unwritten", error=error)
            return False
        return True

    def _patch(self, holder: str | None, version: str) -> Object:
        return self._cluster.patch(LEASES, LEASE_NAME, self._body(holder, version), self._namespace)

    def _body(self, holder: str | None, version: str = "") -> Object:
        metadata = {"name": LEASE_NAME, "labels": {"app": "metallb", "component": "speaker"}}
        if version:
            metadata["resourceVersion"] = version
        return {
            "apiVersion": LEASES.api_version,
            "kind": LEASES.kind,
            "metadata": metadata,
            "spec": {
                "holderIdentity": holder,
                "leaseDurationSeconds": int(EXPIRED_SECONDS),
                "renewTime": write_time(datetime.now(UTC)),
            },
        }

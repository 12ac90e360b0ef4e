"""Writes into the status of pools which hosts that are none of ours answer for their addresses.

One node asks about an address, and that one reports. It changes the address's own entry and nothing else, whoever
wrote it: a host that was reported by a node that is gone is reported gone by the one that asks now.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from allocator.core.addresses import Address
from allocator.core.claims import ForeignHost
from allocator.kube.client import ApiError, Cluster, Conflict, NotFound, Unavailable
from allocator.kube.timestamps import read_time, write_time
from allocator.objects.names import IP_ADDRESS_POOLS
from allocator.objects.pool_status import FOREIGN_HOSTS_FIELD, Answer, answer_document, answers_in
from allocator.process.logs import EventLog
from speaker.cluster.next_addresses import PoolReports
from speaker.frames.ethernet import mac_text
from speaker.metrics import SpeakerMetrics
from speaker.status.retries import is_outage

log = EventLog("foreign-hosts")

CONFIRM_AFTER = timedelta(seconds=600)
"""After which a host that is still there is reported anew: the reconciler accepts no report for longer than thrice
that."""

_WRITE_SECONDS = 0.5
"""Between two writes, so that what is found together is written together."""
_LOOK_SECONDS = 30.0
"""Between two looks at whether something has to be confirmed, while there is something."""
_RETRY_SECONDS = 5.0


def changes_of(
    reports: PoolReports, findings: Mapping[Address, ForeignHost | None], *, now: datetime
) -> dict[Address, Answer | None]:
    """Return the entries to be written (None: removed), so that the pool's status says what this node found. Pure.

    `findings` are the addresses that this node asks about and knows of: who has each, None for nobody.
    """
    changes: dict[Address, Answer | None] = {}
    for address in sorted(reports.asked & findings.keys()):
        host, reported = findings[address], reports.answers.get(address)
        if host is None:
            if reported is not None:
                changes[address] = None
        elif reported is None or reported.host.mac != host.mac or _is_old(reported.last_heard, now):
            changes[address] = Answer(host, write_time(now))
    return changes


def _is_old(moment: str, now: datetime) -> bool:
    try:
        return abs(now - read_time(moment)) > CONFIRM_AFTER
    except (TypeError, ValueError):
        return True


class ForeignHostReporter:
    """Compares what was found with what the pools' status says and writes the difference, paced.

    `_findings`, `_asked` and `_pools` are guarded by `_wake`; prober and controller change them, the reporter's own
    thread writes. `_failed` is that thread's: the pools that could not be written, why, and when.
    """

    def __init__(
        self,
        cluster: Cluster,
        *,
        node: str,
        namespace: str,
        metrics: SpeakerMetrics,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._cluster = cluster
        self._node = node
        self._namespace = namespace
        self._metrics = metrics
        self._now = now
        self._wake = threading.Condition()
        self._findings: dict[Address, ForeignHost | None] = {}
        self._asked: frozenset[Address] = frozenset()
        self._pools: Mapping[str, PoolReports] = {}
        self._changed = False
        self._failed: dict[str, tuple[str, float]] = {}
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="foreign-hosts", daemon=True)

    def start(self) -> None:
        """Begin writing."""
        self._thread.start()

    def stop(self) -> None:
        """End the thread; whoever asks next corrects what is left."""
        self._stopping.set()
        self._poke()
        if self._thread.is_alive():
            self._thread.join(timeout=6)

    @property
    def alive(self) -> bool:
        """Whether the thread still runs."""
        return self._thread.is_alive()

    def follow(self, pools: Mapping[str, PoolReports]) -> None:
        """Take note of what the pools' status says now; returns at once."""
        with self._wake:
            self._pools = pools
        self._poke()

    def asked(self, addresses: frozenset[Address]) -> None:
        """Take note of what this node asks about now; it says nothing of other addresses. Returns at once."""
        with self._wake:
            self._asked = addresses
            self._findings = {address: host for address, host in self._findings.items() if address in addresses}
            self._count()

    def taken(self, address: Address, interface: str, mac: bytes) -> None:
        """A host that is none of ours has the address; returns at once."""
        self._find(address, ForeignHost(mac=mac_text(mac), node=self._node, interface=interface))

    def vacant(self, address: Address) -> None:
        """Nobody has the address; returns at once."""
        self._find(address, None)

    def _find(self, address: Address, host: ForeignHost | None) -> None:
        with self._wake:
            if address not in self._asked:
                return
            self._findings[address] = host
            self._count()
        self._poke()

    def _count(self) -> None:
        self._metrics.foreign_hosts.set(sum(host is not None for host in self._findings.values()))

    def _poke(self) -> None:
        with self._wake:
            self._changed = True
            self._wake.notify()

    def _run(self) -> None:
        while not self._stopping.is_set():
            with self._wake:
                confirms = any(self._findings.values())
                look_seconds = _RETRY_SECONDS if self._failed else _LOOK_SECONDS if confirms else None
                self._wake.wait_for(lambda: self._changed, look_seconds)
                self._changed = False
                pools, findings = dict(self._pools), dict(self._findings)
            self._failed = {name: failure for name, failure in self._failed.items() if name in pools}
            # A pool that could not be written keeps no other waiting.
            for name in sorted(pools, key=self._failed.__contains__):
                if not self._try(name, changes_of(pools[name], findings, now=self._now())):
                    self._stopping.wait(_RETRY_SECONDS)
                    self._poke()
                    break

    def _try(self, name: str, changes: Mapping[Address, Answer | None]) -> bool:
        """Write, unless that has just failed; return whether the API server is there."""
        said, failed_at = self._failed.get(name, ("", -_RETRY_SECONDS))
        if time.monotonic() - failed_at < _RETRY_SECONDS:
            return True
        try:
            self._write(name, changes)
        except ApiError as error:
            self._failed[name] = str(error), time.monotonic()
            if isinstance(error, Conflict | Unavailable):
                log.debug("report.unwritten", pool=name, error=error, retry_seconds=_RETRY_SECONDS)
            elif str(error) != said:
                log.warning("report.refused", pool=name, error=error, retry_seconds=_RETRY_SECONDS)
            return not is_outage(error)
        self._failed.pop(name, None)
        return True

    def _write(self, name: str, changes: Mapping[Address, Answer | None]) -> None:
        if not changes or self._stopping.is_set():
            return
        entries: dict[str, Any] = {
            str(address): answer_document(answer) if answer is not None else None
            for address, answer in changes.items()
        }
        try:
            stored = self._cluster.patch(
                IP_ADDRESS_POOLS,
                name,
                {"status": {FOREIGN_HOSTS_FIELD: entries}},
                self._namespace,
                subresource="status",
            )
        except NotFound:
            return
        for address, answer in changes.items():
            log.info("address.reported", ip=address, pool=name, host=answer.host.mac if answer is not None else "-")
        with self._wake:
            known = self._pools.get(name)
            if known is not None:
                # What a write returned is known before the watch brings it.
                self._pools = {**self._pools, name: PoolReports(asked=known.asked, answers=answers_in(stored))}
        self._stopping.wait(_WRITE_SECONDS)

"""A webhook that starts in a cluster with 10,000 Services that have their addresses."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from allocator.core.addresses import Address, AddressRange
from allocator.core.claims import Claim, ClaimState, Holder
from allocator.kube.client import ApiError, Cluster
from allocator.kube.resource import MUTATING_WEBHOOKS, SERVICES, VALIDATING_WEBHOOKS
from allocator.objects.ip_allocation import document_of
from allocator.objects.names import DEFAULT_NAMESPACE, IP_ADDRESS_POOLS, IP_ALLOCATIONS, WEBHOOK_CONFIGURATION
from allocator.objects.service import ports_of
from tests.bench.figures import Figure
from tests.bench.memory import process_tree, proportional_megabytes, resident_megabytes
from tests.bench.site import NAMESPACE
from tests.cluster.installation import OVERLAY, pool, service
from tests.cluster.webhook_replica import Replica, mark_adopted, route_webhook_service
from tests.lab.binaries import find
from tests.lab.control_plane import ControlPlane
from tests.lab.waiting import wait_until

SECTION = "a webhook's start"

_SERVICES = 10_000
_WRITERS = 6
_PORT = 19843
_READY_SECONDS = 60.0
_RANGE = AddressRange.parse("10.0.0.0/16")
_CONTROLLERS = ("serviceaccount", "serviceaccount-token", "root-ca-cert-publisher")
_NODE_PORTS = "10000-32767"


@dataclass(frozen=True, slots=True)
class _Start:
    seconds: float
    megabytes: float
    """Proportional set size of all its processes: what they share counts once, as in a container's account."""
    worker_megabytes: float
    """Resident set size of the largest, which is the one that decides; shared pages included."""


def measure() -> Iterator[Figure]:
    """Yield how long a webhook takes until it is ready, and how much memory it then has."""
    with tempfile.TemporaryDirectory(prefix="admitlb-bench-", ignore_cleanup_errors=True) as folder:
        logs = Path(folder)
        with ControlPlane(
            find(), logs / "control-plane", controllers=_CONTROLLERS, node_ports=_NODE_PORTS
        ) as control_plane:
            control_plane.kubectl("apply", "-k", str(OVERLAY))
            mark_adopted(control_plane)
            empty = _start(control_plane, logs)
            _fill(control_plane.cluster())
            full = _start(control_plane, logs)
    what = f"with {_SERVICES:,} Services and claims"
    yield Figure(
        section=SECTION,
        what=f"process start until ready, {what}",
        value=full.seconds,
        unit="s",
        target=8.0,
        baseline="s in an empty cluster",
        baseline_value=empty.seconds,
    )
    yield Figure(
        section=SECTION,
        what=f"resident, {what}",
        value=full.megabytes,
        unit="MB",
        target=150.0,
        baseline="MB in an empty cluster",
        baseline_value=empty.megabytes,
        remark=f"the deciding process by itself: {full.worker_megabytes:.0f} MB, shared pages included",
    )


def _start(control_plane: ControlPlane, logs: Path) -> _Start:
    control_plane.kubectl("apply", "-k", str(OVERLAY))
    route_webhook_service(control_plane)
    started = time.perf_counter()
    replica = Replica(control_plane, logs, name="webhook", port=_PORT)
    try:
        replica.wait_ready(_READY_SECONDS)
        seconds = time.perf_counter() - started
        processes = process_tree(replica.process.pid)
        return _Start(
            seconds,
            sum(map(proportional_megabytes, processes)),
            max(map(resident_megabytes, processes)),
        )
    finally:
        replica.stop()
        # Nobody answers now, and what follows is not about admission.
        for kind in (MUTATING_WEBHOOKS, VALIDATING_WEBHOOKS):
            control_plane.cluster().delete(kind, WEBHOOK_CONFIGURATION)


def _fill(cluster: Cluster) -> None:
    """Create the pool, and Services with the claims they would hold, by several writers."""
    wait_until(
        lambda: cluster.create(IP_ADDRESS_POOLS, pool("bench", _RANGE.text), DEFAULT_NAMESPACE),
        20,
        "the API server asks no webhook any more",
        retry_on=(ApiError,),
    )
    with ThreadPoolExecutor(_WRITERS, thread_name_prefix="fill") as writers:
        list(writers.map(lambda number: _serve(cluster, number), range(_SERVICES)))


def _serve(cluster: Cluster, number: int) -> None:
    stored = cluster.create(SERVICES, service(f"filled-{number}"), NAMESPACE)
    now = datetime.now(UTC)
    holder = Holder(
        namespace=NAMESPACE, name=stored["metadata"]["name"], uid=stored["metadata"]["uid"], ports=ports_of(stored)
    )
    claim = Claim(
        address=Address(_RANGE.family, _RANGE.first + number),
        pool="bench",
        state=ClaimState.BOUND,
        holders=(holder,),
    )
    cluster.create(IP_ALLOCATIONS, document_of(claim, now=now))

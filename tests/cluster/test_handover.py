"""A leader that is told to stop hands over at once: no Service waits for what it still has to stop."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from functools import partial

import pytest

from allocator.kube.client import Cluster
from allocator.kube.resource import SERVICES
from allocator.objects.names import DEFAULT_NAMESPACE, IP_ADDRESS_POOLS
from tests.cluster.installation import ingress, pool, service
from tests.cluster.reconciling import Reconciler, Reconciling
from tests.lab.binaries import find
from tests.lab.control_plane import ControlPlane
from tests.lab.waiting import wait_until

LONGEST_SECONDS = 2.0
"""How long a Service may wait for its status while leaders change, beyond what it waits anyway on this machine."""
OTHERS = 300
"""Services that are served already, which a new leader looks at as well."""


@pytest.fixture
def admitlb(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Reconciling]:
    with ControlPlane(find(), tmp_path_factory.mktemp("handover")) as control_plane:
        installed = Reconciling(control_plane, tmp_path_factory.mktemp("logs"))
        installed.cluster.create(IP_ADDRESS_POOLS, pool("p", "192.0.2.0-192.0.7.255"), DEFAULT_NAMESPACE)
        yield installed
        installed.stop()


def serve(cluster: Cluster, name: str) -> float:
    """Create a Service and return how many seconds it waited for its status."""
    began = time.monotonic()
    cluster.create(SERVICES, service(name), "default")
    wait_until(lambda: ingress(cluster.get(SERVICES, name, "default")), 30, f"{name} is served")
    return time.monotonic() - began


def test_no_service_waits_longer_than_two_seconds_when_the_leader_changes(admitlb: Reconciling) -> None:
    cluster = admitlb.cluster
    leader = admitlb.start("first")
    leader.wait_leading()
    for number in range(OTHERS):
        cluster.create(SERVICES, service(f"other-{number}"), "default")
    wait_until(
        lambda: all(ingress(one) for one in cluster.list(SERVICES, "default")["items"] if _wants(one)),
        60,
        "the others are served",
    )
    usual = max(serve(cluster, f"usual-{number}") for number in range(5))
    waits = []
    for number in range(3):
        follower = admitlb.start(f"follower-{number}")
        wait_until(partial(_ready, follower), 30, "it has every list")
        os.kill(leader.process.pid, signal.SIGTERM)
        waits.append(serve(cluster, f"meanwhile-{number}"))
        assert leader.process.wait(20) == 0
        leader = follower
    assert max(waits) < LONGEST_SECONDS + usual, f"{waits} where {usual:.2f} s is usual"


def _wants(one: dict[str, object]) -> bool:
    spec = one["spec"]
    assert isinstance(spec, dict)
    return bool(spec["type"] == "LoadBalancer")


def _ready(reconciler: Reconciler) -> bool:
    try:
        return reconciler.readiness() == "ok\n"
    except OSError:
        return False

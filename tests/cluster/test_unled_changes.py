"""What changes while no reconciler leads: a new leader gives no address to anybody beside a Service that shows it."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any

import pytest

from allocator.kube.reflector import Change, Reflector
from allocator.kube.resource import SERVICES
from allocator.objects.names import DEFAULT_NAMESPACE, IP_ADDRESS_POOLS
from tests.cluster.installation import ingress, pool, service
from tests.cluster.reconciling import Reconciling
from tests.lab.waiting import wait_until

PAIRS = 10
HTTP = [{"port": 80, "protocol": "TCP"}]
ALTERNATE = [{"port": 8080, "protocol": "TCP"}]
CHANGES: dict[str, dict[str, Any]] = {
    "wants no address any more, and has another port": {"type": "ClusterIP", "ports": ALTERNATE},
    "has another port": {"ports": ALTERNATE},
}


class Shown:
    """What every Service shows, in the order in which the API server stored it. `_lock` owns all of it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._shown: dict[str, list[str]] = {}
        self.together: list[tuple[str, str]] = []
        """Old and new Services that showed one address at the same time."""

    def note(self, change: Change) -> None:
        name = change.key[1]
        with self._lock:
            self._shown[name] = ingress(change.new) if change.new is not None else []
            kind, _, number = name.partition("-")
            other = f"{'new' if kind == 'old' else 'old'}-{number}"
            if set(self._shown[name]) & set(self._shown.get(other, ())):
                self.together.append((name, other))


@pytest.fixture
def admitlb(reconciling: Reconciling) -> Iterator[Reconciling]:
    reconciling.cluster.create(IP_ADDRESS_POOLS, pool("p", f"192.0.2.0-192.0.2.{PAIRS - 1}"), DEFAULT_NAMESPACE)
    yield reconciling
    reconciling.stop()
    reconciling.wipe()


@pytest.mark.parametrize("what", CHANGES)
def test_nobody_joins_by_what_a_service_needed_before(admitlb: Reconciling, what: str) -> None:
    cluster = admitlb.cluster
    admitlb.start("first").wait_leading()
    keys = [{"metallb.io/allow-shared-ip": f"k{number}"} for number in range(PAIRS)]
    for number, key in enumerate(keys):
        cluster.create(SERVICES, service(f"old-{number}", key, ports=HTTP), "default")

    def addresses() -> list[str]:
        return [one for n in range(PAIRS) for one in ingress(cluster.get(SERVICES, f"old-{n}", "default"))]

    wait_until(lambda: len(addresses()) == PAIRS, 30, "the old ones are served")
    served = addresses()
    admitlb.stop()
    admitlb.forget_leader()
    for number, key in enumerate(keys):
        cluster.patch(SERVICES, f"old-{number}", {"spec": CHANGES[what]}, "default")
        pinned = {**key, "metallb.io/loadBalancerIPs": served[number]}
        cluster.create(SERVICES, service(f"new-{number}", pinned, ports=ALTERNATE), "default")
    shown = Shown()
    watch = Reflector(cluster, SERVICES, on_change=shown.note)
    watch.start()
    try:
        assert watch.wait_synced(20)
        admitlb.start("second").wait_leading()
        if CHANGES[what].get("type") == "ClusterIP":
            wait_until(
                lambda: all(ingress(cluster.get(SERVICES, f"new-{n}", "default")) for n in range(PAIRS)),
                30,
                "the new ones are served",
            )
        else:
            cluster.create(SERVICES, service("last", {"metallb.io/loadBalancerIPs": "198.51.100.1"}), "default")
            wait_until(lambda: admitlb.event("last", "AllocationFailed"), 30, "every Service was looked at")
            assert addresses() == served
    finally:
        watch.stop()
    assert shown.together == []

"""Reservations age out, on shared claims too, and one claim that cannot be collected keeps no other."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from allocator.kube.client import Object
from allocator.kube.resource import SERVICES
from allocator.kube.timestamps import write_time
from allocator.objects.names import DEFAULT_NAMESPACE, IP_ADDRESS_POOLS, IP_ALLOCATIONS
from tests.cluster.installation import ingress, pool, service
from tests.cluster.reconciling import TENTATIVE_AGE_SECONDS, Reconciling
from tests.lab.waiting import wait_until


@pytest.fixture
def admitlb(reconciling: Reconciling) -> Iterator[Reconciling]:
    reconciling.cluster.create(IP_ADDRESS_POOLS, pool("p", "192.0.2.10-192.0.2.39"), DEFAULT_NAMESPACE)
    yield reconciling
    reconciling.stop()
    for one in reconciling.cluster.list(IP_ALLOCATIONS)["items"]:
        reconciling.cluster.patch(IP_ALLOCATIONS, one["metadata"]["name"], {"metadata": {"finalizers": None}})
    reconciling.wipe()


def reservation(address: str, *holders: dict[str, Any], finalizers: tuple[str, ...] = (), **spec: Any) -> Object:
    """An IPAllocation as admission leaves it when the create then fails."""
    now = write_time(datetime.now(UTC))
    held = [{"since": now, "ports": [{"protocol": "TCP", "port": 80}], **holder} for holder in holders]
    return {
        "apiVersion": IP_ALLOCATIONS.api_version,
        "kind": IP_ALLOCATIONS.kind,
        "metadata": {"name": address, "finalizers": list(finalizers)},
        "spec": {"address": address, "pool": "p", "state": "Tentative", "since": now, "holders": held, **spec},
    }


def holders(admitlb: Reconciling, address: str) -> list[str]:
    spec = admitlb.claims().get(address)
    return [str(holder.get("name") or holder.get("generateName")) for holder in spec["holders"]] if spec else []


def test_named_and_unnamed_reservations_age_out(admitlb: Reconciling) -> None:
    cluster = admitlb.cluster
    cluster.create(IP_ALLOCATIONS, reservation("192.0.2.20", {"namespace": "default", "generateName": "web-"}))
    cluster.create(IP_ALLOCATIONS, reservation("192.0.2.21", {"namespace": "default", "name": "never"}))
    admitlb.start().wait_leading()
    wait_until(lambda: not admitlb.claims(), TENTATIVE_AGE_SECONDS + 10, "both are collected")


def test_an_unnamed_holder_of_a_shared_claim_ages_out_and_the_sharer_stays(admitlb: Reconciling) -> None:
    cluster = admitlb.cluster
    admitlb.start().wait_leading()
    shared = {"metallb.io/allow-shared-ip": "key"}
    cluster.create(SERVICES, service("sharer", shared), "default")
    (address,) = wait_until(lambda: ingress(cluster.get(SERVICES, "sharer", "default")), 10, "it is served")
    claim = cluster.get(IP_ALLOCATIONS, address)
    ports = [{"protocol": "TCP", "port": 81}]
    joined = {"namespace": "default", "generateName": "web-", "since": write_time(datetime.now(UTC)), "ports": ports}
    claim["spec"]["holders"].append(joined)
    cluster.replace(IP_ALLOCATIONS, claim)
    assert holders(admitlb, address) == ["sharer", "web-"]
    wait_until(lambda: holders(admitlb, address) == ["sharer"], TENTATIVE_AGE_SECONDS + 10, "it has left")
    assert ingress(cluster.get(SERVICES, "sharer", "default")) == [address]


def test_one_that_cannot_be_deleted_stops_no_other(admitlb: Reconciling) -> None:
    cluster = admitlb.cluster
    held = reservation(
        "192.0.2.20", {"namespace": "default", "generateName": "a-"}, finalizers=("example.com/never",)
    )
    cluster.create(IP_ALLOCATIONS, held)
    reconciler = admitlb.start()
    reconciler.wait_leading()
    wait_until(
        lambda: "deletionTimestamp" in cluster.get(IP_ALLOCATIONS, "192.0.2.20")["metadata"],
        TENTATIVE_AGE_SECONDS + 10,
        "it is being deleted",
    )
    long_ago = write_time(datetime.now(UTC) - timedelta(days=1))
    cooling: dict[str, Any] = {"state": "Cooling", "releasedAt": long_ago, "coolUntil": long_ago}
    for number in range(21, 24):
        gone = {"namespace": "default", "name": f"gone-{number}"}
        cluster.create(IP_ALLOCATIONS, reservation(f"192.0.2.{number}", gone, **cooling))
    wait_until(lambda: list(admitlb.claims()) == ["192.0.2.20"], 10, "the others are free")
    # Being deleted is as far as it goes: nothing is asked for again and again.
    version = cluster.get(IP_ALLOCATIONS, "192.0.2.20")["metadata"]["resourceVersion"]
    threading.Event().wait(2.5)
    assert cluster.get(IP_ALLOCATIONS, "192.0.2.20")["metadata"]["resourceVersion"] == version


def test_a_denied_service_has_its_reservation_bound(admitlb: Reconciling) -> None:
    cluster = admitlb.cluster
    me = {"namespace": "default", "name": "late"}
    cluster.create(IP_ALLOCATIONS, reservation("192.0.2.20", me))
    # Admitted with it; by now the pool that it asks for is closed to it.
    asks = {"metallb.io/address-pool": "closed", "admitlb.io/assigned-ips": "192.0.2.20"}
    closed = pool("closed", "198.51.100.0/28", serviceAllocation={"namespaces": ["elsewhere"]})
    cluster.create(IP_ADDRESS_POOLS, closed, DEFAULT_NAMESPACE)
    cluster.create(SERVICES, service("late", asks), "default")
    malformed = {"metallb.io/loadBalancerIPs": "192.0.2.21", "admitlb.io/assigned-ips": "192.0.2.22"}
    cluster.create(IP_ALLOCATIONS, reservation("192.0.2.22", {"namespace": "default", "name": "wrong"}))
    cluster.create(SERVICES, service("wrong", malformed, loadBalancerIP="192.0.2.21"), "default")
    admitlb.start().wait_leading()

    wait_until(lambda: admitlb.claims()["192.0.2.20"]["state"] == "Bound", 10, "it is bound")
    wait_until(lambda: admitlb.claims()["192.0.2.22"]["state"] == "Bound", 10, "the malformed one too")
    wait_until(lambda: ingress(cluster.get(SERVICES, "late", "default")) == ["192.0.2.20"], 10, "it is shown")
    wait_until(lambda: ingress(cluster.get(SERVICES, "wrong", "default")) == ["192.0.2.22"], 10, "so is the other")


def test_a_cooling_address_names_no_node_though_its_speaker_has_ended(admitlb: Reconciling) -> None:
    cluster = admitlb.cluster
    cluster.patch(IP_ADDRESS_POOLS, "p", {"spec": {"reuseDelaySeconds": 60}}, DEFAULT_NAMESPACE)
    admitlb.start().wait_leading()
    cluster.create(SERVICES, service("web"), "default")
    (address,) = wait_until(lambda: ingress(cluster.get(SERVICES, "web", "default")), 10, "it is served")
    now = write_time(datetime.now(UTC))
    conflict = {"type": "AddressConflict", "status": "True", "reason": "ForeignClaim", "lastTransitionTime": now}
    announced = {"announcedBy": {"node": "node-1", "interfaces": ["eth0"], "since": now}}
    ready = {"type": "Ready", "status": "True", "reason": "Announced", "lastTransitionTime": now}
    status = {**announced, "conditions": [{**ready, "message": "by node-1"}, {**conflict, "message": "claimed"}]}
    cluster.patch(IP_ALLOCATIONS, address, {"status": status}, subresource="status")
    cluster.delete(SERVICES, "web", "default")

    def left() -> Object | None:
        claim = cluster.get(IP_ALLOCATIONS, address)
        return claim if claim["spec"]["state"] == "Cooling" and "announcedBy" not in claim["status"] else None

    claim = wait_until(left, 10, "no node is named")
    assert [one["type"] for one in claim["status"]["conditions"]] == ["AddressConflict"]

"""Another controller that writes the status of Services: left alone, taken over on request, never fought at speed."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator

import pytest

from allocator.kube.client import MERGE_PATCH, Cluster
from allocator.kube.resource import NAMESPACES, SERVICES
from allocator.objects.names import DEFAULT_NAMESPACE, IP_ADDRESS_POOLS, TAKE_OVER_ANNOTATION
from tests.cluster.installation import ingress, pool, service
from tests.cluster.reconciling import Reconciling
from tests.lab.waiting import wait_until

FOREIGN = "203.0.113.7"


@pytest.fixture
def admitlb(reconciling: Reconciling) -> Iterator[Reconciling]:
    yield reconciling
    reconciling.stop()
    reconciling.wipe()
    reconciling.cluster.patch(NAMESPACES, "default", {"metadata": {"annotations": {TAKE_OVER_ANNOTATION: None}}})


def add_pool(admitlb: Reconciling) -> None:
    admitlb.cluster.create(IP_ADDRESS_POOLS, pool("p", "192.0.2.10-192.0.2.19"), DEFAULT_NAMESPACE)


def write_status(cluster: Cluster, name: str, address: str = FOREIGN) -> None:
    status = {"status": {"loadBalancer": {"ingress": [{"ip": address}]}}}
    cluster.patch(
        SERVICES,
        name,
        status,
        "default",
        subresource="status",
        content_type=MERGE_PATCH,
        field_manager="other-balancer",
    )


def shown(admitlb: Reconciling, name: str) -> list[str]:
    return ingress(admitlb.cluster.get(SERVICES, name, "default"))


def test_a_service_of_another_balancer_is_left_alone_and_told_how_to_be_served(admitlb: Reconciling) -> None:
    add_pool(admitlb)
    admitlb.cluster.create(SERVICES, service("theirs"), "default")
    write_status(admitlb.cluster, "theirs")
    before = admitlb.cluster.get(SERVICES, "theirs", "default")
    admitlb.start().wait_leading()
    message = wait_until(lambda: admitlb.event("theirs", "Ignored"), 10, "it is told")
    assert FOREIGN in message
    assert "written by other-balancer" in message
    assert f'{TAKE_OVER_ANNOTATION}: "true"' in message
    assert admitlb.cluster.get(SERVICES, "theirs", "default") == before


@pytest.mark.parametrize("where", ["service", "namespace", "install"])
def test_it_is_taken_over_when_and_not_before_an_address_is_assigned(admitlb: Reconciling, where: str) -> None:
    cluster, name = admitlb.cluster, f"theirs-{where}"
    cluster.create(SERVICES, service(name), "default")
    write_status(cluster, name)
    admitlb.start("reconciler", *(["--take-over-foreign"] if where == "install" else [])).wait_leading()
    annotated = {"metadata": {"annotations": {TAKE_OVER_ANNOTATION: "true"}}}
    if where == "service":
        cluster.patch(SERVICES, name, annotated, "default")
    elif where == "namespace":
        cluster.patch(NAMESPACES, "default", annotated)
    wait_until(lambda: admitlb.event(name, "AllocationFailed"), 30, "it waits for a pool")
    assert shown(admitlb, name) == [FOREIGN]
    add_pool(admitlb)
    wait_until(lambda: shown(admitlb, name) == ["192.0.2.10"], 10, "it has an address of ours")


def test_a_status_fight_is_fought_ever_more_slowly_and_the_other_writer_named(admitlb: Reconciling) -> None:
    add_pool(admitlb)
    cluster = admitlb.cluster
    cluster.create(SERVICES, service("torn"), "default")
    admitlb.start().wait_leading()
    wait_until(lambda: shown(admitlb, "torn") == ["192.0.2.10"], 10, "it is served")

    ours = 0
    until = time.monotonic() + 6
    while time.monotonic() < until:
        if shown(admitlb, "torn") != [FOREIGN]:
            ours += 1
            write_status(cluster, "torn")
        threading.Event().wait(0.02)
    # Written at once after the first change, then after 1, 2 and 5 s.
    assert 2 <= ours <= 5
    message = wait_until(lambda: admitlb.event("torn", "StatusOverwritten"), 10, "it is told")
    assert "field manager other-balancer" in message
    # Left in peace, it is put right.
    wait_until(lambda: shown(admitlb, "torn") == ["192.0.2.10"], 20, "it shows its address again")

"""Whatever a Service asks for by now: the address its status shows stays its own, and nobody else is given it.

Each case is a Service that MetalLB served before the reconciler came. The address it shows is the lowest of the
pool, so that the next new Service would be given it if it were free.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest

from allocator.kube.client import Cluster, Object
from allocator.kube.resource import NAMESPACES, SERVICES
from allocator.objects.names import DEFAULT_NAMESPACE, IP_ADDRESS_POOLS
from tests.cluster.installation import ensure_namespace, ingress, pool, service
from tests.cluster.reconciling import Reconciling
from tests.lab.waiting import wait_until

SHOWN = "192.0.2.0"
ELSEWHERE = "elsewhere"
QUOTA = "admitlb.io/ip-quota"


@pytest.fixture(scope="module")
def installed(reconciling: Reconciling) -> Reconciling:
    ensure_namespace(reconciling.cluster, ELSEWHERE)
    return reconciling


@pytest.fixture
def admitlb(installed: Reconciling) -> Iterator[Reconciling]:
    """The same; every test starts reconcilers of its own."""
    yield installed
    installed.stop()
    for one in installed.cluster.list(SERVICES, ELSEWHERE)["items"]:
        installed.cluster.delete(SERVICES, one["metadata"]["name"], ELSEWHERE)
    installed.wipe()
    installed.cluster.patch(NAMESPACES, "default", {"metadata": {"annotations": {QUOTA: None}}})


@dataclass(frozen=True)
class Case:
    """A Service as MetalLB left it, and what is against it now."""

    annotations: dict[str, str] = field(default_factory=dict)
    spec: dict[str, Any] = field(default_factory=dict)
    pool: dict[str, Any] = field(default_factory=dict)
    quota: str | None = None
    keeps: bool = True
    """Whether it goes on showing the address; if not it may be moved, but never beside another Service."""


CASES = {
    "nothing against it": Case(),
    "quota lower than what it holds": Case(quota="0"),
    "quota malformed": Case(quota="a few"),
    "annotation and loadBalancerIP": Case({"metallb.io/loadBalancerIPs": SHOWN}, {"loadBalancerIP": SHOWN}),
    "legacy annotation and loadBalancerIP": Case(
        {"metallb.universe.tf/loadBalancerIPs": SHOWN}, {"loadBalancerIP": SHOWN}
    ),
    "loadBalancerIP is no address": Case(spec={"loadBalancerIP": "192.0.2.256"}),
    "two of one family": Case({"metallb.io/loadBalancerIPs": f"{SHOWN},192.0.2.9"}),
    "pinned to the other family": Case({"metallb.io/loadBalancerIPs": "2001:db8::9"}),
    "pinned elsewhere": Case({"metallb.io/loadBalancerIPs": "198.51.100.1"}),
    "unknown pool": Case({"metallb.io/address-pool": "unknown"}),
    "unknown pool by the legacy annotation": Case({"metallb.universe.tf/address-pool": "unknown"}),
    "empty pool name": Case({"metallb.io/address-pool": ""}),
    "names a pool closed to it": Case(
        {"metallb.io/address-pool": "p"}, pool={"serviceAllocation": {"namespaces": [ELSEWHERE]}}
    ),
    "pool closed to it": Case(pool={"serviceAllocation": {"namespaces": [ELSEWHERE]}}),
    "pool closed to its labels": Case(
        pool={"serviceAllocation": {"serviceSelectors": [{"matchLabels": {"app": "newcomer"}}]}}
    ),
    "pool not autoAssign": Case(pool={"autoAssign": False}),
    "pool avoids buggy addresses": Case(pool={"avoidBuggyIPs": True}),
    "address excluded": Case(pool={"excludeAddresses": [SHOWN]}),
    "pool reassigns what is excluded": Case(
        pool={"excludeAddresses": [SHOWN], "shrinkPolicy": "Reassign"}, keeps=False
    ),
    "sharing key": Case({"metallb.io/allow-shared-ip": "key"}),
    "sharing key longer than a claim holds": Case({"metallb.io/allow-shared-ip": "k" * 3000}),
}


def old_service(cluster: Cluster, name: str, case: Case, address: str = SHOWN) -> Object:
    """A Service as MetalLB has left it: status, and the annotation that names the pool."""
    document = service(name, {**case.annotations, "metallb.io/ip-allocated-from-pool": "p"})
    document["spec"].update(case.spec)
    created = cluster.create(SERVICES, document, "default")
    status = {"status": {"loadBalancer": {"ingress": [{"ip": address}]}}}
    cluster.patch(SERVICES, name, status, "default", subresource="status")
    return created


def shown(admitlb: Reconciling, name: str, namespace: str = "default") -> list[str]:
    return ingress(admitlb.cluster.get(SERVICES, name, namespace))


def holders(admitlb: Reconciling, address: str) -> list[str]:
    spec = admitlb.claims().get(address) or {"state": "", "holders": []}
    return [holder["name"] for holder in spec["holders"]] if spec["state"] == "Bound" else []


@pytest.mark.parametrize("which", CASES)
def test_the_next_new_service_is_not_given_the_address(admitlb: Reconciling, which: str) -> None:
    case, cluster = CASES[which], admitlb.cluster
    first = pool("p", "192.0.2.0-192.0.2.9")
    first["spec"].update(case.pool)
    cluster.create(IP_ADDRESS_POOLS, first, DEFAULT_NAMESPACE)
    cluster.create(IP_ADDRESS_POOLS, pool("z", "203.0.113.0/28"), DEFAULT_NAMESPACE)
    if case.quota is not None:
        cluster.patch(NAMESPACES, "default", {"metadata": {"annotations": {QUOTA: case.quota}}})
    old_service(cluster, "old", case)
    admitlb.start().wait_leading()

    # In the namespace that every pool of the table is open to.
    for document in (service("pinned", {"metallb.io/loadBalancerIPs": SHOWN}), service("new")):
        cluster.create(SERVICES, document, ELSEWHERE)
    wait_until(lambda: shown(admitlb, "new", ELSEWHERE), 20, "the newcomer has an address")

    if case.keeps:
        assert shown(admitlb, "old") == [SHOWN]
        assert holders(admitlb, SHOWN) == ["old"]
    every = shown(admitlb, "old") + shown(admitlb, "new", ELSEWHERE) + shown(admitlb, "pinned", ELSEWHERE)
    assert len(every) == len(set(every))


def test_what_a_service_of_another_class_shows_is_claimed_and_let_go_with_it(admitlb: Reconciling) -> None:
    admitlb.cluster.create(IP_ADDRESS_POOLS, pool("p", "192.0.2.0-192.0.2.9"), DEFAULT_NAMESPACE)
    old_service(admitlb.cluster, "old", Case())
    before = admitlb.cluster.get(SERVICES, "old", "default")
    admitlb.start("reconciler", "--lb-class=ours").wait_leading()
    wait_until(lambda: holders(admitlb, SHOWN) == ["old"], 10, "nobody else can be given it")
    assert admitlb.cluster.get(SERVICES, "old", "default")["metadata"] == before["metadata"]

    status = {"status": {"loadBalancer": {"ingress": None}}}
    admitlb.cluster.patch(SERVICES, "old", status, "default", subresource="status")
    wait_until(lambda: holders(admitlb, SHOWN) == [], 10, "it is free once it is not shown")


def test_of_two_services_that_show_one_address_the_older_keeps_it_and_the_other_is_told(
    admitlb: Reconciling,
) -> None:
    admitlb.cluster.create(IP_ADDRESS_POOLS, pool("p", "192.0.2.0-192.0.2.9"), DEFAULT_NAMESPACE)
    # By name the younger would come first.
    old_service(admitlb.cluster, "z-older", Case())
    threading.Event().wait(1.1)
    old_service(admitlb.cluster, "a-younger", Case())
    admitlb.start().wait_leading()
    wait_until(lambda: shown(admitlb, "a-younger") not in ([], [SHOWN]), 20, "the younger has moved")
    assert shown(admitlb, "z-older") == [SHOWN]
    assert holders(admitlb, SHOWN) == ["z-older"]
    message = wait_until(lambda: admitlb.event("a-younger", "ClearAssignment"), 10, "it is told")
    assert "192.0.2.0 is held by default/z-older" in message

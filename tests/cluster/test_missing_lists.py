"""However long a list cannot be read: nobody leads, nothing is marked or assigned, and readiness says why."""

from __future__ import annotations

import http.client
import threading
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import pytest

from allocator.allocation.adoption_mark import mark_of
from allocator.kube.client import Cluster, NotFound
from allocator.kube.resource import LEASES, SERVICES, Resource
from allocator.objects.names import DEFAULT_NAMESPACE, IP_ADDRESS_POOLS, RECONCILER_LEASE
from tests.cluster.installation import ingress, pool, service
from tests.cluster.reconciling import Reconciling
from tests.lab.waiting import wait_until

CLUSTER_ROLES = Resource("rbac.authorization.k8s.io", "v1", "clusterroles", "ClusterRole", namespaced=False)
ROLES = Resource("rbac.authorization.k8s.io", "v1", "roles", "Role")
OF_CLUSTER = (CLUSTER_ROLES, f"{DEFAULT_NAMESPACE}:controller", None)
OF_NAMESPACE = (ROLES, "controller", DEFAULT_NAMESPACE)


@pytest.fixture
def admitlb(reconciling: Reconciling) -> Iterator[Reconciling]:
    reconciling.cluster.create(IP_ADDRESS_POOLS, pool("p", "192.0.2.10-192.0.2.19"), DEFAULT_NAMESPACE)
    yield reconciling
    reconciling.stop()
    reconciling.wipe()


def deny(cluster: Cluster, role: tuple[Resource, str, str | None], plural: str) -> Any:
    """Take list and watch of one kind out of the shipped role; return the role as it was."""
    kind, name, namespace = role
    before = cluster.get(kind, name, namespace)
    rules = [
        {**rule, "resources": [one for one in rule["resources"] if one != plural]}
        if "list" in rule["verbs"]
        else rule
        for rule in before["rules"]
    ]
    cluster.patch(kind, name, {"rules": [rule for rule in rules if rule["resources"]]}, namespace)
    return before["rules"]


@pytest.mark.parametrize(
    ("role", "plural"),
    [
        (OF_CLUSTER, "services"),
        (OF_CLUSTER, "ipallocations"),
        (OF_CLUSTER, "namespaces"),
        (OF_NAMESPACE, "ipaddresspools"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_nothing_is_done_without_every_list(
    admitlb: Reconciling, role: tuple[Resource, str, str | None], plural: str
) -> None:
    cluster = admitlb.cluster
    cluster.create(SERVICES, service("old"), "default")
    status = {"status": {"loadBalancer": {"ingress": [{"ip": "192.0.2.10"}]}}}
    cluster.patch(SERVICES, "old", status, "default", subresource="status")
    cluster.create(SERVICES, service("new"), "default")
    rules = deny(cluster, role, plural)

    reconciler = admitlb.start()
    unsure = (OSError, http.client.HTTPException)
    wait_until(
        lambda: f"{plural} are not listed" in reconciler.readiness(), 20, "readiness says why", retry_on=unsure
    )
    threading.Event().wait(3)

    assert f"{plural} are not listed" in reconciler.readiness()
    assert ingress(cluster.get(SERVICES, "new", "default")) == []
    assert admitlb.claims() == {}
    with suppress(NotFound):
        assert not mark_of(cluster.get(LEASES, RECONCILER_LEASE, DEFAULT_NAMESPACE))

    kind, name, namespace = role
    cluster.patch(kind, name, {"rules": rules}, namespace)
    shown = wait_until(lambda: ingress(cluster.get(SERVICES, "new", "default")), 30, "it is served at last")
    assert shown == ["192.0.2.11"]
    assert ingress(cluster.get(SERVICES, "old", "default")) == ["192.0.2.10"]

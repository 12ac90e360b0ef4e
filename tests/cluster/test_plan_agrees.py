"""`plan` says of documents what a cluster makes of them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import pytest

from allocator.kube.client import ApiError, Cluster, Conflict, NotFound
from allocator.kube.resource import NAMESPACES, SERVICES, Resource
from allocator.objects.names import DEFAULT_NAMESPACE, IP_ADDRESS_POOLS, IP_ALLOCATIONS
from tests.cluster.installation import Installation, ingress
from tests.lab.waiting import wait_until
from tests.unit.commands.manifests import deleted, namespace, plan, pool, service

Object = dict[str, Any]
RESOURCES = {resource.kind: resource for resource in (IP_ADDRESS_POOLS, NAMESPACES, SERVICES)}

HOMES = ("prod", "dev")
MAIN = pool("main", "192.0.2.10-192.0.2.12")
SHARED = {"allow-shared-ip": "k"}
TLS = [{"port": 443, "protocol": "TCP"}]
OPEN_TO_TEAM = {"namespaceSelectors": [{"matchLabels": {"team": "a"}}]}


def pinned(ip: str) -> dict[str, str]:
    return {"loadBalancerIPs": ip}


SCENARIOS: dict[str, list[Object]] = {
    "exhausted, then released": [
        MAIN,
        *(service(name) for name in ("a", "b", "c", "d")),
        deleted(service("b")),
    ],
    "before its pool": [service("early"), MAIN],
    "denied updates": [
        MAIN,
        service("a"),
        service("b"),
        service("a", annotations=pinned("nonsense")),
        pool("main", "192.0.2.12"),
        pool("other", "192.0.2.0/24"),
        deleted(MAIN),
    ],
    "requests that change": [
        MAIN,
        service("a"),
        service("b", annotations=pinned("192.0.2.10")),
        service("a", annotations=pinned("192.0.2.12")),
    ],
    "sharing": [
        MAIN,
        service("http", annotations=SHARED),
        service("https", annotations=SHARED, ports=TLS),
        service("again", annotations=SHARED, ports=TLS),
        service("http", annotations={"allow-shared-ip": "other"}),
    ],
    "drain": [MAIN, service("a"), pool("main", "192.0.2.12", shrinkPolicy="Drain"), service("b"), service("c")],
    "reassign": [MAIN, service("a"), pool("main", "192.0.2.12", shrinkPolicy="Reassign"), service("b")],
    "quota": [
        MAIN,
        namespace("prod", quota="1"),
        service("a"),
        service("b"),
        namespace("prod", quota="2"),
        service("b"),
    ],
    "namespace labels": [
        pool("tenant", "192.0.2.20", serviceAllocation=OPEN_TO_TEAM),
        service("a"),
        namespace("prod", team="a"),
    ],
    "type and class": [
        MAIN,
        service("a"),
        service("a", type="ClusterIP"),
        service("b", annotations={"address-pool": "main"}),
        service("c", namespace="dev"),
    ],
    "cooling": [
        pool("two", "192.0.2.10-192.0.2.11"),
        service("a"),
        deleted(service("a")),
        service("b"),
        service("a"),
    ],
}


@pytest.fixture(scope="module")
def admitlb(installed: Installation) -> Iterator[Installation]:
    for name in HOMES:
        installed.cluster.create(NAMESPACES, namespace(name))
    yield installed
    for name in HOMES:
        installed.cluster.delete(NAMESPACES, name)


@pytest.mark.parametrize("name", SCENARIOS)
def test_plan_and_cluster_agree(admitlb: Installation, name: str) -> None:
    documents = SCENARIOS[name]
    try:
        planned = plan(*documents)
        codes = [_apply(admitlb, document) for document in documents]
        assert _listed(documents, codes) == planned.codes, planned.documents
        expected = {key: tuple(one["ips"]) for key, one in planned.services.items() if one["state"] != "Denied"}
        wait_until(lambda: _shown(admitlb.cluster) == expected, 10, f"the cluster shows {expected}")
    finally:
        _clear(admitlb)


def _listed(documents: list[Object], codes: list[int]) -> list[int]:
    """The codes of those documents that plan lists."""
    return [
        code
        for document, code in zip(documents, codes, strict=True)
        if (document["kind"] != "Service" or document["spec"]["type"] == "LoadBalancer")
        and (document["kind"] != "Namespace" or "admitlb.io/ip-quota" in document["metadata"].get("annotations", {}))
    ]


def _apply(admitlb: Installation, document: Object) -> int:
    """Create, update or delete as the document says, wait until its effect is seen, and return admission's code."""
    cluster, metadata = admitlb.cluster, document["metadata"]
    resource, where = RESOURCES[document["kind"]], metadata.get("namespace")
    try:
        if "deletionTimestamp" in metadata:
            cluster.delete(resource, metadata["name"], where)
        else:
            _put(cluster, resource, document)
    except ApiError as error:
        return error.status
    _settle(admitlb)
    return 200


def _put(cluster: Cluster, resource: Resource, document: Object) -> None:
    metadata = document["metadata"]
    try:
        stored = cluster.get(resource, metadata["name"], metadata.get("namespace"))
    except NotFound:
        cluster.create(resource, document, metadata.get("namespace"))
        return
    new = {**document, "metadata": {**metadata, "resourceVersion": stored["metadata"]["resourceVersion"]}}
    if resource is SERVICES:
        new["spec"] = {**document["spec"], "clusterIP": stored["spec"]["clusterIP"]}
    cluster.replace(resource, new)


def _settle(admitlb: Installation) -> None:
    """Wait until the reconcilers have nothing left to do: a Service made now is seen and its release too."""
    probe = pool("probe", "198.51.100.99", autoAssign=False, reuseDelaySeconds=0)
    cluster = admitlb.cluster
    cluster.create(IP_ADDRESS_POOLS, probe, DEFAULT_NAMESPACE)
    cluster.create(SERVICES, service("probe", namespace="default", annotations={"address-pool": "probe"}), "default")
    admitlb.wait_assigned("default", "probe")
    cluster.delete(SERVICES, "probe", "default")
    admitlb.wait_released("198.51.100.99")
    wait_until(lambda: _deleted(cluster, "probe"), 10, "the pool is deleted", retry_on=(Conflict,))


def _deleted(cluster: Cluster, name: str) -> bool:
    """Admission knows of a release a moment after it, and until then protects the pool."""
    cluster.delete(IP_ADDRESS_POOLS, name, DEFAULT_NAMESPACE)
    return True


def _shown(cluster: Cluster) -> dict[str, tuple[str, ...]]:
    return {
        f"{one['metadata']['namespace']}/{one['metadata']['name']}": tuple(ingress(one))
        for one in cluster.list(SERVICES)["items"]
        if one["metadata"]["namespace"] in HOMES
    }


def _clear(admitlb: Installation) -> None:
    cluster = admitlb.cluster
    for one in cluster.list(SERVICES)["items"]:
        if one["metadata"]["namespace"] in HOMES:
            cluster.delete(SERVICES, one["metadata"]["name"], one["metadata"]["namespace"])
    for one in cluster.list(IP_ADDRESS_POOLS, DEFAULT_NAMESPACE)["items"]:
        spec = {"spec": {"shrinkPolicy": "Drain", "reuseDelaySeconds": 0}}
        cluster.patch(IP_ADDRESS_POOLS, one["metadata"]["name"], spec, DEFAULT_NAMESPACE)
        cluster.delete(IP_ADDRESS_POOLS, one["metadata"]["name"], DEFAULT_NAMESPACE)
    wait_until(
        lambda: not [spec for spec in admitlb.claims().values() if spec["state"] != "Cooling"], 20, "nothing is held"
    )
    for claim in cluster.list(IP_ALLOCATIONS)["items"]:
        with suppress(NotFound):
            cluster.delete(IP_ALLOCATIONS, claim["metadata"]["name"])
    for name in HOMES:
        _put(cluster, NAMESPACES, namespace(name))

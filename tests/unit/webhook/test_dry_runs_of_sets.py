"""A tool dry-runs one object after the other of what it applies together: which contradictions that lets pass."""

from __future__ import annotations

import itertools
from typing import Any, cast

import pytest

from allocator.allocation.cache import ClaimCache
from allocator.kube.client import Cluster
from allocator.kube.resource import Resource
from allocator.objects import names
from allocator.rules.verdict import Rules
from webhook.config_admission import ConfigAdmission
from webhook.review import AdmissionRequest, Answer

Object = dict[str, Any]
TOOL = "kustomize-controller"


class Stored(Cluster):
    """An API server that holds these objects and no node."""

    def __init__(self, *objects: Object) -> None:
        self.objects = objects

    def list(self, resource: Resource, namespace: str | None = None, **_: Any) -> Object:  # noqa: ARG002
        return {"items": [one for one in self.objects if one["kind"] == resource.kind]}

    def get(self, resource: Resource, name: str, namespace: str | None = None) -> Object:  # noqa: ARG002
        return {"spec": {"clusterIP": "10.96.0.1"}}

    def pages(self, resource: Resource, namespace: str | None = None, **_: Any) -> Any:
        yield self.list(resource, namespace)


def of(kind: Resource, name: str, spec: Object, *, manager: str = TOOL, operation: str = "Apply") -> Object:
    """An object whose spec the manager wrote."""
    written = {"manager": manager, "operation": operation, "fieldsV1": {"f:spec": {"f:addresses": {}}}}
    metadata = {"name": name, "namespace": names.DEFAULT_NAMESPACE, "managedFields": [written]}
    return {"apiVersion": kind.api_version, "kind": kind.kind, "metadata": metadata, "spec": spec}


def answer(new: Object, *stored: Object, dry_run: bool = True, manager: str = TOOL) -> Answer:
    cluster = Stored(*stored)
    cache = ClaimCache(cast(Cluster, cluster), namespace=names.DEFAULT_NAMESPACE)
    old = next((one for one in stored if one["metadata"]["name"] == new["metadata"]["name"]), None)
    review = AdmissionRequest(
        uid="1",
        operation="UPDATE" if old is not None else "CREATE",
        group=new["apiVersion"].partition("/")[0],
        kind=new["kind"],
        resource="",
        namespace=names.DEFAULT_NAMESPACE,
        name=new["metadata"]["name"],
        object=new,
        old_object=old,
        dry_run=dry_run,
        field_manager=manager,
    )
    return ConfigAdmission(cluster, cache, rules=Rules()).answer(review)


def pool(name: str, *addresses: str, **how: str) -> Object:
    return of(names.IP_ADDRESS_POOLS, name, {"addresses": list(addresses)}, **how)


def peer(name: str, asn: int, **how: str) -> Object:
    spec = {"myASN": asn, "peerASN": 64999, "peerAddress": f"192.0.2.{len(name)}"}
    return of(names.BGP_PEERS, name, spec, **how)


def community(name: str, alias: str, **how: str) -> Object:
    return of(names.COMMUNITIES, name, {"communities": [{"name": alias, "value": "65000:1"}]}, **how)


CONTRADICTIONS = {
    "a new pool": (pool("new", "192.0.2.8/29"), pool("old", "192.0.2.0/28")),
    "a pool that grows": (
        pool("new", "192.0.2.8/29"),
        pool("old", "192.0.2.0/28"),
        pool("new", "198.51.100.0/24"),
    ),
    "peers of two AS numbers": (peer("one", 64512), peer("other", 64513)),
    "an alias in two Communities": (community("one", "blue"), community("other", "blue")),
}


@pytest.mark.parametrize("case", CONTRADICTIONS)
@pytest.mark.parametrize(
    ("dry_run", "manager", "operation", "others"),
    list(itertools.product((True, False), (TOOL, ""), ("Apply", "Update"), (TOOL, "kubectl"))),
)
def test_only_a_dry_run_of_an_apply_by_who_wrote_the_other_passes(
    case: str, dry_run: bool, manager: str, operation: str, others: str
) -> None:
    new, *stored = (dict(one, metadata=dict(one["metadata"])) for one in CONTRADICTIONS[case])
    new["metadata"]["managedFields"] = [dict(new["metadata"]["managedFields"][0], operation=operation)]
    for one in stored:
        one["metadata"]["managedFields"] = [dict(one["metadata"]["managedFields"][0], manager=others)]
    given = answer(new, *stored, dry_run=dry_run, manager=manager)
    passes = dry_run and manager == TOOL == others and operation == "Apply"
    assert given.allowed is passes, given
    if passes:
        refusal = answer(new, *stored, dry_run=False).message
        assert given.warnings[-1].endswith(f"changes in the same set what it contradicts: {refusal}")


@pytest.mark.parametrize(
    ("new", "stored"),
    [
        (pool("new", "192.0.2.8-192.0.2.1"), pool("old", "192.0.2.0/28")),
        (pool("new", "192.0.2.8/29", "192.0.2.8/30"), pool("old", "192.0.2.0/28")),
    ],
    ids=["malformed", "overlaps itself"],
)
def test_what_is_wrong_by_itself_is_refused_on_a_dry_run_too(new: Object, stored: Object) -> None:
    given = answer(new, stored)
    assert (given.allowed, given.code) == (False, 422)
    # All of it, so that one reading is enough.
    assert given.message == answer(new, stored, dry_run=False).message


def test_a_second_writer_of_the_other_object_does_not_hide_the_first() -> None:
    both = pool("old", "192.0.2.0/28")
    both["metadata"]["managedFields"].append(
        {"manager": "admitlb", "operation": "Update", "fieldsV1": {"f:status": {"f:conditions": {}}}}
    )
    assert answer(pool("new", "192.0.2.8/29"), both).allowed
    status_only = pool("old", "192.0.2.0/28", manager="kubectl")
    status_only["metadata"]["managedFields"].append(
        {"manager": TOOL, "operation": "Update", "fieldsV1": {"f:status": {}}}
    )
    assert not answer(pool("new", "192.0.2.8/29"), status_only).allowed

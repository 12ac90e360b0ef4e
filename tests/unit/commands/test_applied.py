"""What a live object becomes when a document is applied to it."""

from __future__ import annotations

import json
from typing import Any

import pytest

from allocator.offline.applied import LAST_APPLIED, applied

Object = dict[str, Any]


def live(spec: Object, *, annotations: Object | None = None, managed: list[Object] | None = None) -> Object:
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {
            "name": "web",
            "uid": "1",
            "annotations": annotations or {},
            "managedFields": managed or [],
        },
        "spec": spec,
        "status": {"loadBalancer": {"ingress": [{"ip": "192.0.2.1"}]}},
    }


def document(spec: Object, **annotations: str) -> Object:
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": "web", "annotations": annotations},
        "spec": spec,
    }


def by_kubectl(former: Object) -> Object:
    return {"annotations": {LAST_APPLIED: json.dumps(former)}}


def by_server(fields: Object, *, operation: str = "Apply", subresource: str = "") -> Object:
    return {"managed": [{"operation": operation, "fieldsV1": fields, "subresource": subresource}]}


FORMER = document({"loadBalancerIP": "192.0.2.1", "selector": {"app": "web"}})
OWNED = {"f:spec": {"f:loadBalancerIP": {}, "f:selector": {"f:app": {}}, "f:ports": {'k:{"port":80}': {".": {}}}}}
LIVE = {"loadBalancerIP": "192.0.2.1", "selector": {"app": "web", "other": "x"}, "clusterIP": "10.0.0.1"}


@pytest.mark.parametrize("known", [by_kubectl(FORMER), by_server(OWNED)])
def test_what_an_earlier_apply_set_and_this_one_does_not_goes(known: Object) -> None:
    after = applied(live(LIVE, **known), document({"selector": {"app": "api"}}))
    assert after["spec"] == {"selector": {"app": "api", "other": "x"}, "clusterIP": "10.0.0.1"}


@pytest.mark.parametrize(
    "known", [{}, by_server(OWNED, operation="Update"), by_server(OWNED, subresource="status"), by_kubectl({})]
)
def test_what_somebody_else_set_stays(known: Object) -> None:
    after = applied(live(LIVE, **known), document({"selector": {"app": "api"}}))
    assert after["spec"] == {**LIVE, "selector": {"app": "api", "other": "x"}}


def bare(spec: Object) -> Object:
    """A document that has no annotations."""
    return {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "web"}, "spec": spec}


@pytest.mark.parametrize("metadata", [{"name": "web"}, {"name": "web", "annotations": None}])
def test_a_document_without_annotations_leaves_those_that_no_apply_set(metadata: Object) -> None:
    last = json.dumps({**bare({}), "metadata": {"name": "web", "annotations": {"mine": "1"}}})
    known = {LAST_APPLIED: last, "mine": "1", "another": "2"}
    after = applied(live({}, annotations=known), {**bare({}), "metadata": metadata})
    assert after["metadata"]["annotations"] == {LAST_APPLIED: last, "another": "2"}


def test_kubectl_removes_any_other_map_that_it_applied_and_no_longer_does() -> None:
    """Its patch has null for what the document before has and this one has not, whoever added to the map since."""
    held = live({"selector": {"app": "web", "other": "x"}}, **by_kubectl(bare({"selector": {"app": "web"}})))
    held["metadata"]["labels"] = {"other": "x"}
    assert applied(held, bare({}))["spec"] == {}
    assert applied(held, bare({}))["metadata"]["labels"] == {"other": "x"}


@pytest.mark.parametrize(
    ("owned", "left"),
    [
        ({".": {}, "f:mine": {}}, {"another": "2"}),
        ({"f:mine": {}}, {"another": "2"}),
        ({".": {}}, {"mine": "1", "another": "2"}),
        ({"f:mine": {}, "f:another": {}}, None),
        ({}, None),
    ],
)
@pytest.mark.parametrize("kind", ["annotations", "labels"])
def test_at_the_server_a_map_loses_what_was_applied(kind: str, owned: Object, left: Object | None) -> None:
    held = live({}, **by_server({"f:metadata": {f"f:{kind}": owned}}))
    held["metadata"][kind] = {"mine": "1", "another": "2"}
    assert applied(held, bare({}))["metadata"].get(kind) == left


def test_lists_are_replaced_and_null_removes() -> None:
    after = applied(
        live({"ports": [{"port": 80}], "loadBalancerIP": "x"}), document({"ports": [], "loadBalancerIP": None})
    )
    assert after["spec"] == {"ports": []}


def test_it_stays_the_same_object_and_its_status_is_not_the_documents() -> None:
    after = applied(live({}), document({}, a="b"))
    assert after["metadata"] == {"name": "web", "uid": "1", "annotations": {"a": "b"}}
    assert "status" not in after


@pytest.mark.parametrize(
    ("policy", "asked", "left"),
    [
        ("SingleStack", {}, {"ipFamilies": ["IPv4"], "clusterIP": "10.0.0.1"}),
        ("PreferDualStack", {}, {}),
        ("PreferDualStack", {"ipFamilies": ["IPv6", "IPv4"]}, {"ipFamilies": ["IPv6", "IPv4"]}),
    ],
)
def test_another_family_policy_lets_the_server_choose_anew(policy: str, asked: Object, left: Object) -> None:
    before = {"ipFamilyPolicy": "SingleStack", "ipFamilies": ["IPv4"], "clusterIP": "10.0.0.1"}
    after = applied(live(before), document({"ipFamilyPolicy": policy, **asked}))
    assert after["spec"] == {"ipFamilyPolicy": policy, **left}


def test_an_annotation_that_is_no_json_is_no_knowledge() -> None:
    assert applied(live(LIVE, annotations={LAST_APPLIED: "{"}), document({}))["spec"] == LIVE

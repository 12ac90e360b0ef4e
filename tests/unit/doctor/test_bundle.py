"""The report to attach to a bug has what is known of the cluster, and no password, token or key."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from allocator.doctor.bundle import KEPT, bundle_of
from allocator.doctor.catalogue import diagnose
from allocator.doctor.facts import CONFIG_MAPS, PODS
from allocator.doctor.finding import error
from allocator.kube.resource import MUTATING_WEBHOOKS, SECRETS, SERVICES, Resource
from allocator.objects import names
from tests.unit.commands import manifests
from tests.unit.doctor.clusters import HOME, TOKEN, authority, broken, findings, healthy
from tests.unit.rules.test_bgp_invariants import fields_of

MARK = "hunter2"
Objects = dict[Resource, list[Any]]


def text(change: Any) -> str:
    facts = broken(change)
    return json.dumps(bundle_of(facts, diagnose(facts), version="1"))


def peer(**spec: Any) -> dict[str, Any]:
    last = json.dumps({"spec": {"password": MARK}})
    return {
        "apiVersion": "metallb.io/v1beta2",
        "kind": "BGPPeer",
        "metadata": {
            "name": "tor",
            "namespace": HOME,
            "annotations": {"kubectl.kubernetes.io/last-applied-configuration": last},
            "managedFields": [{"fieldsV1": {f"f:{MARK}": {}}}],
        },
        "spec": {"myASN": 64500, "peerASN": 64501, "peerAddress": "192.0.2.254", **spec},
    }


def test_it_has_findings_and_objects() -> None:
    facts = broken(lambda o: o[names.L2_ADVERTISEMENTS].clear())
    told = bundle_of(facts, diagnose(facts), version="1")
    assert [one["check"] for one in told["findings"]] == ["pool-coverage"]
    assert told["objects"]["ipaddresspools"][0]["spec"]["addresses"] == ["192.0.2.10-192.0.2.19"]
    assert told["objects"]["ipallocations"][0]["status"]["announcedBy"]["node"] == "node-1"
    assert told["objects"]["leases"][1]["metadata"]["annotations"]["admitlb.io/heard-speakers"] == "1"
    assert told["objects"]["pods"][0]["spec"] == {
        "nodeName": "node-1",
        "containers": [{"name": "controller", "image": "admitlb:1"}],
    }
    assert told["kubernetes"] == "v1.31.0"


SECRETIVE: dict[str, Any] = {
    "a peer's password": lambda o: o[names.BGP_PEERS].append(peer(password=MARK)),
    "what kubectl remembers of it": lambda o: o[names.BGP_PEERS].append(peer()),
    "a variable of a container": lambda o: o[PODS][0]["spec"]["containers"][0].update(
        env=[{"name": "PASSWORD", "value": MARK}], args=[f"--password={MARK}"]
    ),
    "the reason a container waits for": lambda o: o[PODS][0]["status"]["containerStatuses"][0].update(
        state={"waiting": {"reason": "ImagePullBackOff", "message": f"https://user:{MARK}@registry"}}
    ),
    "a Secret": lambda o: o.update({SECRETS: [{"metadata": {"name": "x"}, "data": {"password": MARK}}]}),
    "a ConfigMap": lambda o: o[CONFIG_MAPS][0]["data"].update({"kubeconfig.conf": MARK}),
    "a Service of another kind": lambda o: o[SERVICES].append(
        {"metadata": {"name": MARK, "namespace": "prod"}, "spec": {"type": "ClusterIP"}}
    ),
    "a Service's annotation of others": lambda o: o[SERVICES].append(
        manifests.service("web2", annotations={"example.com/password": MARK})
    ),
    "a webhook of others": lambda o: o[MUTATING_WEBHOOKS].append(
        {"metadata": {"name": "other"}, "webhooks": [{"clientConfig": {"url": MARK}}]}
    ),
    "a Pod of others": lambda o: o[PODS].append({"metadata": {"name": MARK, "namespace": "prod"}, "spec": {}}),
}


@pytest.mark.parametrize("change", SECRETIVE.values(), ids=SECRETIVE)
def test_no_secret_is_in_it(change: Any) -> None:
    assert MARK not in text(change)


def test_no_path_token_and_no_certificate_is_in_it() -> None:
    written = text(lambda _: None)
    assert "/validate/(token)" in written
    assert TOKEN not in written
    assert authority() not in written


def test_the_digest_of_an_image_stays_and_says_which_build_it_is() -> None:
    digest = f"registry.example.com/admitlb@sha256:{TOKEN}"
    assert digest in text(lambda o: o[PODS][0]["status"]["containerStatuses"][0].update(imageID=digest))


URL = f"https://admin:{MARK}@192.0.2.7/validate/{TOKEN}"


def _conditions(objects: Objects) -> None:
    conditions = [{"type": "Ready", "status": "False", "reason": "X", "message": f"Post {URL}: refused"}]
    objects[names.BGP_PEERS].append({**peer(), "status": {"conditions": conditions}})
    objects[SERVICES][0]["status"]["conditions"] = conditions
    objects[names.IP_ADDRESS_POOLS][0]["status"] = {"conditions": conditions}
    objects[names.IP_ALLOCATIONS][0]["status"]["conditions"] = conditions


ANYWHERE: dict[str, Any] = {
    "the URL of a webhook": lambda o: o[MUTATING_WEBHOOKS][0]["webhooks"][0].update(clientConfig={"url": URL}),
    "conditions": _conditions,
    "an annotation of ours": lambda o: o[SERVICES].append(
        manifests.service("web2", annotations={"admitlb.io/note": URL})
    ),
    "a label": lambda o: o[SERVICES][0]["metadata"].update(labels={"x": TOKEN}),
}


@pytest.mark.parametrize("change", ANYWHERE.values(), ids=ANYWHERE)
def test_tokens_and_credentials_are_in_no_text_of_it(change: Any) -> None:
    written = text(change)
    assert TOKEN not in written
    assert MARK not in written


def test_why_a_kind_was_not_read_and_findings_hold_none_either() -> None:
    facts = replace(healthy(), unread={SECRETS: f"500 Post {URL}"})
    written = json.dumps(bundle_of(facts, [error("x", f"leads to {URL}", f"curl {URL}")], version="1"))
    assert TOKEN not in written
    assert MARK not in written


def test_of_a_webhooks_url_doctor_shows_scheme_and_host() -> None:
    (finding,) = findings(broken(ANYWHERE["the URL of a webhook"]))
    assert finding.message == "leads to https://192.0.2.7"


@given(field=st.text(alphabet="abcdefgh", min_size=9, max_size=12), where=st.integers(0, 400))
def test_a_field_that_nobody_named_is_left_out(field: str, where: int) -> None:
    """Wherever in an object of which not all is kept a field is added, it is not in the bundle."""

    def change(objects: Objects) -> None:
        places = [
            place
            for kind, fields in KEPT.items()
            for document in objects.get(kind, ())
            for place in _partly_kept(document, fields)
        ]
        places[where % len(places)][field] = MARK

    assert MARK not in text(change)


def _partly_kept(value: Any, fields: Any) -> Iterator[dict[str, Any]]:
    """The maps of an object of which some fields are kept and others are not."""
    yield value
    for key, kept in fields.items():
        inner = value.get(key)
        if kept is not True:
            for one in inner if isinstance(inner, list) else [inner] if isinstance(inner, dict) else []:
                yield from _partly_kept(one, kept)


def test_of_a_bgp_peer_all_but_the_password_is_in_it() -> None:
    assert set(KEPT[names.BGP_PEERS]["spec"]) == fields_of("bgppeers.metallb.io") - {"password"}


def test_kinds_that_are_not_named_are_not_in_it() -> None:
    assert SECRETS not in KEPT
    assert CONFIG_MAPS not in KEPT
    facts = healthy()
    strange = Resource("example.com", "v1", "vaults", "Vault")
    facts = replace(facts, objects={**facts.objects, strange: [{"metadata": {"name": MARK}}]})
    assert MARK not in json.dumps(bundle_of(facts, [], version="1"))

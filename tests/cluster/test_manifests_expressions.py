"""The expressions in components, for API servers newer than most test runs have.

They are evaluated by the CEL implementation of CEL's authors, on objects as API servers send them: what a match
condition keeps from the webhook is what the webhook would have left alone, and what a rule of a definition refuses
is what the webhook refuses.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from allocator.core.addresses import AddressError, AddressRange
from allocator.core.requests import ServiceRequest
from allocator.core.verdicts import Decision
from allocator.kube.client import Object
from allocator.objects import names
from allocator.rules.namespace import review_namespace
from allocator.rules.service import review_service
from allocator.rules.verdict import Rules, Verdict
from tests.cluster.cel import holds
from tests.cluster.overlays import compose, render

SERVICE_TYPES = ("ClusterIP", "NodePort", "LoadBalancer", "ExternalName")


@pytest.fixture(scope="module")
def rendered(tmp_path_factory: pytest.TempPathFactory) -> list[Object]:
    return render(compose(tmp_path_factory.mktemp("cel"), "match-conditions", "cel-validation"))


def condition_of(rendered: list[Object], webhook: str) -> str:
    (found,) = (entry for obj in rendered for entry in obj.get("webhooks", ()) if entry["name"] == webhook)
    (condition,) = found["matchConditions"]
    return str(condition["expression"])


def rules_of(rendered: list[Object], definition: str, *path: str) -> list[str]:
    (found,) = (obj for obj in rendered if obj["metadata"]["name"] == definition)
    schema: Any = found["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
    for step in path:
        schema = schema["items"] if step == "[]" else schema["properties"][step]
    return [rule["rule"] for rule in schema["x-kubernetes-validations"]]


def service(kind: str | None, **metadata: Any) -> Object:
    spec: Object = {"ports": [{"port": 80, "protocol": "TCP"}], **({"type": kind} if kind else {})}
    return {"metadata": {"namespace": "default", "name": "web", **metadata}, "spec": spec}


def undecided(request: ServiceRequest) -> Decision:
    raise AssertionError(f"{request} would have been decided on")


@pytest.mark.parametrize("kind", [*SERVICE_TYPES, None], ids=str)
@pytest.mark.parametrize("old", [*SERVICE_TYPES, ""], ids=lambda old: f"was-{old or 'not'}")
def test_only_services_the_webhook_leaves_alone_are_kept_from_it(
    rendered: list[Object], kind: str | None, old: str
) -> None:
    shown = {"admitlb.io/assigned-ips": "192.0.2.1", "metallb.io/ip-allocated-from-pool": "main"}
    new = service(kind, annotations=shown)
    before = service(old, annotations=shown) if old else None
    variables = {"object": new, "oldObject": before}

    asked = holds(condition_of(rendered, "services.admitlb.io"), variables)

    assert asked is (kind == "LoadBalancer")
    if not asked:
        assert review_service(new, before, namespace=None, rules=Rules(strict=True), decide=undecided) == Verdict()


@pytest.mark.parametrize(
    "annotations",
    [
        None,
        {},
        {"a": "b"},
        {"example.com/metallb.io": "b"},
        {"admitlb.io/ip-quota": "3"},
        {"a": "b", "admitlb.io/ip-quota": "many"},
        {"admitlb.io/quota": "3"},
        {"metallb.io/address-pool": "lan"},
        {"metallb.universe.tf/address-pool": "lan"},
    ],
    ids=str,
)
def test_only_namespaces_without_annotations_of_ours_are_kept_from_the_webhook(
    rendered: list[Object], annotations: dict[str, str] | None
) -> None:
    metadata = {"name": "team", **({"annotations": annotations} if annotations is not None else {})}
    namespace: Object = {"metadata": metadata}

    asked = holds(condition_of(rendered, "namespaces.admitlb.io"), {"object": namespace, "oldObject": None})

    assert asked is any(key.startswith(names.ANNOTATION_PREFIXES) for key in annotations or {})
    if not asked:
        assert review_namespace(namespace) == Verdict()


def written_addresses() -> st.SearchStrategy[str]:
    address = st.one_of(st.ip_addresses(v=4).map(str), st.ip_addresses(v=6).map(str))
    space = st.sampled_from(["", " ", "\t"])
    single = st.tuples(space, address, space).map("".join)
    ranges = st.tuples(single, st.just("-"), single).map("".join)
    networks = st.tuples(single, st.just("/"), st.integers(0, 130).map(str)).map("".join)
    noise = st.text(alphabet="0123456789abcdefxyz.:-/ ", max_size=30)
    return st.one_of(single, ranges, networks, noise)


@settings(max_examples=150, deadline=None)
@given(text=written_addresses())
def test_whatever_admission_takes_for_addresses_passes_the_rule(rendered: list[Object], text: str) -> None:
    try:
        AddressRange.parse(text)
    except AddressError:
        return
    assert holds(rule_for_addresses(rendered), {"self": text})


@pytest.mark.parametrize("text", ["", "default", "192.0.2.1,192.0.2.2", "fe80::1%eth0", "192.0.2.0/", "192.0.2.1-"])
def test_what_nobody_can_mean_as_addresses_is_refused_by_the_rule(rendered: list[Object], text: str) -> None:
    assert not holds(rule_for_addresses(rendered), {"self": text})


def test_both_lists_of_addresses_are_held_to_the_same_rule(rendered: list[Object]) -> None:
    assert rule_for_addresses(rendered, "excludeAddresses") == rule_for_addresses(rendered)


def test_an_allocation_cannot_come_to_stand_for_another_address(rendered: list[Object]) -> None:
    (rule,) = rules_of(rendered, "ipallocations.admitlb.io", "spec", "address")

    assert holds(rule, {"self": "192.0.2.1", "oldSelf": "192.0.2.1"})
    assert not holds(rule, {"self": "192.0.2.2", "oldSelf": "192.0.2.1"})


@pytest.mark.parametrize(
    ("spec", "fine"),
    [
        ({"peerASN": 1, "peerAddress": "10.0.0.1"}, True),
        ({"dynamicASN": "external", "interface": "eth0"}, True),
        ({"peerAddress": "10.0.0.1"}, False),
        ({"peerASN": 1, "dynamicASN": "external", "peerAddress": "10.0.0.1"}, False),
        ({"peerASN": 1, "peerAddress": "10.0.0.1", "interface": "eth0"}, False),
        ({"peerASN": 1}, False),
    ],
    ids=str,
)
def test_a_peer_has_one_number_and_one_way_to_reach_it(
    rendered: list[Object], spec: dict[str, Any], fine: bool
) -> None:
    rules = rules_of(rendered, "bgppeers.metallb.io", "spec")

    assert all(holds(rule, {"self": {"myASN": 2, **spec}}) for rule in rules) is fine


def test_the_base_has_no_expression_that_an_older_server_would_refuse(tmp_path: Path) -> None:
    text = str(render(compose(tmp_path / "plain")))

    assert [word for word in ("x-kubernetes-validations", "matchConditions") if word in text] == []


def rule_for_addresses(rendered: list[Object], field: str = "addresses") -> str:
    (rule,) = rules_of(rendered, "ipaddresspools.metallb.io", "spec", field, "[]")
    return rule

"""The manifests and the code call things by the same names."""

from __future__ import annotations

import pytest

from allocator.kube.resource import Resource
from allocator.objects import names
from allocator.reconciler import configuration_state
from tests.unit.manifests.documents import MANIFESTS, named, shipped


def test_every_manifest_is_applied() -> None:
    files = {path.relative_to(MANIFESTS).as_posix() for path in MANIFESTS.rglob("*.yaml")}
    text = (MANIFESTS / "kustomization.yaml").read_text()

    assert [name for name in sorted(files - {"kustomization.yaml"}) if f"- {name}\n" not in text] == []


@pytest.mark.parametrize(
    "resource",
    [
        names.IP_ADDRESS_POOLS,
        names.L2_ADVERTISEMENTS,
        names.IP_ALLOCATIONS,
        names.CONFIGURATION_STATES,
        names.SERVICE_L2_STATUSES,
        names.SERVICE_BGP_STATUSES,
        names.BGP_NODE_STATUSES,
        *names.BGP_KINDS,
    ],
    ids=lambda resource: resource.plural,
)
def test_a_definition_matches_the_resource_the_code_asks_for(resource: Resource) -> None:
    definition = named("CustomResourceDefinition", f"{resource.plural}.{resource.group}")["spec"]

    assert definition["names"]["kind"] == resource.kind
    assert (definition["scope"] == "Namespaced") is resource.namespaced
    assert [version["name"] for version in definition["versions"]] == [resource.version]
    in_one_write = resource in (names.SERVICE_L2_STATUSES, names.SERVICE_BGP_STATUSES)
    assert definition["versions"][0].get("subresources") == (None if in_one_write else {"status": {}})


@pytest.mark.parametrize("kind", ["MutatingWebhookConfiguration", "ValidatingWebhookConfiguration"])
def test_the_webhook_is_registered_under_the_names_it_looks_for(kind: str) -> None:
    for webhook in named(kind, names.WEBHOOK_CONFIGURATION)["webhooks"]:
        service = webhook["clientConfig"]["service"]
        assert (service["namespace"], service["name"]) == (names.DEFAULT_NAMESPACE, names.WEBHOOK_SERVICE)


def test_everything_namespaced_lives_in_the_one_namespace() -> None:
    spaces = {obj["metadata"]["namespace"] for obj in shipped() if "namespace" in obj["metadata"]}

    assert spaces == {names.DEFAULT_NAMESPACE}


def test_metrics_of_every_component_are_found_by_one_label_and_one_port_name() -> None:
    scraped = [
        service["spec"]["selector"]["component"]
        for service in shipped("Service")
        if service["metadata"]["labels"]["app"] == "metallb" and service["spec"]["ports"][0]["name"] == "monitoring"
    ]

    assert sorted(scraped) == ["controller", "controller", "speaker"]


def test_every_name_that_a_role_is_held_to_is_one_the_code_uses() -> None:
    used = {
        names.WEBHOOK_CONFIGURATION,
        names.WEBHOOK_CERTIFICATE_SECRET,
        names.SPEAKER_KEY_SECRET,
        names.RECONCILER_LEASE,
        configuration_state.NAME,
    }
    roles = shipped("ClusterRole") + shipped("Role")

    held_to = {name for role in roles for rule in role["rules"] for name in rule.get("resourceNames", ())}

    assert held_to == used


def test_every_definition_is_of_a_kind_the_code_names() -> None:
    known = {value for value in vars(names).values() if isinstance(value, Resource)}
    plurals = {f"{resource.plural}.{resource.group}" for resource in known}

    defined = {definition["metadata"]["name"] for definition in shipped("CustomResourceDefinition")}

    assert defined - plurals == set()

"""Which changes give a webhook configuration our authority's certificates and our paths."""

from __future__ import annotations

import base64
from typing import Any

import pytest

from webhook.configuration_patch import Caller, callers, patch_of
from webhook.routes import SERVICES, route_of
from webhook.self_check import wrong_with_port

BUNDLE = b"-----BEGIN CERTIFICATE-----\n"
ENCODED = base64.b64encode(BUNDLE).decode()
OURS = ("metallb-system", "webhook")
SERVICE_RULES = [{"apiGroups": [""], "apiVersions": ["v1"], "resources": ["services"], "operations": ["CREATE"]}]
SECRET_PATH = "/mutate-v1-service/" + "0" * 64


def configuration(*bundles: str | None) -> dict[str, Any]:
    webhooks = [
        {"name": f"webhook-{index}", "clientConfig": {} if bundle is None else {"caBundle": bundle}}
        for index, bundle in enumerate(bundles)
    ]
    return {"metadata": {"resourceVersion": "7"}, "webhooks": webhooks}


def called(path: str | None, *, service: tuple[str, str] = OURS, rules: Any = None) -> dict[str, Any]:
    """A configuration of one entry for Services, called at this path."""
    reference = {"namespace": service[0], "name": service[1]} | ({} if path is None else {"path": path})
    entry = {"name": "any", "rules": SERVICE_RULES if rules is None else rules}
    return {"metadata": {"resourceVersion": "7"}, "webhooks": [entry | {"clientConfig": {"service": reference}}]}


def bundle_patch(document: dict[str, Any]) -> list[dict[str, Any]]:
    return patch_of(document, service=OURS, bundle=BUNDLE, path=None)


def path_patch(document: dict[str, Any]) -> list[dict[str, Any]]:
    return patch_of(document, service=OURS, bundle=None, path=lambda route, _: f"{route}/{'0' * 64}")


def test_nothing_is_written_when_every_webhook_has_the_bundle() -> None:
    assert bundle_patch(configuration(ENCODED, ENCODED)) == []


def test_only_lacking_webhooks_are_patched_and_only_in_the_copy_that_was_looked_at() -> None:
    assert bundle_patch(configuration(None, ENCODED, "Cg==")) == [
        {"op": "test", "path": "/metadata/resourceVersion", "value": "7"},
        {"op": "add", "path": "/webhooks/0/clientConfig/caBundle", "value": ENCODED},
        {"op": "add", "path": "/webhooks/2/clientConfig/caBundle", "value": ENCODED},
    ]


def test_a_configuration_without_webhooks_needs_nothing() -> None:
    assert bundle_patch({}) == []


@pytest.mark.parametrize("now", [None, "/mutate-v1-service", "/mutate-v1-service/" + "1" * 64, "/elsewhere"])
def test_an_entry_for_our_resources_gets_its_path_whatever_it_has(now: str | None) -> None:
    assert path_patch(called(now)) == [
        {"op": "test", "path": "/metadata/resourceVersion", "value": "7"},
        {"op": "add", "path": "/webhooks/0/clientConfig/service/path", "value": SECRET_PATH},
    ]


def test_path_and_bundle_are_one_patch() -> None:
    operations = patch_of(called(None), service=OURS, bundle=BUNDLE, path=lambda *_: SECRET_PATH)
    assert [operation["path"].rpartition("/")[2] for operation in operations] == [
        "resourceVersion",
        "caBundle",
        "path",
    ]


@pytest.mark.parametrize(
    "document",
    [
        called(SECRET_PATH),
        called(None, service=("elsewhere", "webhook")),
        called(None, rules=[{"apiGroups": ["apps"], "resources": ["deployments"]}]),
        called(None, rules=[{"apiGroups": [""], "resources": ["services", "namespaces"]}]),
        {"metadata": {"resourceVersion": "7"}, "webhooks": [{"name": "url", "rules": SERVICE_RULES}]},
    ],
)
def test_no_token_is_written_where_it_is_already_or_is_not_ours_to_write(document: dict[str, Any]) -> None:
    assert path_patch(document) == []


def test_a_subresource_of_ours_is_called_at_the_same_route() -> None:
    rules = [{"apiGroups": [""], "resources": ["services", "services/status"]}]
    assert route_of({"rules": rules}) == SERVICES


def test_a_caller_is_the_service_its_port_its_path_and_whom_it_trusts() -> None:
    service = {"namespace": "metallb-system", "name": "webhook"}
    registered = {
        "webhooks": [
            {"name": "first", "clientConfig": {"service": service, "caBundle": ENCODED}},
            {"name": "second", "clientConfig": {"service": {**service, "port": 8443}}},
            *called(SECRET_PATH)["webhooks"],
        ]
    }
    assert callers(registered) == [
        Caller("metallb-system", "webhook", 443, BUNDLE),
        Caller("metallb-system", "webhook", 8443, b""),
        Caller("metallb-system", "webhook", 443, b"", route=SERVICES, path=SECRET_PATH),
    ]
    assert SECRET_PATH not in repr(callers(registered))


@pytest.mark.parametrize(
    ("ports", "wrong"),
    [
        ([{"port": 443, "targetPort": 9443}], ""),
        ([{"port": 443, "targetPort": "webhook-server"}], ""),
        ([{"port": 443, "targetPort": 8443}], "leads to port 8443, not 9443"),
        ([{"port": 443}], "leads to port 443, not 9443"),
        ([{"port": 8443, "targetPort": 9443}], "has no port 443"),
        (None, "has no port 443"),
    ],
)
def test_a_service_must_lead_to_the_port_that_is_served(ports: list[dict[str, Any]] | None, wrong: str) -> None:
    assert wrong_with_port({"spec": {"ports": ports}}, 443, 9443) == wrong

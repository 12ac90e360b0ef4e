"""Which changes give a webhook configuration our authority's certificates."""

from __future__ import annotations

import base64
from typing import Any

import pytest

from webhook.registration import Caller, bundle_patch, callers
from webhook.self_check import wrong_with_port

BUNDLE = b"-----BEGIN CERTIFICATE-----\n"
ENCODED = base64.b64encode(BUNDLE).decode()


def configuration(*bundles: str | None) -> dict[str, Any]:
    webhooks = [
        {"name": f"webhook-{index}", "clientConfig": {} if bundle is None else {"caBundle": bundle}}
        for index, bundle in enumerate(bundles)
    ]
    return {"metadata": {"resourceVersion": "7"}, "webhooks": webhooks}


def test_nothing_is_written_when_every_webhook_has_the_bundle() -> None:
    assert bundle_patch(configuration(ENCODED, ENCODED), BUNDLE) == []


def test_only_lacking_webhooks_are_patched_and_only_in_the_copy_that_was_looked_at() -> None:
    assert bundle_patch(configuration(None, ENCODED, "Cg=="), BUNDLE) == [
        {"op": "test", "path": "/metadata/resourceVersion", "value": "7"},
        {"op": "add", "path": "/webhooks/0/clientConfig/caBundle", "value": ENCODED},
        {"op": "add", "path": "/webhooks/2/clientConfig/caBundle", "value": ENCODED},
    ]


def test_a_configuration_without_webhooks_needs_nothing() -> None:
    assert bundle_patch({}, BUNDLE) == []


def test_a_caller_is_the_service_its_port_and_whom_it_trusts() -> None:
    service = {"namespace": "metallb-system", "name": "webhook"}
    registered = {
        "webhooks": [
            {"name": "first", "clientConfig": {"service": service, "caBundle": ENCODED}},
            {"name": "second", "clientConfig": {"service": {**service, "port": 8443}}},
        ]
    }
    assert callers(registered) == [
        Caller("metallb-system", "webhook", 443, BUNDLE),
        Caller("metallb-system", "webhook", 8443, b""),
    ]


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

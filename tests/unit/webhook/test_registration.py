"""Which changes give a webhook configuration our authority's certificates."""

from __future__ import annotations

import base64
from typing import Any

from webhook.registration import bundle_patch

BUNDLE = b"-----BEGIN CERTIFICATE-----\n"
ENCODED = base64.b64encode(BUNDLE).decode()


def configuration(*bundles: str | None) -> dict[str, Any]:
    webhooks = [
        {"name": f"webhook-{index}", "clientConfig": {} if bundle is None else {"caBundle": bundle}}
        for index, bundle in enumerate(bundles)
    ]
    return {"webhooks": webhooks}


def test_nothing_is_written_when_every_webhook_has_the_bundle() -> None:
    assert bundle_patch(configuration(ENCODED, ENCODED), BUNDLE) == []


def test_each_lacking_webhook_is_patched_under_guard_of_its_name() -> None:
    assert bundle_patch(configuration(None, ENCODED, "Cg=="), BUNDLE) == [
        {"op": "test", "path": "/webhooks/0/name", "value": "webhook-0"},
        {"op": "add", "path": "/webhooks/0/clientConfig/caBundle", "value": ENCODED},
        {"op": "test", "path": "/webhooks/2/name", "value": "webhook-2"},
        {"op": "add", "path": "/webhooks/2/clientConfig/caBundle", "value": ENCODED},
    ]


def test_a_configuration_without_webhooks_needs_nothing() -> None:
    assert bundle_patch({}, BUNDLE) == []

"""Does the API server reach the webhook, and does it trust it?"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Iterator
from datetime import timedelta
from functools import cache
from typing import Any
from urllib.parse import urlsplit

import yaml

from allocator.core.listing import listed
from allocator.doctor.facts import Facts
from allocator.doctor.finding import Finding, error, warning
from allocator.kube.resource import ENDPOINT_SLICES_V1, MUTATING_WEBHOOKS, VALIDATING_WEBHOOKS, Resource
from allocator.objects.document import Document, labels_of
from allocator.objects.names import WEBHOOK_CONFIGURATION, WEBHOOK_SERVICE
from allocator.shipped import MANIFESTS

_TOKEN = re.compile(r"/[0-9a-f]{64}")
_SOON = timedelta(days=7)
_AGAIN = "apply the manifests again: kubectl apply -k OVERLAY, or admitlb install --image IMAGE --apply"
_SERVICE_LABEL = "kubernetes.io/service-name"


def check_webhook_registration(facts: Facts) -> Iterator[Finding]:
    """Find configurations that are missing, lead elsewhere, or carry no certificate or token."""
    logs = f"kubectl logs -n {facts.namespace} -l component=controller -c webhook --tail=50"
    for kind in (MUTATING_WEBHOOKS, VALIDATING_WEBHOOKS):
        subject = f"{kind.kind} {WEBHOOK_CONFIGURATION}"
        found = facts.named(kind, WEBHOOK_CONFIGURATION)
        if found is None:
            yield error(subject, "is not there: nothing is checked at admission", _AGAIN)
            continue
        webhooks = found.get("webhooks") or ()
        missing = _shipped(kind) - {webhook.get("name") for webhook in webhooks}
        if missing:
            # A newer release may register others than this one.
            said = warning if webhooks else error
            yield said(subject, f"lacks {listed(sorted(missing))}: what they check is admitted unchecked", _AGAIN)
        for webhook in webhooks:
            yield from _webhook(facts, f"{subject}: {webhook.get('name')}", webhook.get("clientConfig") or {}, logs)
    if not any(_ready(one) for one in facts.installed(ENDPOINT_SLICES_V1) if _is_webhooks(one)):
        yield error(
            f"Service {WEBHOOK_SERVICE}",
            "has no ready endpoint: pools and advertisements cannot be changed, Services are assigned by the "
            "reconciler alone",
            f"kubectl get pods -n {facts.namespace} -l component=controller",
        )


def _webhook(facts: Facts, subject: str, client: Document, logs: str) -> Iterator[Finding]:
    service: Document = client.get("service") or {}
    if (service.get("namespace"), service.get("name")) != (facts.namespace, WEBHOOK_SERVICE):
        where = f"{service.get('namespace')}/{service.get('name')}" if service else _host(client.get("url"))
        yield error(subject, f"leads to {where}", _AGAIN)
        return
    if not _TOKEN.search(str(service.get("path") or "")):
        yield error(subject, "has no path with a token: no webhook has registered itself", logs)
    bundle = str(client.get("caBundle") or "")
    if not bundle:
        yield error(subject, "has no caBundle: the API server cannot trust the webhook", logs)
        return
    authorities = _certificates(bundle)
    if not authorities:
        yield error(subject, "has a caBundle that holds no certificate", logs)
        return
    last = max(one.not_valid_after_utc for one in authorities)
    if last <= facts.at:
        yield error(subject, f"its caBundle expired at {last:%Y-%m-%d %H:%M}", logs)
    elif last - facts.at < _SOON:
        yield warning(subject, f"its caBundle expires at {last:%Y-%m-%d %H:%M}", logs)


@cache
def _shipped(kind: Resource) -> frozenset[str]:
    """The names of the webhooks that the manifests of this release register."""
    with (MANIFESTS / "webhook-configuration.yaml").open() as file:
        documents = list(yaml.safe_load_all(file))
    ours = (document for document in documents if document["kind"] == kind.kind)
    return frozenset(webhook["name"] for document in ours for webhook in document["webhooks"])


def _host(url: object) -> str:
    """Scheme and host: the path may hold a token, and what is before the host a password."""
    try:
        found = urlsplit(str(url or ""))
        return f"{found.scheme}://{found.hostname or ''}"
    except ValueError:
        return "a URL that is none"


def _certificates(bundle: str) -> list[Any]:
    # Imported here: no other import of the command takes longer, and other checks do without.
    from cryptography.x509 import load_pem_x509_certificates  # noqa: PLC0415

    try:
        return list(load_pem_x509_certificates(base64.b64decode(bundle, validate=True)))
    except (ValueError, binascii.Error):
        return []


def _is_webhooks(endpoint_slice: Document) -> bool:
    return labels_of(endpoint_slice).get(_SERVICE_LABEL) == WEBHOOK_SERVICE


def _ready(endpoint_slice: Document) -> bool:
    endpoints = endpoint_slice.get("endpoints") or ()
    # Absent means ready (KEP-752).
    return any((one.get("conditions") or {}).get("ready", True) for one in endpoints)

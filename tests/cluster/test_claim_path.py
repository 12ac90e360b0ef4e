"""Propose, judge, commit on a real API server: what is refused or only tried writes nothing; races are settled."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from allocator.allocation.allocator import Allocator
from allocator.allocation.cache import ClaimCache
from allocator.kube.client import Object
from allocator.kube.resource import NAMESPACES, SERVICES
from allocator.objects.names import DEFAULT_NAMESPACE, IP_ADDRESS_POOLS, IP_ALLOCATIONS, QUOTA_ANNOTATION
from allocator.rules.verdict import Rules
from tests.cluster.installation import ingress, pool, service
from tests.cluster.reconciling import Reconciling
from tests.cluster.test_late_mirrors import repair_with
from tests.lab.waiting import wait_until
from webhook.review import Answer, parse
from webhook.service_admission import ServiceAdmission

FIRST, SECOND = "192.0.2.10", "192.0.2.11"
KEY = {"metallb.io/allow-shared-ip": "key"}
TLS = [{"port": 443, "protocol": "TCP"}]


@pytest.fixture
def installed(reconciling: Reconciling) -> Iterator[Reconciling]:
    """Our kinds with one pool and nothing held, where neither webhook nor reconciler runs."""
    reconciling.cluster.create(IP_ADDRESS_POOLS, pool("main", "192.0.2.10-192.0.2.19"), DEFAULT_NAMESPACE)
    yield reconciling
    reconciling.wipe()


class Webhook:
    """A webhook's cache and what answers from it."""

    def __init__(self, installed: Reconciling, *, strict: bool = False) -> None:
        self.cache = ClaimCache(installed.cluster, namespace=DEFAULT_NAMESPACE)
        self.cache.start()
        assert self.cache.wait_synced(10)
        self._admission = ServiceAdmission(
            self.cache, Allocator(installed.cluster, self.cache), rules=Rules(strict=strict)
        )

    def ask(
        self, document: Object, *, old: Object | None = None, dry_run: bool = False, namespace: str = "default"
    ) -> Answer:
        """Answer as the API server would ask it."""
        request = {
            "uid": "1",
            "kind": {"group": "", "version": "v1", "kind": "Service"},
            "resource": {"group": "", "version": "v1", "resource": "services"},
            "name": document["metadata"].get("name", ""),
            "namespace": namespace,
            "operation": "CREATE" if old is None else "UPDATE",
            "object": document,
            "oldObject": old,
            "dryRun": dry_run,
        }
        review = {"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "request": request}
        return self._admission.answer(parse(json.dumps(review).encode()))

    def stop(self) -> None:
        """See nothing more."""
        self.cache.stop()


@pytest.fixture(params=[False, True], ids=["default", "strict"])
def webhook(installed: Reconciling, request: pytest.FixtureRequest) -> Iterator[Webhook]:
    webhook = Webhook(installed, strict=request.param)
    yield webhook
    webhook.stop()


def written(installed: Reconciling) -> dict[str, str]:
    """Every IPAllocation with its resourceVersion."""
    metadata = [one["metadata"] for one in installed.cluster.list(IP_ALLOCATIONS)["items"]]
    return {one["name"]: one["resourceVersion"] for one in metadata}


def serve(installed: Reconciling, cache: ClaimCache, document: Object, namespace: str = "default") -> Object:
    """Store a Service and let a reconciler repair it once."""
    name = installed.cluster.create(SERVICES, document, namespace)["metadata"]["name"]
    repair_with(installed, cache).service((namespace, name))
    return installed.cluster.get(SERVICES, name, namespace)


def test_what_is_denied_writes_nothing_neither_on_a_create_nor_on_an_update(
    installed: Reconciling, webhook: Webhook, request: pytest.FixtureRequest
) -> None:
    strict = request.node.callspec.params["webhook"]
    first = serve(installed, webhook.cache, service("first", {**KEY, "metallb.io/loadBalancerIPs": FIRST}))
    second = serve(
        installed, webhook.cache, service("second", {**KEY, "metallb.io/loadBalancerIPs": FIRST}, ports=TLS)
    )
    assert ingress(first) == ingress(second) == [FIRST]
    wait_until(lambda: len(webhook.cache.claims()) == 1, 10, "the webhook knows the claim")
    before = written(installed)

    def changed(document: Object, **annotations: str) -> Object:
        metadata = {**document["metadata"], "annotations": {**document["metadata"]["annotations"], **annotations}}
        return {**document, "metadata": metadata}

    unpinned = {"metallb.io/loadBalancerIPs": ""}
    refused = {
        "a create for a held address": webhook.ask(service("third", {"metallb.io/loadBalancerIPs": FIRST})),
        "an update to a held address": webhook.ask(
            changed(second, **{"metallb.io/loadBalancerIPs": "198.51.100.1"}), old=second
        ),
        "an update that breaks the sharing": webhook.ask(
            changed(second, **unpinned, **{"metallb.io/allow-shared-ip": "other"}), old=second
        ),
        "a create without a pool": webhook.ask(service("fourth", {"metallb.io/address-pool": "none"})),
        "a malformed create": webhook.ask(service("fifth", {"metallb.io/loadBalancerIPs": "nonsense"})),
    }
    denied = {what for what, answer in refused.items() if not answer.allowed}
    assert denied == (set(refused) if strict else {"a malformed create"})
    if strict:
        assert written(installed) == before


def test_a_dry_run_writes_nothing(installed: Reconciling, webhook: Webhook) -> None:
    stored = serve(installed, webhook.cache, service("web"))
    wait_until(lambda: webhook.cache.held_by("default", "web"), 10, "the webhook knows the claim")
    before = written(installed)
    moved = {**stored, "metadata": {**stored["metadata"], "annotations": {"metallb.io/loadBalancerIPs": SECOND}}}
    nameless = service("new")
    nameless["metadata"] = {"generateName": "new-"}
    for document, old in ((service("new"), None), (nameless, None), (service("web"), None), (moved, stored)):
        assert webhook.ask(document, old=old, dry_run=True).allowed
    assert written(installed) == before


def test_an_update_without_uid_and_annotations_keeps_both_on_claim_and_service(
    installed: Reconciling, webhook: Webhook
) -> None:
    stored = serve(installed, webhook.cache, service("web"))
    wait_until(lambda: webhook.cache.held_by("default", "web"), 10, "the webhook knows the claim")
    before = written(installed)
    answer = webhook.ask(service("web", ports=TLS), old=stored)
    assert answer.allowed
    [added] = answer.patch
    assert FIRST in json.dumps(added)
    assert written(installed) == before


@pytest.mark.parametrize("order", [("early", "late"), ("late", "early")], ids=" then ".join)
def test_a_quota_that_two_webhooks_overran_is_not_overrun_by_what_is_shown(
    installed: Reconciling, claim_cache: ClaimCache, order: tuple[str, str]
) -> None:
    cluster = installed.cluster
    namespace = f"limited-{order[0]}"
    cluster.create(NAMESPACES, {"metadata": {"name": namespace, "annotations": {QUOTA_ANNOTATION: "1"}}})
    webhooks = [Webhook(installed), Webhook(installed)]
    for webhook in webhooks:
        wait_until(lambda one=webhook: one.cache.namespace(namespace), 10, "the quota is known")  # type: ignore[misc]
        webhook.stop()  # from now on each knows only what it writes itself
    pins = {"early": FIRST, "late": SECOND}
    for webhook, (name, address) in zip(webhooks, pins.items(), strict=True):
        document = service(name, {"metallb.io/loadBalancerIPs": address})
        assert webhook.ask(document, namespace=namespace).allowed
        cluster.create(SERVICES, document, namespace)
    assert set(written(installed)) == {FIRST, SECOND}, "the quota was not overrun, so nothing is tested"
    wait_until(lambda: len(claim_cache.claims()) == 2, 10, "the reconciler knows both")
    wait_until(lambda: claim_cache.namespace(namespace), 10, "the reconciler knows the quota")

    repair = repair_with(installed, claim_cache)
    for name in order:
        repair.service((namespace, name))
        shown = [ip for one in cluster.list(SERVICES, namespace)["items"] for ip in ingress(one)]
        assert len(shown) <= 1

    assert ingress(cluster.get(SERVICES, "early", namespace)) == [FIRST], "the older reservation is bound"
    assert set(written(installed)) == {FIRST}, "the younger one is released"
    # When there is room, who waited is served.
    cluster.patch(NAMESPACES, namespace, {"metadata": {"annotations": {QUOTA_ANNOTATION: "2"}}})
    wait_until(
        lambda: (claim_cache.namespace(namespace) or {})["metadata"]["annotations"][QUOTA_ANNOTATION] == "2",
        10,
        "the new quota is known",
    )
    repair.service((namespace, "late"))
    assert ingress(cluster.get(SERVICES, "late", namespace)) == [SECOND]
    for name in order:
        cluster.delete(SERVICES, name, namespace)
    cluster.delete(NAMESPACES, namespace)


@pytest.fixture
def claim_cache(installed: Reconciling) -> Iterator[ClaimCache]:
    """A reconciler's cache."""
    cache = ClaimCache(installed.cluster, namespace=DEFAULT_NAMESPACE)
    cache.start()
    assert cache.wait_synced(10)
    yield cache
    cache.stop()

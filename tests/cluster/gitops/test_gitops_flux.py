"""AdmitLB kept by a Flux Kustomization: one sync brings everything, and later ones find nothing to do."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from allocator.kube.client import JSON_PATCH, Object
from allocator.kube.resource import SERVICES, VALIDATING_WEBHOOKS
from allocator.objects.names import ASSIGNED_IPS_ANNOTATION, LOAD_BALANCER_IPS_ANNOTATIONS, WEBHOOK_CONFIGURATION
from tests.cluster.gitops.commits import (
    ask_for_nothing,
    ask_for_two_of_one_family,
    greedy_pool,
    late_service,
    malformed_pool,
    open_another_port,
    paths_in_git,
    users_part,
    wait_tokens,
)
from tests.cluster.gitops.flux import OWNER_LABELS, Action, Kustomization, ReconciliationFailed
from tests.cluster.gitops.kstatus import Status
from tests.cluster.gitops.objects import edited, find, key_of, render, without
from tests.cluster.gitops.site import OVERLAYS, PAGE, Site, kinds
from tests.lab.waiting import wait_until


@pytest.fixture(scope="module")
def git(site: Site) -> list[Object]:
    """One commit with everything: kinds, AdmitLB itself, pools and Services."""
    return [*render(site.control_plane, OVERLAYS / "default"), *users_part()]


@pytest.fixture(scope="module")
def kustomization(site: Site, git: list[Object]) -> Kustomization:
    """The Kustomization after its first reconciliation."""
    kustomization = Kustomization(site.api, "everything")
    kustomization.reconcile(git)
    return kustomization


@pytest.fixture
def running(site: Site, kustomization: Kustomization, git: list[Object]) -> Iterator[Kustomization]:
    """The same once everything is current, with the commit restored after the test."""
    kustomization.wait_ready(site.pods.attend)
    yield kustomization
    reconcile(site, kustomization, git)


def reconcile(site: Site, kustomization: Kustomization, objects: list[Object]) -> list[str]:
    """Reconcile, again after failures as Flux does, and return what was done."""

    def done() -> list[str]:
        site.pods.attend()
        changed = [
            str(change) for change in kustomization.reconcile(objects) if change.action is not Action.UNCHANGED
        ]
        return changed or ["nothing"]

    what = "the Kustomization reconciles"
    return wait_until(done, 60, what, interval_seconds=0.5, retry_on=(ReconciliationFailed,))


def test_one_sync_brings_kinds_admitlb_pools_and_services(site: Site, running: Kustomization) -> None:
    assert set(running.health().values()) == {Status.CURRENT}
    assert site.wait_assigned("shop", "web") == ["192.0.2.10"]
    assert site.wait_assigned("shop", "api") == ["192.0.2.15"]


def test_a_later_sync_finds_nothing_to_do_and_writes_nothing(
    site: Site, running: Kustomization, git: list[Object]
) -> None:
    site.wait_assigned("shop", "web")
    before = site.wait_settled()
    assert reconcile(site, running, git) == ["nothing"]
    assert reconcile(site, running, git) == ["nothing"]
    assert site.versions() == before


def test_nothing_that_admitlb_made_belongs_to_the_kustomization(site: Site, running: Kustomization) -> None:
    site.wait_assigned("shop", "web")
    made = [obj for obj in site.api.everything() if key_of(obj) not in running.inventory]
    ours = [obj for obj in made if obj["kind"] in ("IPAllocation", "ConfigurationState", "Secret", "Lease")]
    assert {"IPAllocation", "ConfigurationState", "Lease"} <= kinds(ours)
    assert [key_of(obj) for obj in ours if OWNER_LABELS[0] in (obj["metadata"].get("labels") or {})] == []


def test_the_certificate_in_the_webhooks_registration_is_no_drift(
    site: Site, running: Kustomization, git: list[Object]
) -> None:
    for kind in ("MutatingWebhookConfiguration", "ValidatingWebhookConfiguration"):
        wanted = find(git, kind, WEBHOOK_CONFIGURATION)
        assert all("caBundle" not in webhook["clientConfig"] for webhook in wanted["webhooks"])
        live = site.api.live(wanted)
        assert live is not None
        assert all(webhook["clientConfig"]["caBundle"] for webhook in live["webhooks"])


def test_the_commit_that_drops_the_paths_leaves_no_drift(
    site: Site, running: Kustomization, git: list[Object]
) -> None:
    reconcile(site, running, paths_in_git(git))
    # Where the webhook was quicker there is nothing to do: the path is not Flux's any more once it has a token.
    reconcile(site, running, git)
    wait_tokens(site, git)
    before = site.wait_settled()
    assert reconcile(site, running, git) == ["nothing"]
    assert site.versions() == before


def test_what_a_hand_changed_is_put_back_and_the_certificate_stays(
    site: Site, running: Kustomization, git: list[Object]
) -> None:
    wanted = find(git, "ValidatingWebhookConfiguration", WEBHOOK_CONFIGURATION)
    before = site.api.live(wanted)
    patch = [{"op": "replace", "path": "/webhooks/0/failurePolicy", "value": "Ignore"}]
    site.cluster.patch(VALIDATING_WEBHOOKS, WEBHOOK_CONFIGURATION, patch, content_type=JSON_PATCH)
    (done,) = reconcile(site, running, git)
    assert done.startswith(f"ValidatingWebhookConfiguration {WEBHOOK_CONFIGURATION} configured")
    after = site.api.live(wanted)
    assert before is not None
    assert after is not None
    assert after["webhooks"] == before["webhooks"]


class TestEditsInGit:
    """Whatever a commit does to a Service, it keeps its address."""

    def test_another_port(self, site: Site, running: Kustomization, git: list[Object]) -> None:
        assert site.wait_assigned("shop", "web") == ["192.0.2.10"]
        reconcile(site, running, edited(git, "Service", "web", open_another_port))
        assert _ports(site, "web") == [80, 8080]
        assert site.addresses("shop", "web") == ["192.0.2.10"]
        assert site.holders()["192.0.2.10"] == "shop/web"

    def test_the_annotation_that_asked_for_the_address_goes(
        self, site: Site, running: Kustomization, git: list[Object]
    ) -> None:
        assert site.wait_assigned("shop", "api") == ["192.0.2.15"]
        reconcile(site, running, edited(git, "Service", "api", ask_for_nothing))
        live = site.cluster.get(SERVICES, "api", "shop")
        assert LOAD_BALANCER_IPS_ANNOTATIONS[0] not in live["metadata"]["annotations"]
        assert ASSIGNED_IPS_ANNOTATION in live["metadata"]["annotations"]
        assert site.addresses("shop", "api") == ["192.0.2.15"]
        assert reconcile(site, running, git) != ["nothing"]
        assert site.addresses("shop", "api") == ["192.0.2.15"]

    def test_somebody_replaces_it_and_flux_puts_it_back(
        self, site: Site, running: Kustomization, git: list[Object]
    ) -> None:
        assert site.wait_assigned("shop", "web") == ["192.0.2.10"]
        live = site.cluster.get(SERVICES, "web", "shop")
        bare = {"name": "web", "namespace": "shop", "resourceVersion": live["metadata"]["resourceVersion"]}
        ports = [{"name": "other", "port": 81, "protocol": "TCP", "targetPort": 81}]
        replaced = {**live, "metadata": bare, "spec": {**live["spec"], "ports": ports}, "status": {}}
        site.cluster.replace(SERVICES, replaced)
        assert site.addresses("shop", "web") == ["192.0.2.10"]
        reconcile(site, running, git)
        # Server-side apply leaves the other's port, which it does not own, beside its own.
        assert 80 in _ports(site, "web")
        assert site.addresses("shop", "web") == ["192.0.2.10"]
        assert reconcile(site, running, git) == ["nothing"]
        site.cluster.patch(SERVICES, "web", {"spec": {"ports": live["spec"]["ports"]}}, "shop")

    def test_a_revert_brings_a_removed_service_back_to_its_address(
        self, site: Site, running: Kustomization, git: list[Object]
    ) -> None:
        assert site.wait_assigned("shop", "web") == ["192.0.2.10"]
        assert reconcile(site, running, without(git, "Service", "web")) == ["Service shop/web deleted"]
        site.wait(lambda: "192.0.2.10" not in site.holders(), 30, "the address is released")
        assert reconcile(site, running, git) == ["Service shop/web created"]
        assert site.wait_assigned("shop", "web") == ["192.0.2.10"]


class TestRefusals:
    """What cannot work is told in the Kustomization's own status."""

    def test_a_malformed_pool_fails_the_sync_before_anything_is_applied(
        self, site: Site, running: Kustomization, git: list[Object]
    ) -> None:
        commit = edited([*git, *malformed_pool()], "Service", "web", open_another_port)
        told = refusal(running, commit)
        assert told in " ".join(PAGE.read_text().split())
        assert _ports(site, "web") == [80]

    def test_an_overlapping_pool_fails_the_sync_when_it_is_applied(
        self, site: Site, running: Kustomization, git: list[Object]
    ) -> None:
        told = refusal(running, [*git, *greedy_pool()])
        assert told in " ".join(PAGE.read_text().split())
        assert site.api.live(greedy_pool()[0]) is None

    def test_a_service_that_contradicts_itself_fails_the_sync(
        self, site: Site, running: Kustomization, git: list[Object]
    ) -> None:
        told = refusal(running, edited(git, "Service", "api", ask_for_two_of_one_family))
        assert "Service shop/api dry-run failed: admission webhook" in told
        assert site.addresses("shop", "api") == ["192.0.2.15"]

    def test_a_pool_in_use_is_not_pruned(self, site: Site, running: Kustomization, git: list[Object]) -> None:
        site.wait_assigned("shop", "web")
        told = refusal(running, without(git, "IPAddressPool", "production"))
        assert "IPAddressPool metallb-system/production delete failed: admission webhook" in told
        assert "shop/web" in told


class TestWithoutAWebhook:
    """While no replica answers, pools stay as they are, and Services go on."""

    @pytest.fixture
    def orphaned(self, site: Site, running: Kustomization) -> Iterator[Kustomization]:
        """The Kustomization while the API server reaches no webhook."""
        site.wait_assigned("shop", "web")
        site.pods.kill("webhook")
        site.wait(lambda: not site.webhook_endpoints(), 40, "no endpoint is left")
        yield running
        site.pods.revive("webhook")
        site.wait(site.webhook_endpoints, 60, "the webhook is an endpoint again")

    def test_a_sync_with_pools_fails_and_the_next_one_finds_nothing_to_do(
        self, site: Site, orphaned: Kustomization, git: list[Object]
    ) -> None:
        site.wait(lambda: "failed calling webhook" in _outcome(orphaned, git), 40, "a sync fails")
        assert site.holders() == {"192.0.2.10": "shop/web", "192.0.2.15": "shop/api"}
        site.pods.revive("webhook")
        assert reconcile(site, orphaned, git) == ["nothing"]
        assert site.addresses("shop", "web") == ["192.0.2.10"]

    def test_a_sync_of_services_alone_succeeds_and_they_are_served(self, site: Site, orphaned: Kustomization) -> None:
        services = Kustomization(site.api, "late")
        (created,) = services.reconcile(late_service())
        assert str(created) == "Service shop/late created"
        assert site.wait_assigned("shop", "late") == ["192.0.2.11"]
        assert orphaned.health()
        services.reconcile([])


def refusal(kustomization: Kustomization, objects: list[Object]) -> str:
    """Return why the Kustomization fails."""
    with pytest.raises(ReconciliationFailed) as failed:
        kustomization.reconcile(objects)
    return str(failed.value)


def _outcome(kustomization: Kustomization, objects: list[Object]) -> str:
    """Return why the Kustomization fails, empty where it does not."""
    try:
        kustomization.reconcile(objects)
    except ReconciliationFailed as error:
        return str(error)
    return ""


def _ports(site: Site, name: str) -> list[int]:
    return [port["port"] for port in site.cluster.get(SERVICES, name, "shop")["spec"]["ports"]]

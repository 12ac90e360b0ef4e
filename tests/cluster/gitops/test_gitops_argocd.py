"""AdmitLB kept by an Argo CD Application: one sync brings everything, and later comparisons find nothing."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import yaml

from allocator.kube.client import JSON_PATCH, Object
from allocator.kube.resource import NAMESPACES, SERVICES, VALIDATING_WEBHOOKS
from allocator.objects.names import ASSIGNED_IPS_ANNOTATION, LOAD_BALANCER_IPS_ANNOTATIONS, WEBHOOK_CONFIGURATION
from tests.cluster.gitops.argocd import SKIP_DRY_RUN, TRACKING_ANNOTATION, Application, ComparisonFailed, SyncFailed
from tests.cluster.gitops.argocd_health import Code, HealthChecks
from tests.cluster.gitops.commits import (
    ask_for_nothing,
    ask_for_two_of_one_family,
    early_part,
    greedy_pool,
    open_another_port,
    paths_in_git,
    users_part,
    wait_tokens,
)
from tests.cluster.gitops.objects import documents, edited, find, key_of, render, without
from tests.cluster.gitops.site import OVERLAYS, Site, kinds

ARGOCD_CM = OVERLAYS / "argocd" / "health-checks" / "argocd-cm.yaml"


@pytest.fixture(scope="module")
def health() -> HealthChecks:
    (config_map,) = documents(ARGOCD_CM.read_text())
    return HealthChecks(config_map["data"])


@pytest.fixture(scope="module")
def git(site: Site) -> list[Object]:
    """One commit with everything: kinds, AdmitLB itself, pools and Services."""
    return [*render(site.control_plane, OVERLAYS / "argocd"), *users_part()]


@pytest.fixture(scope="module")
def synced(site: Site, git: list[Object], health: HealthChecks) -> Application:
    """The Application after its first sync."""
    application = Application(site, "everything", health)
    application.sync(git)
    return application


@pytest.fixture(scope="module")
def early(site: Site, health: HealthChecks) -> Application:
    """An Application whose pools need kinds that another brings."""
    return Application(site, "early", health, options=[SKIP_DRY_RUN])


@pytest.fixture
def application(site: Site, synced: Application) -> Iterator[Application]:
    """The same, with the users' part restored after the test."""
    yield synced
    resync(site, synced, users_part())


@pytest.fixture(scope="module")
def switched(site: Site, synced: Application, git: list[Object]) -> Application:
    """The Application after its first server-side sync."""
    application = synced.server_side()
    site.wait(lambda: application.sync(git), 60, "the Application syncs", retry_on=(SyncFailed,))
    return application


def resync(site: Site, application: Application, objects: list[Object]) -> list[str]:
    """Sync, again after failures as `retry` has it, and return what kubectl did."""

    def done() -> list[str]:
        return application.sync(objects)

    lines = site.wait(done, 60, "the Application syncs", retry_on=(SyncFailed,))
    return [line for line in lines if not line.endswith(" unchanged")]


class TestOrder:
    """An Application with pools may be synced before the one that brings their kinds."""

    def test_without_the_kinds_its_sync_fails_at_the_pools(self, site: Site, early: Application) -> None:
        told = refusal(early, early_part())
        assert 'no matches for kind "IPAddressPool"' in told
        # It came past the dry run, which would have kept all of it out.
        assert site.cluster.get(NAMESPACES, "early")

    def test_without_the_option_it_fails_before_anything_is_applied(self, site: Site, health: HealthChecks) -> None:
        strict = Application(site, "early", health)
        commit = edited(early_part(), "Namespace", "early", lambda obj: obj["metadata"].update(name="never"))
        assert 'no matches for kind "IPAddressPool"' in refusal(strict, commit)
        assert site.api.live(commit[0]) is None

    @pytest.mark.usefixtures("synced")
    def test_with_the_kinds_a_retry_succeeds(self, site: Site, early: Application) -> None:
        assert "ipaddresspool.metallb.io/early created" in resync(site, early, early_part())
        assert set(early.health(early_part()).values()) == {Code.HEALTHY}


class TestInstallation:
    def test_one_sync_brings_kinds_admitlb_pools_and_services(
        self, site: Site, synced: Application, git: list[Object]
    ) -> None:
        assert set(synced.health(git).values()) == {Code.HEALTHY}
        assert site.addresses("shop", "web") == ["192.0.2.10"]
        assert site.addresses("shop", "api") == ["192.0.2.15"]

    def test_a_later_comparison_and_sync_find_nothing_and_write_nothing(
        self, site: Site, synced: Application, git: list[Object]
    ) -> None:
        before = site.wait_settled()
        assert synced.drift(git) == []
        assert synced.prunable(git) == []
        assert resync(site, synced, git) == []
        assert site.versions() == before

    @pytest.mark.usefixtures("synced")
    def test_nothing_that_admitlb_made_is_tracked(self, site: Site) -> None:
        expected = {"IPAllocation", "ConfigurationState", "Lease"}
        made = [obj for obj in site.api.everything() if obj["kind"] in expected]
        assert kinds(made) == expected
        annotated = [obj for obj in made if TRACKING_ANNOTATION in (obj["metadata"].get("annotations") or {})]
        assert [key_of(obj) for obj in annotated] == []

    def test_what_a_hand_changed_is_seen_and_healed_and_the_certificate_stays(
        self, site: Site, synced: Application, git: list[Object]
    ) -> None:
        wanted = find(git, "ValidatingWebhookConfiguration", WEBHOOK_CONFIGURATION)
        before = site.api.live(wanted)
        assert before is not None
        assert all(webhook["clientConfig"]["caBundle"] for webhook in before["webhooks"])
        patch = [{"op": "replace", "path": "/webhooks/0/failurePolicy", "value": "Ignore"}]
        site.cluster.patch(VALIDATING_WEBHOOKS, WEBHOOK_CONFIGURATION, patch, content_type=JSON_PATCH)
        assert "+  failurePolicy: Fail" in synced.drift(git)
        (line,) = resync(site, synced, git)
        assert WEBHOOK_CONFIGURATION in line
        after = site.api.live(wanted)
        assert after is not None
        assert after["webhooks"] == before["webhooks"]
        assert synced.drift(git) == []

    def test_the_commit_that_drops_the_paths_leaves_no_drift(
        self, site: Site, synced: Application, git: list[Object]
    ) -> None:
        resync(site, synced, paths_in_git(git))
        assert resync(site, synced, git)
        wait_tokens(site, git)
        before = site.wait_settled()
        assert synced.drift(git) == []
        assert resync(site, synced, git) == []
        assert site.versions() == before

    def test_the_kinds_survive_their_removal_from_git(
        self, site: Site, synced: Application, git: list[Object]
    ) -> None:
        commit = without(git, "CustomResourceDefinition", "ipallocations.admitlb.io")
        assert [key.name for key in synced.prunable(commit)] == ["ipallocations.admitlb.io"]
        assert synced.prune(commit) == []
        assert site.holders()["192.0.2.10"] == "shop/web"


class TestEditsInGit:
    """Whatever a commit does to a Service, it keeps its address."""

    def test_another_port(self, site: Site, application: Application) -> None:
        commit = edited(users_part(), "Service", "web", open_another_port)
        assert application.drift(commit) != []
        assert resync(site, application, commit) == ["service/web configured"]
        assert ports(site, "web") == [80, 8080]
        assert site.addresses("shop", "web") == ["192.0.2.10"]
        assert application.drift(commit) == []

    def test_the_annotation_that_asked_for_the_address_goes(self, site: Site, application: Application) -> None:
        commit = edited(users_part(), "Service", "api", ask_for_nothing)
        resync(site, application, commit)
        annotations = site.cluster.get(SERVICES, "api", "shop")["metadata"]["annotations"]
        assert LOAD_BALANCER_IPS_ANNOTATIONS[0] not in annotations
        assert annotations[ASSIGNED_IPS_ANNOTATION] == "192.0.2.15"
        assert site.addresses("shop", "api") == ["192.0.2.15"]
        assert application.drift(commit) == []
        resync(site, application, users_part())
        assert site.addresses("shop", "api") == ["192.0.2.15"]

    @pytest.mark.usefixtures("application")
    @pytest.mark.parametrize("how", ["replace", "replace --force"])
    def test_it_is_replaced_instead_of_patched(self, site: Site, how: str) -> None:
        """The sync options Replace=true and Force=true: the object as it is in Git, and nothing else."""
        before = site.cluster.get(SERVICES, "web", "shop")
        web = find(edited(users_part(), "Service", "web", open_another_port), "Service", "web")
        if how == "replace":
            # Kubernetes 1.20 wants these back.
            web["spec"].update({field: before["spec"][field] for field in ("clusterIP", "clusterIPs", "ipFamilies")})
        site.control_plane.kubectl(*how.split(), "-f", "-", stdin=yaml.safe_dump(web))
        assert site.wait_assigned("shop", "web") == ["192.0.2.10"]
        after = site.cluster.get(SERVICES, "web", "shop")
        assert ports(site, "web") == [80, 8080]
        assert (after["metadata"]["uid"] == before["metadata"]["uid"]) is (how == "replace")
        assert after["metadata"]["annotations"][ASSIGNED_IPS_ANNOTATION] == "192.0.2.10"

    def test_a_revert_brings_a_pruned_service_back_to_its_address(
        self, site: Site, application: Application, git: list[Object]
    ) -> None:
        commit = without(git, "Service", "web")
        assert [str(key) for key in application.prune(commit)] == ["Service shop/web"]
        site.wait(lambda: "192.0.2.10" not in site.holders(), 30, "the address is released")
        assert resync(site, application, users_part()) == ["service/web created"]
        assert site.addresses("shop", "web") == ["192.0.2.10"]


class TestRefusals:
    def test_an_overlapping_pool_fails_the_sync_and_stays_out(self, site: Site, application: Application) -> None:
        told = refusal(application, [*users_part(), *greedy_pool()])
        assert "192.0.2.19-192.0.2.40 overlaps 192.0.2.10-192.0.2.19 of pool production" in told
        assert site.api.live(greedy_pool()[0]) is None

    def test_a_service_that_contradicts_itself_fails_the_sync(self, site: Site, application: Application) -> None:
        told = refusal(application, edited(users_part(), "Service", "api", ask_for_two_of_one_family))
        assert "shop/api" in told
        assert site.addresses("shop", "api") == ["192.0.2.15"]


class TestServerSideApply:
    """The sync option ServerSideApply=true with server-side diff, taken up on an Application that runs already."""

    def test_a_later_comparison_and_sync_find_nothing_and_write_nothing(
        self, site: Site, switched: Application, git: list[Object]
    ) -> None:
        before = site.wait_settled()
        assert switched.drift(git) == []
        assert switched.prunable(git) == []
        switched.sync(git)
        assert site.versions() == before

    def test_the_commit_that_drops_the_paths_leaves_no_drift(
        self, site: Site, switched: Application, git: list[Object]
    ) -> None:
        switched.sync(paths_in_git(git))
        switched.sync(git)
        wait_tokens(site, git)
        before = site.wait_settled()
        assert switched.drift(git) == []
        switched.sync(git)
        assert site.versions() == before

    def test_what_a_webhook_adds_in_the_dry_run_is_no_drift_after_an_edit_either(
        self, site: Site, switched: Application
    ) -> None:
        commit = edited(users_part(), "Service", "web", open_another_port)
        drift = switched.drift(commit)
        assert drift
        assert all("Service shop/web" in line and ".annotations" not in line for line in drift)
        switched.sync(commit)
        assert switched.drift(commit) == []
        assert site.addresses("shop", "web") == ["192.0.2.10"]
        switched.sync(users_part())

    def test_a_refusal_shows_in_the_comparison_already(self, switched: Application) -> None:
        with pytest.raises(ComparisonFailed, match="Service shop/api: admission webhook"):
            switched.drift(edited(users_part(), "Service", "api", ask_for_two_of_one_family))


def refusal(application: Application, objects: list[Object]) -> str:
    """Return why a sync fails."""
    with pytest.raises(SyncFailed) as failed:
        application.sync(objects)
    return str(failed.value)


def ports(site: Site, name: str) -> list[int]:
    """Return the ports of a Service in the shop."""
    return [port["port"] for port in site.cluster.get(SERVICES, name, "shop")["spec"]["ports"]]

"""The example repository under docs/gitops, synced by Flux onto an empty cluster, then handed over to Argo CD."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from allocator.kube.client import Object
from tests.cluster.gitops import example
from tests.cluster.gitops.argocd import SKIP_DRY_RUN, Application, SyncFailed
from tests.cluster.gitops.argocd_health import Code, HealthChecks
from tests.cluster.gitops.flux import Action, Kustomization
from tests.cluster.gitops.flux_health import HealthCheckExpressions
from tests.cluster.gitops.kstatus import Status
from tests.cluster.gitops.objects import documents, render
from tests.cluster.gitops.site import EXAMPLE, OVERLAYS, PAGE, Site

HEALTH_CHECKS = OVERLAYS / "argocd" / "health-checks"


@pytest.fixture(scope="module")
def kept_by_flux(site: Site) -> dict[str, Kustomization]:
    """Every Kustomization of the example, reconciled and current, one after the other."""
    kustomizations = {}
    for manifest in example.kustomizations():
        name, expressions = manifest["metadata"]["name"], HealthCheckExpressions.of(manifest)
        kustomization = Kustomization(site.api, name, health=expressions.status_of)
        kustomization.reconcile(render(site.control_plane, example.folder_of(manifest)))
        kustomization.wait_ready(site.pods.attend)
        kustomizations[name] = kustomization
    return kustomizations


FLUX_FIELDS: dict[str, Any] = {
    "interval": {},
    "retryInterval": {},
    "timeout": {},
    "dependsOn": {"name": {}, "namespace": {}, "readyExpr": {}},
    "sourceRef": {"apiVersion": {}, "kind": {}, "name": {}, "namespace": {}},
    "path": {},
    "images": {"name": {}, "newName": {}, "newTag": {}, "digest": {}},
    "prune": {},
    "wait": {},
    "healthCheckExprs": {"apiVersion": {}, "kind": {}, "inProgress": {}, "failed": {}, "current": {}},
}
"""Of kustomize.toolkit.fluxcd.io/v1 Kustomization, what an example needs."""
ARGOCD_FIELDS: dict[str, Any] = {
    "project": {},
    "source": {"repoURL": {}, "targetRevision": {}, "path": {}, "kustomize": {"images": {}}},
    "destination": {"server": {}, "namespace": {}},
    "syncPolicy": {
        "automated": {"prune": {}, "selfHeal": {}},
        "syncOptions": {},
        "retry": {"limit": {}, "backoff": {"duration": {}, "factor": {}, "maxDuration": {}}},
    },
}
"""Of argoproj.io/v1alpha1 Application, what an example needs."""


def unknown_fields(value: Any, known: dict[str, Any], path: str = "spec") -> list[str]:
    """Say which fields of a value are not among the known ones."""
    if isinstance(value, list):
        return [found for item in value for found in unknown_fields(item, known, path)]
    if not isinstance(value, dict):
        return []
    found = [f"{path}.{field}" for field in value if field not in known]
    for field in value.keys() & known.keys():
        found += unknown_fields(value[field], known[field], f"{path}.{field}")
    return found


def test_no_field_of_a_kustomization_or_an_application_is_misspelt() -> None:
    assert [found for obj in example.kustomizations() for found in unknown_fields(obj["spec"], FLUX_FIELDS)] == []
    assert [found for obj in example.applications() for found in unknown_fields(obj["spec"], ARGOCD_FIELDS)] == []


class TestFlux:
    def test_every_kustomization_depends_on_what_it_needs(self) -> None:
        assert [obj["metadata"]["name"] for obj in example.kustomizations()] == ["admitlb", "network", "apps"]
        assert all(obj["spec"]["wait"] and obj["spec"]["prune"] for obj in example.kustomizations())
        names = {obj["metadata"]["name"] for obj in example.sources()} | {"flux-system"}
        assert {obj["spec"]["sourceRef"]["name"] for obj in example.kustomizations()} <= names

    def test_when_the_last_is_ready_the_service_has_its_address(
        self, site: Site, kept_by_flux: dict[str, Kustomization]
    ) -> None:
        assert set(kept_by_flux["apps"].health().values()) == {Status.CURRENT}
        assert site.addresses("shop", "web") == ["192.0.2.10"]

    def test_the_next_interval_changes_nothing(self, site: Site, kept_by_flux: dict[str, Kustomization]) -> None:
        site.wait_settled()
        for manifest in example.kustomizations():
            objects = render(site.control_plane, example.folder_of(manifest))
            changes = kept_by_flux[manifest["metadata"]["name"]].reconcile(objects)
            assert [str(change) for change in changes if change.action is not Action.UNCHANGED] == []

    @pytest.mark.usefixtures("kept_by_flux")
    def test_kinds_and_namespace_outlive_the_kustomization(self, site: Site) -> None:
        kept = [
            obj
            for obj in render(site.control_plane, OVERLAYS / "flux")
            if obj["kind"] in ("CustomResourceDefinition", "Namespace")
        ]
        holder = Kustomization(site.api, "admitlb")
        holder.reconcile(kept)
        assert holder.reconcile([]) == []
        assert site.holders() == {"192.0.2.10": "shop/web"}


class TestArgoCD:
    @pytest.fixture(scope="class")
    @classmethod
    def health(cls) -> HealthChecks:
        (config_map,) = documents((HEALTH_CHECKS / "argocd-cm.yaml").read_text())
        return HealthChecks(config_map["data"])

    def test_the_applications_come_in_waves_and_retry(self) -> None:
        applications = example.applications()
        assert [obj["metadata"]["name"] for obj in applications] == ["admitlb", "network", "shop"]
        assert all(obj["spec"]["syncPolicy"]["retry"]["limit"] >= 5 for obj in applications)
        assert SKIP_DRY_RUN in applications[1]["spec"]["syncPolicy"]["syncOptions"]
        assert not any("ignoreDifferences" in obj["spec"] for obj in applications)

    @pytest.mark.usefixtures("kept_by_flux")
    def test_they_take_over_from_flux_without_a_change_of_address(self, site: Site, health: HealthChecks) -> None:
        for manifest in example.applications():
            application = Application(site, manifest["metadata"]["name"], health).server_side()
            objects = render(site.control_plane, example.folder_of(manifest))

            def synced(application: Application = application, objects: list[Object] = objects) -> list[str]:
                return application.sync(objects)

            site.wait(synced, 60, f"{manifest['metadata']['name']} syncs", retry_on=(SyncFailed,))
            assert application.drift(objects) == []
            assert set(application.health(objects).values()) == {Code.HEALTHY}
        assert site.addresses("shop", "web") == ["192.0.2.10"]

    def test_the_health_checks_can_be_a_component_of_argo_cds_own_installation(
        self, site: Site, tmp_path: Path, health: HealthChecks
    ) -> None:
        config_map = {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {"name": "argocd-cm", "namespace": "argocd"},
            "data": {"url": "https://argocd.example.com"},
        }
        (tmp_path / "argocd-cm.yaml").write_text(yaml.safe_dump(config_map))
        # kustomize takes no absolute paths.
        up = "../" * (len(tmp_path.parts) - 1)
        component = f"{up}{HEALTH_CHECKS.relative_to('/')}"
        kustomization = {"resources": ["argocd-cm.yaml"], "components": [component]}
        (tmp_path / "kustomization.yaml").write_text(yaml.safe_dump(kustomization))
        (merged,) = render(site.control_plane, tmp_path)
        assert merged["data"]["url"] == "https://argocd.example.com"
        assert HealthChecks(merged["data"]).kinds == health.kinds


def page_blocks() -> Iterator[str]:
    """Every YAML block of the page."""
    for match in re.finditer(r"```yaml\n(.*?)```", PAGE.read_text(), re.DOTALL):
        yield match[1]


class TestPage:
    def test_every_manifest_on_it_is_one_of_the_example(self) -> None:
        known = [obj for path in EXAMPLE.rglob("*.yaml") for obj in documents(path.read_text())]
        shown = [obj for block in page_blocks() for obj in documents(block)]
        assert shown
        assert [obj for obj in shown if obj not in known] == []

    def test_every_file_it_names_exists(self) -> None:
        named = re.findall(r"\]\((?!https?:)([^)#]+)", PAGE.read_text())
        assert named
        assert [name for name in named if not (PAGE.parent / name).exists()] == []

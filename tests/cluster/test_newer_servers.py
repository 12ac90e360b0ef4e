"""What only newer API servers do, on one: match conditions in front of the webhook."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from urllib.request import urlopen

import pytest

from allocator.kube.resource import NAMESPACES, SERVICES
from tests.cluster.installation import Installation, pool, service
from tests.cluster.overlays import compose
from tests.lab.binaries import find
from tests.lab.control_plane import ControlPlane
from tests.lab.waiting import wait_until

HAS_MATCH_CONDITIONS = (1, 28, 0)
REQUESTS = "admitlb_admission_requests_total"


@pytest.fixture(scope="module")
def overlay(tmp_path_factory: pytest.TempPathFactory) -> Path:
    if find().server_version < HAS_MATCH_CONDITIONS:
        pytest.skip("this API server has no match conditions (before Kubernetes 1.28)")
    return compose(tmp_path_factory.mktemp("newer"), "match-conditions")


@pytest.fixture(scope="module")
def admitlb(overlay: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installation]:
    """AdmitLB with both components over the default installation."""
    with ControlPlane(find(), tmp_path_factory.mktemp("conditions")) as control_plane:
        installation = Installation(control_plane, tmp_path_factory.mktemp("logs"), first_port=20643)
        installation.add_pool(pool("main", "192.0.2.0/28"))
        control_plane.kubectl("apply", "-f", "-", stdin=configurations(control_plane, overlay))
        wait_until(lambda: asked_for_cluster_ip(installation) == 0, 20, "the conditions are in force")
        yield installation
        installation.stop()


def configurations(control_plane: ControlPlane, overlay: Path) -> str:
    """What the overlay has of webhook configurations: the Deployments are processes here."""
    documents = control_plane.kubectl("kustomize", str(overlay)).stdout.split("\n---\n")
    return "\n---\n".join(document for document in documents if "WebhookConfiguration\n" in document)


def answered(installation: Installation) -> float:
    """How many reviews both webhooks have answered."""
    total = 0.0
    for replica in installation.webhooks:
        with urlopen(f"http://127.0.0.1:{replica.monitor_port}/metrics", timeout=5) as answer:
            lines = answer.read().decode().splitlines()
        total += sum(float(line.split()[-1]) for line in lines if line.startswith(REQUESTS + "{"))
    return total


def asked_for_cluster_ip(installation: Installation) -> float:
    before = answered(installation)
    installation.cluster.create(SERVICES, service("plain", type="ClusterIP"), "default", dry_run=True)
    return answered(installation) - before


def test_the_webhook_is_asked_about_load_balancers_alone(admitlb: Installation) -> None:
    assert asked_for_cluster_ip(admitlb) == 0
    before = answered(admitlb)
    admitlb.cluster.create(SERVICES, service("web"), "default")
    assert answered(admitlb) == before + 1
    (address,) = admitlb.wait_assigned("default", "web")
    before = answered(admitlb)
    admitlb.cluster.patch(SERVICES, "web", {"spec": {"type": "ClusterIP"}}, "default")
    assert answered(admitlb) == before, "the reconciler sees it, the webhook need not"
    admitlb.wait_released(address)


@pytest.mark.parametrize(("quota", "asked"), [(None, 0), ("3", 1)])
def test_the_webhook_is_asked_about_namespaces_with_a_quota_alone(
    admitlb: Installation, quota: str | None, asked: int
) -> None:
    annotations = {"annotations": {"admitlb.io/ip-quota": quota}} if quota else {}
    before = answered(admitlb)
    admitlb.cluster.create(NAMESPACES, {"metadata": {"name": "team", **annotations}}, dry_run=True)
    assert answered(admitlb) == before + asked

"""What only newer API servers do, on one: rules in the CRDs, and match conditions in front of the webhook."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from urllib.request import urlopen

import pytest

from allocator.kube.client import ApiError, Cluster, Object
from allocator.kube.resource import NAMESPACES, SERVICES, Resource
from allocator.objects.names import BGP_PEERS, DEFAULT_NAMESPACE, IP_ADDRESS_POOLS, IP_ALLOCATIONS
from tests.cluster.installation import Installation, pool, service
from tests.cluster.overlays import compose
from tests.lab.binaries import find
from tests.lab.control_plane import ControlPlane
from tests.lab.waiting import wait_until

HAS_MATCH_CONDITIONS = (1, 28, 0)
"""CRDs have rules from 1.25 on."""
REQUESTS = "admitlb_admission_requests_total"


@pytest.fixture(scope="module")
def overlay(tmp_path_factory: pytest.TempPathFactory) -> Path:
    if find().server_version < HAS_MATCH_CONDITIONS:
        pytest.skip("this API server has no match conditions (before Kubernetes 1.28)")
    return compose(tmp_path_factory.mktemp("newer"), "match-conditions", "cel-validation")


class TestRulesOfTheKinds:
    """Where no webhook is registered."""

    @pytest.mark.parametrize(
        ("spec", "message"),
        [
            ({"addresses": ["default"]}, "write a CIDR"),
            ({"addresses": ["192.0.2.0/28", "192.0.2.1-"]}, "write a CIDR"),
            ({"addresses": ["192.0.2.0/28"], "excludeAddresses": ["fe80::1%eth0"]}, "write a CIDR"),
            ({"addresses": ["192.0.2.0/28"], "excludeAddresses": ["192.0.2.1"]}, ""),
        ],
        ids=str,
    )
    def test_a_pool(self, kinds: Cluster, spec: Object, message: str) -> None:
        assert_refused(kinds, IP_ADDRESS_POOLS, document_of(IP_ADDRESS_POOLS, "p", spec), message)

    @pytest.mark.parametrize(
        ("spec", "message"),
        [
            ({"peerASN": 1, "peerAddress": "10.0.0.1"}, ""),
            ({"dynamicASN": "external", "interface": "eth0"}, ""),
            ({"peerAddress": "10.0.0.1"}, "set either peerASN or dynamicASN"),
            ({"peerASN": 1, "peerAddress": "10.0.0.1", "interface": "eth0"}, "set either peerAddress or interface"),
        ],
        ids=str,
    )
    def test_a_peer(self, kinds: Cluster, spec: Object, message: str) -> None:
        assert_refused(kinds, BGP_PEERS, document_of(BGP_PEERS, "p", {"myASN": 2, **spec}), message)

    def test_an_allocation_keeps_its_address(self, kinds: Cluster) -> None:
        now = "2026-01-01T00:00:00.000000Z"
        spec = {"address": "192.0.2.1", "pool": "p", "state": "Tentative", "since": now, "holders": []}
        kinds.create(IP_ALLOCATIONS, document_of(IP_ALLOCATIONS, "192.0.2.1", spec))
        try:
            with pytest.raises(ApiError) as refused:
                kinds.patch(IP_ALLOCATIONS, "192.0.2.1", {"spec": {"address": "192.0.2.2"}})
            assert "an allocation is for one address only" in refused.value.message
        finally:
            kinds.delete(IP_ALLOCATIONS, "192.0.2.1")


def document_of(kind: Resource, name: str, spec: Object) -> Object:
    return {"apiVersion": kind.api_version, "kind": kind.kind, "metadata": {"name": name}, "spec": spec}


def assert_refused(cluster: Cluster, kind: Resource, document: Object, message: str) -> None:
    """Assert that the API server refuses the object with the message; without one, that it takes it."""
    try:
        cluster.create(kind, document, DEFAULT_NAMESPACE, dry_run=True)
    except ApiError as error:
        assert message, error.message
        assert error.status == 422
        assert message in error.message
    else:
        assert not message, "it was admitted"


@pytest.fixture(scope="module")
def kinds(overlay: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """The kinds as the component makes them, and nothing that answers for a webhook."""
    with ControlPlane(find(), tmp_path_factory.mktemp("rules")) as control_plane:
        control_plane.kubectl("apply", "-k", str(overlay))
        control_plane.kubectl("delete", "validatingwebhookconfigurations,mutatingwebhookconfigurations", "--all")
        cluster = control_plane.cluster()
        plain = pool("plain", "192.0.2.0/28")

        def unasked() -> bool:
            return bool(cluster.create(IP_ADDRESS_POOLS, plain, DEFAULT_NAMESPACE, dry_run=True))

        wait_until(unasked, 20, "the API server asks no webhook any more", retry_on=(ApiError,))
        yield cluster


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

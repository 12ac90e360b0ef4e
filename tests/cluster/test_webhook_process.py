"""The webhook as a process: its certificate, its registration, and what the API server makes of both."""

from __future__ import annotations

import base64
import os
import signal
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from allocator.kube.client import JSON_PATCH, ApiError, Cluster
from allocator.kube.resource import MUTATING_WEBHOOKS, SECRETS, SERVICES, VALIDATING_WEBHOOKS
from allocator.objects.names import (
    ASSIGNED_IPS_ANNOTATION,
    DEFAULT_NAMESPACE,
    IP_ADDRESS_POOLS,
    IP_ALLOCATIONS,
    WEBHOOK_CERTIFICATE_SECRET,
    WEBHOOK_CONFIGURATION,
    WEBHOOK_SERVICE,
)
from tests.cluster.webhook_replica import (
    SERVER_NAME,
    Replica,
    mark_adopted,
    path_to,
    route_webhook_service,
    wait_endpoints,
)
from tests.lab.binaries import find
from tests.lab.control_plane import ControlPlane
from tests.lab.waiting import wait_until
from webhook.certificate_authority import KeyPair, issue
from webhook.certificate_manager import service_dns_names

pytestmark = pytest.mark.cluster

ROOT = Path(__file__).parents[2]
OVERLAY = str(ROOT / "kustomize" / "overlays" / "default")
CONFIGURATION_FILE = str(ROOT / "manifests" / "webhook-configuration.yaml")
FIRST_PORT, SECOND_PORT = 19443, 19543
REGISTERED = (MUTATING_WEBHOOKS, VALIDATING_WEBHOOKS)
SERVICE_PATH = "/mutate-v1-service"
HEAL_SECONDS = 10
CHECK_SECONDS = 30
"""Twice the time after which a replica looks at the Secret again, and some."""

Pair = tuple[Replica, Replica]


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ControlPlane]:
    """A control plane of this module's own, for a webhook that comes and goes would disturb other tests."""
    with ControlPlane(find(), tmp_path_factory.mktemp("webhook")) as control_plane:
        control_plane.kubectl("apply", "-k", OVERLAY)
        route_webhook_service(control_plane)
        mark_adopted(control_plane)
        yield control_plane


@pytest.fixture(scope="module")
def started(installed: ControlPlane, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pair]:
    """Two replicas started at the same moment on a cluster without a certificate Secret, then made endpoints."""
    logs = tmp_path_factory.mktemp("logs")
    pair = (
        Replica(installed, logs, name="webhook-1", port=FIRST_PORT),
        Replica(installed, logs, name="webhook-2", port=SECOND_PORT),
    )
    for replica in pair:
        replica.wait_ready()
        replica.publish()
    yield pair
    for replica in pair:
        replica.stop()


@pytest.fixture
def replicas(installed: ControlPlane, started: Pair) -> Pair:
    """Both replicas running, ready and behind the Service, whatever an earlier test did to them."""
    for replica in started:
        if not replica.process.alive:
            replica.restart()
        replica.wait_ready()
        replica.take_part(True)
    wait_endpoints(installed, {FIRST_PORT, SECOND_PORT})
    return started


@pytest.fixture
def cluster(installed: ControlPlane) -> Cluster:
    return installed.cluster()


def pool(name: str, addresses: str) -> dict[str, Any]:
    return {
        "apiVersion": IP_ADDRESS_POOLS.api_version,
        "kind": IP_ADDRESS_POOLS.kind,
        "metadata": {"name": name, "namespace": DEFAULT_NAMESPACE},
        "spec": {"addresses": [addresses]},
    }


def service(name: str) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": name, "namespace": "default"},
        "spec": {"type": "LoadBalancer", "selector": {"app": name}, "ports": [{"port": 80, "protocol": "TCP"}]},
    }


def secret(cluster: Cluster) -> dict[str, bytes]:
    data = cluster.get(SECRETS, WEBHOOK_CERTIFICATE_SECRET, DEFAULT_NAMESPACE)["data"]
    return {field: base64.b64decode(value) for field, value in data.items()}


def bundles(cluster: Cluster) -> set[bytes | None]:
    """The caBundle of every registered webhook."""
    found: set[bytes | None] = set()
    for resource in REGISTERED:
        for webhook in cluster.get(resource, WEBHOOK_CONFIGURATION)["webhooks"]:
            encoded = webhook["clientConfig"].get("caBundle")
            found.add(base64.b64decode(encoded) if encoded else None)
    return found


def wait_registered(cluster: Cluster) -> None:
    authority = secret(cluster)["ca.crt"]
    wait_until(
        lambda: bundles(cluster) == {authority},
        HEAL_SECONDS,
        "every webhook carries our caBundle",
        retry_on=(ApiError,),
    )


def assert_api_server_calls_the_webhook(cluster: Cluster) -> None:
    """Only a webhook the API server trusts can refuse a pool with a message of its own.

    The API server sees a mended registration by a watch of its own, a moment after we do.
    """

    def refused_by_us() -> bool:
        with pytest.raises(ApiError) as refused:
            cluster.create(IP_ADDRESS_POOLS, pool("refused", "nonsense"), DEFAULT_NAMESPACE, dry_run=True)
        return "denied the request: " in refused.value.message and "nonsense" in refused.value.message

    wait_until(refused_by_us, HEAL_SECONDS, "the API server asks the webhook and trusts its answer")


def test_two_replicas_that_start_at_once_agree_on_one_authority(replicas: Pair, cluster: Cluster) -> None:
    written = [replica.process.log.read_text().count("certificate.written") for replica in replicas]
    assert sum(written) == 1
    authority = secret(cluster)["ca.crt"]
    assert bundles(cluster) == {authority}
    assert len({replica.certificate_serial(trust=authority) for replica in replicas}) == 1


def test_the_api_server_verifies_the_certificate_and_takes_the_answer(replicas: Pair, cluster: Cluster) -> None:
    assert_api_server_calls_the_webhook(cluster)


def test_a_service_leaves_admission_with_its_address(replicas: Pair, cluster: Cluster) -> None:
    cluster.create(IP_ADDRESS_POOLS, pool("web", "192.0.2.10-192.0.2.20"), DEFAULT_NAMESPACE)

    def assigned() -> str | None:
        created = cluster.create(SERVICES, service("web"), "default", dry_run=False)
        annotations = created["metadata"].get("annotations") or {}
        if ASSIGNED_IPS_ANNOTATION not in annotations:
            cluster.delete(SERVICES, "web", "default")
        return annotations.get(ASSIGNED_IPS_ANNOTATION)

    # The replicas learn of a new pool by watch: a moment after it is there.
    address = wait_until(assigned, 10, "a Service is created with an address")
    try:
        assert address == "192.0.2.10"
        claim = cluster.get(IP_ALLOCATIONS, "192.0.2.10")
        assert claim["spec"]["holders"][0]["name"] == "web"
    finally:
        cluster.delete(SERVICES, "web", "default")


@pytest.mark.parametrize(
    ("body", "content_type", "status"),
    [
        (b"", "application/json", 400),
        (b"{", "application/json", 400),
        (b"[" * 100_000, "application/json", 400),
        (b'{"kind": "AdmissionReview"}', "application/json", 400),
        (b"{}", "text/yaml", 415),
        (b" " * (5 * 1024 * 1024), "application/json", 413),
    ],
)
def test_malformed_reviews_are_answered_with_4xx_over_tls(
    replicas: Pair, cluster: Cluster, body: bytes, content_type: str, status: int
) -> None:
    trust = secret(cluster)["ca.crt"]
    answered, document = replicas[0].post(
        path_to(cluster, SERVICE_PATH), body, trust=trust, content_type=content_type
    )
    assert (answered, document["code"]) == (status, status)
    assert "Traceback" not in replicas[0].process.log.read_text()


def test_applying_the_manifests_again_keeps_the_bundle(
    replicas: Pair, installed: ControlPlane, cluster: Cluster
) -> None:
    versions = [
        cluster.get(resource, WEBHOOK_CONFIGURATION)["metadata"]["resourceVersion"] for resource in REGISTERED
    ]
    installed.kubectl("apply", "-f", CONFIGURATION_FILE)
    after = [cluster.get(resource, WEBHOOK_CONFIGURATION)["metadata"]["resourceVersion"] for resource in REGISTERED]
    assert after == versions
    installed.kubectl(
        "apply", "--server-side", "--field-manager=gitops", "--force-conflicts", "-f", CONFIGURATION_FILE
    )
    assert bundles(cluster) == {secret(cluster)["ca.crt"]}


@pytest.mark.parametrize("command", ["replace", "delete-and-apply"])
def test_a_lost_bundle_comes_back(replicas: Pair, installed: ControlPlane, cluster: Cluster, command: str) -> None:
    if command == "replace":
        installed.kubectl("replace", "-f", CONFIGURATION_FILE)
    else:
        installed.kubectl("delete", "-f", CONFIGURATION_FILE)
        installed.kubectl("apply", "-f", CONFIGURATION_FILE)
    wait_registered(cluster)
    assert_api_server_calls_the_webhook(cluster)


def test_a_foreign_bundle_is_put_right(replicas: Pair, cluster: Cluster) -> None:
    foreign = base64.b64encode(b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n").decode()
    for resource in REGISTERED:
        patch = [{"op": "replace", "path": "/webhooks/0/clientConfig/caBundle", "value": foreign}]
        cluster.patch(resource, WEBHOOK_CONFIGURATION, patch, content_type=JSON_PATCH)
    wait_registered(cluster)


def test_a_certificate_near_its_end_is_renewed_and_served_without_a_restart(replicas: Pair, cluster: Cluster) -> None:
    before = secret(cluster)
    authority = KeyPair(certificate=before["ca.crt"], key=before["ca.key"])
    names = service_dns_names(WEBHOOK_SERVICE, DEFAULT_NAMESPACE)
    assert names[0] == SERVER_NAME
    ending = issue(authority, dns_names=names, now=datetime.now(UTC) - timedelta(days=70))
    stale = {
        "tls.crt": base64.b64encode(ending.certificate).decode(),
        "tls.key": base64.b64encode(ending.key).decode(),
    }
    pids = [replica.process.pid for replica in replicas]
    cluster.patch(SECRETS, WEBHOOK_CERTIFICATE_SECRET, {"data": stale}, DEFAULT_NAMESPACE)

    serial_before = replicas[0].certificate_serial(trust=before["ca.crt"])
    wait_until(
        lambda: serial_before not in {replica.certificate_serial(trust=before["ca.crt"]) for replica in replicas},
        CHECK_SECONDS,
        "both replicas serve the renewed certificate",
    )
    assert len({replica.certificate_serial(trust=before["ca.crt"]) for replica in replicas}) == 1
    assert secret(cluster)["ca.crt"] == before["ca.crt"]
    assert [replica.process.pid for replica in replicas] == pids
    assert_api_server_calls_the_webhook(cluster)


def test_a_deleted_secret_comes_back_with_the_same_authority(replicas: Pair, cluster: Cluster) -> None:
    before = secret(cluster)
    cluster.delete(SECRETS, WEBHOOK_CERTIFICATE_SECRET, DEFAULT_NAMESPACE)
    after = wait_until(lambda: secret(cluster), CHECK_SECONDS, "the Secret is written again", retry_on=(ApiError,))
    assert (after["ca.crt"], after["ca.key"]) == (before["ca.crt"], before["ca.key"])
    assert_api_server_calls_the_webhook(cluster)


def test_with_both_replicas_killed_services_pass_and_pools_do_not(
    replicas: Pair, installed: ControlPlane, cluster: Cluster
) -> None:
    for replica in replicas:
        replica.process.sigkill()
    created = cluster.create(SERVICES, service("unattended"), "default", dry_run=True)
    assert ASSIGNED_IPS_ANNOTATION not in (created["metadata"].get("annotations") or {})
    with pytest.raises(ApiError, match="failed calling webhook"):
        cluster.create(IP_ADDRESS_POOLS, pool("unattended", "192.0.2.99/32"), DEFAULT_NAMESPACE, dry_run=True)


def test_a_killed_replica_comes_back_with_the_same_authority(replicas: Pair, cluster: Cluster) -> None:
    before = secret(cluster)
    for replica in replicas:
        replica.process.sigkill()
    for replica in replicas:
        replica.restart()
        replica.wait_ready()
    assert secret(cluster) == before
    assert bundles(cluster) == {before["ca.crt"]}
    assert_api_server_calls_the_webhook(cluster)


def test_a_leaving_replica_fails_no_request(replicas: Pair, installed: ControlPlane, cluster: Cluster) -> None:
    failures: list[str] = []
    answered = 0
    over = threading.Event()

    def ask() -> None:
        nonlocal answered
        while not over.is_set():
            try:
                cluster.create(IP_ADDRESS_POOLS, pool("asked", "192.0.2.200/32"), DEFAULT_NAMESPACE, dry_run=True)
                answered += 1
            except ApiError as error:
                failures.append(str(error))

    askers = [threading.Thread(target=ask, name=f"asker-{number}") for number in range(4)]
    for asker in askers:
        asker.start()
    try:
        leaving = replicas[0]
        os.kill(leaving.process.pid, signal.SIGTERM)
        wait_until(lambda: leaving.readiness()[0] == 503, 2, "the leaving replica says that it is not ready")
        leaving.take_part(False)
        wait_endpoints(installed, {SECOND_PORT})
        assert leaving.process.wait(30) == 0
        reached = answered
        wait_until(lambda: answered > reached + 20, 10, "the other replica answers on")
    finally:
        over.set()
        for asker in askers:
            asker.join(timeout=10)
    assert failures == []


def test_a_killed_worker_is_replaced(replicas: Pair, cluster: Cluster) -> None:
    replica = replicas[0]
    (worker,) = Path(f"/proc/{replica.process.pid}/task/{replica.process.pid}/children").read_text().split()
    loaded = replica.process.log.read_text().count("certificate.loaded")
    os.kill(int(worker), signal.SIGKILL)
    replica.process.wait_until(
        lambda: replica.process.log.read_text().count("certificate.loaded") > loaded,
        20,
        "a new worker has the certificate",
    )
    replica.wait_ready()


def test_a_worker_never_outlives_its_parent(replicas: Pair, cluster: Cluster) -> None:
    replica = replicas[0]
    os.kill(replica.process.pid, signal.SIGKILL)
    replica.process.wait(5)
    replica.restart()
    replica.wait_ready()

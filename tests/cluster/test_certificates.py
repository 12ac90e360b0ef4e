"""Certificates through their whole life on a real API server: no end and no beginning fails an admission."""

from __future__ import annotations

import base64
import os
import signal
import ssl
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any, Self
from urllib.request import urlopen

import pytest
import yaml
from cryptography import x509

from allocator.kube.client import JSON_PATCH, ApiError, Cluster
from allocator.kube.resource import SECRETS, SERVICES
from allocator.objects.names import (
    DEFAULT_NAMESPACE,
    IP_ADDRESS_POOLS,
    WEBHOOK_CERTIFICATE_SECRET,
    WEBHOOK_CONFIGURATION,
    WEBHOOK_SERVICE,
)
from tests.cluster.admissions import Admissions
from tests.cluster.cert_manager import CONFIGURATIONS, SECRET, CertManager, pem_of, register
from tests.cluster.installation import OVERLAY, pool
from tests.cluster.webhook_replica import SERVER_NAME, Replica, mark_adopted, route_webhook_service, wait_endpoints
from tests.lab.binaries import find
from tests.lab.control_plane import ControlPlane
from tests.lab.waiting import wait_until

AUTHORITY_SECONDS, SERVING_SECONDS, SETTLE_SECONDS = 20.0, 10.0, 1.0
ROTATION_SECONDS = 90.0
"""Longer than two authorities live one after the other, on a machine that has other things to do."""
FIRST_PORT, SECOND_PORT = 21443, 21543
CLIENTS = 4
UNBOUND = "--max-unbound-reservations=100000"
"""No reconciler runs that would bind what is reserved."""
EXPIRY = "admitlb_webhook_certificate_expiry_timestamp_seconds"
NAMES = (SERVER_NAME, f"{SERVER_NAME}.cluster.local")
COMPONENT = Path(__file__).parents[2] / "kustomize" / "components" / "cert-manager"


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ControlPlane]:
    """A control plane whose API server refuses everything that the webhook does not answer for, Services included."""
    with ControlPlane(find(), tmp_path_factory.mktemp("certificates")) as control_plane:
        control_plane.kubectl("apply", "-k", str(OVERLAY))
        route_webhook_service(control_plane)
        mark_adopted(control_plane)
        for resource in CONFIGURATIONS:
            webhooks = control_plane.cluster().get(resource, WEBHOOK_CONFIGURATION)["webhooks"]
            strict = [
                {"op": "replace", "path": f"/webhooks/{index}/{key}", "value": value}
                for index in range(len(webhooks))
                for key, value in (("failurePolicy", "Fail"), ("timeoutSeconds", 30))
            ]
            control_plane.cluster().patch(resource, WEBHOOK_CONFIGURATION, strict, content_type=JSON_PATCH)
        yield control_plane


def secret(cluster: Cluster) -> dict[str, bytes]:
    data = cluster.get(SECRETS, WEBHOOK_CERTIFICATE_SECRET, DEFAULT_NAMESPACE)["data"]
    return {name: base64.b64decode(value) for name, value in data.items()}


def registered(cluster: Cluster) -> set[bytes]:
    """The distinct caBundles of all our webhooks."""
    return {
        base64.b64decode(webhook["clientConfig"].get("caBundle") or "")
        for resource in CONFIGURATIONS
        for webhook in cluster.get(resource, WEBHOOK_CONFIGURATION)["webhooks"]
    }


def end_of_serving(cluster: Cluster) -> float:
    """When the certificate in the Secret ends, in seconds since 1970."""
    return x509.load_pem_x509_certificate(secret(cluster)["tls.crt"]).not_valid_after_utc.timestamp()


def authorities(bundle: bytes) -> list[int]:
    """The serial numbers of a bundle's certificates."""
    return [certificate.serial_number for certificate in x509.load_pem_x509_certificates(bundle)]


@dataclass
class Handshakes:
    """A thread that does with every replica what API servers do: trust what is registered, and connect."""

    cluster: Cluster
    replicas: tuple[Replica, ...]
    away: set[str] = field(default_factory=set)
    """Names of replicas that are not to be asked; replaced whole by the test's thread."""
    serials: list[str] = field(default_factory=list)
    bundles: list[tuple[int, ...]] = field(default_factory=list)
    refused: list[str] = field(default_factory=list)

    def __enter__(self) -> Self:
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="handshakes")
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopping.set()
        self._thread.join(timeout=30)

    def _run(self) -> None:
        while not self._stopping.wait(0.05):
            for bundle in registered(self.cluster):
                trusted = tuple(authorities(bundle))
                if not self.bundles or self.bundles[-1] != trusted:
                    self.bundles.append(trusted)
                for replica in self.replicas:
                    if replica.name not in self.away:
                        self._shake(replica, bundle)

    def _shake(self, replica: Replica, bundle: bytes) -> None:
        try:
            serial = replica.certificate_serial(trust=bundle)
        except ssl.SSLError as error:
            self.refused.append(f"{time.strftime('%H:%M:%S')} {replica.name}: {error}")
        except OSError:
            # It is on its way out; the test says so a moment later.
            return
        else:
            if serial not in self.serials:
                self.serials.append(serial)


def leave_and_die(replica: Replica, installed: ControlPlane, *, others: set[int]) -> None:
    """Let a replica leave as from a drained node, and kill it before it has ended by itself."""
    os.kill(replica.process.pid, signal.SIGTERM)
    wait_until(lambda: replica.readiness()[0] == 503, 5, f"{replica.name} is not ready any more")
    replica.take_part(False)
    wait_endpoints(installed, others)
    wait_until(lambda: not asked_within(replica, 0.5), 15, f"{replica.name} is asked no more")
    replica.process.sigkill()


def asked_within(replica: Replica, seconds: float) -> bool:
    before = answered(replica)
    threading.Event().wait(seconds)
    return answered(replica) != before


def answered(replica: Replica) -> float:
    """How many reviews the replica has answered."""
    return sum(metrics(replica, "admitlb_admission_requests_total"))


def metrics(replica: Replica, name: str) -> list[float]:
    """The values of all series of that name."""
    with urlopen(f"http://127.0.0.1:{replica.monitor_port}/metrics", timeout=5) as answer:
        lines = answer.read().decode().splitlines()
    return [float(line.split()[-1]) for line in lines if line.partition("{")[0].partition(" ")[0] == name]


@pytest.fixture
def short_lived(installed: ControlPlane, tmp_path: Path) -> Iterator[tuple[Replica, Replica]]:
    """Two replicas behind the Service, whose authority lives for seconds."""
    options = (
        f"--authority-lifetime-seconds={AUTHORITY_SECONDS}",
        f"--certificate-lifetime-seconds={SERVING_SECONDS}",
        f"--certificate-settle-seconds={SETTLE_SECONDS}",
        "--drain-seconds=30",
        UNBOUND,
    )
    pair = (
        Replica(installed, tmp_path, name="short-lived-1", port=FIRST_PORT, options=options),
        Replica(installed, tmp_path, name="short-lived-2", port=SECOND_PORT, options=options),
    )
    for replica in pair:
        replica.wait_ready()
        replica.publish()
    wait_endpoints(installed, {FIRST_PORT, SECOND_PORT})
    yield pair
    for replica in pair:
        replica.stop()
        replica.withdraw()


def test_authorities_follow_each_other_without_one_failed_admission(
    installed: ControlPlane, short_lived: tuple[Replica, Replica], tmp_path: Path
) -> None:
    cluster = installed.cluster()
    first, _ = short_lived
    wait_asked(cluster)
    cluster.create(IP_ADDRESS_POOLS, pool("load", "10.0.0.0/16"), DEFAULT_NAMESPACE)
    begun_with = secret(cluster)
    watching = Handshakes(cluster, short_lived)
    with Admissions(installed.cluster, clients=CLIENTS, prefix="load") as load, watching:
        wait_until(lambda: len(authorities(secret(cluster)["ca.crt"])) == 2, ROTATION_SECONDS, "a second authority")
        watching.away = {first.name}
        leave_and_die(first, installed, others={SECOND_PORT})
        wait_until(
            lambda: authorities(begun_with["ca.crt"])[0] not in authorities(secret(cluster)["ca.crt"]),
            ROTATION_SECONDS,
            "the first authority is gone though a replica is dead",
        )
        first.restart()
        first.wait_ready()
        first.take_part(True)
        watching.away = set()
        doubted = secret(cluster)
        cluster.patch(SECRETS, WEBHOOK_CERTIFICATE_SECRET, {"data": {"ca.key": ""}}, DEFAULT_NAMESPACE)
        wait_until(
            lambda: not set(authorities(doubted["ca.crt"])) & set(authorities(secret(cluster)["ca.crt"])),
            ROTATION_SECONDS,
            "an authority whose key was taken out of the Secret is gone",
        )
        wait_until(lambda: registered(cluster) == {secret(cluster)["ca.crt"]}, 10, "only the last is registered")
    ended_with = secret(cluster)
    print(f"{load.admitted} admissions, {len(watching.serials)} serving certificates, bundles {watching.bundles}")
    assert load.failures == []
    assert load.unattended == []
    assert watching.refused == []
    assert load.admitted > 100
    assert len(watching.serials) >= 3
    assert_overlapping(watching.bundles)
    wait_until(lambda: metrics(first, EXPIRY) == [end_of_serving(cluster)], 10, "the metric tells the end")
    assert not set(authorities(begun_with["ca.crt"])) & set(authorities(ended_with["ca.crt"]))
    assert ended_with["tls.crt"] != begun_with["tls.crt"]
    for log in tmp_path.glob("*.log"):
        assert "PRIVATE KEY" not in log.read_text()
        assert "Traceback" not in log.read_text()
        assert "webhooks.not_registered" not in log.read_text()


def wait_asked(cluster: Cluster) -> None:
    """Wait until the API server has learnt of configurations and endpoints, and pools can be made."""

    def refused() -> bool:
        try:
            cluster.create(IP_ADDRESS_POOLS, pool("probe", "nonsense"), DEFAULT_NAMESPACE, dry_run=True)
        except ApiError as error:
            return "nonsense" in error.message
        return False

    wait_until(refused, 20, "the API server asks the webhook")


def assert_overlapping(bundles: list[tuple[int, ...]]) -> None:
    """Assert that no registered bundle was followed by one that shares no authority with it."""
    for before, after in pairwise(bundles):
        assert set(before) & set(after), f"{before} was followed by {after}"


@pytest.fixture
def cert_manager(installed: ControlPlane) -> CertManager:
    """cert-manager with a certificate issued and nothing injected."""
    register(installed.cluster(), None)
    manager = CertManager(installed.cluster(), dns_names=NAMES)
    manager.issue()
    return manager


@pytest.fixture
def mounted(
    installed: ControlPlane, cert_manager: CertManager, tmp_path: Path
) -> Iterator[tuple[tuple[Replica, Path], tuple[Replica, Path]]]:
    """Two replicas that serve with what is mounted, each from its own node's folder, not yet behind the Service."""
    pair = tuple(mounting(installed, cert_manager, tmp_path, number) for number in range(2))
    yield pair[0], pair[1]
    for replica, _ in pair:
        replica.stop()


def mounting(installed: ControlPlane, manager: CertManager, directory: Path, number: int) -> tuple[Replica, Path]:
    folder = directory / f"node-{number}"
    manager.mount(folder)
    options = (f"--certificate-dir={folder}", UNBOUND)
    port = (FIRST_PORT, SECOND_PORT)[number]
    return Replica(installed, directory, name=f"mounting-{number}", port=port, options=options), folder


def serves(replica: Replica, certificate: x509.Certificate, trust: bytes) -> bool:
    return int(replica.certificate_serial(trust=trust), 16) == certificate.serial_number


def test_certificates_of_cert_manager_are_renewed_without_one_failed_admission(
    installed: ControlPlane,
    cert_manager: CertManager,
    mounted: tuple[tuple[Replica, Path], tuple[Replica, Path]],
    tmp_path: Path,
) -> None:
    cluster = installed.cluster()
    replicas = [replica for replica, _ in mounted]
    for replica in replicas:
        wait_unready(replica, "carries no caBundle")
    cert_manager.inject()
    for replica in replicas:
        replica.wait_ready()
        replica.publish()
    wait_endpoints(installed, {FIRST_PORT, SECOND_PORT})
    wait_asked(cluster)
    pids = [replica.process.pid for replica in replicas]
    with Admissions(installed.cluster, clients=CLIENTS, prefix="mounted") as load:
        renewed = cert_manager.issue()
        take_up(renewed, mounted, cert_manager)
        # The authority's turn: the injector is quick, the kubelets are not.
        former = registered(cluster)
        cert_manager.renew_authority()
        renewed = cert_manager.issue()
        cert_manager.inject()
        assert registered(cluster) != former
        versions = [
            cluster.get(each, WEBHOOK_CONFIGURATION)["metadata"]["resourceVersion"] for each in CONFIGURATIONS
        ]
        reached = load.admitted
        wait_until(lambda: load.admitted > reached + 30, 30, "admissions under the renewed authority")
        take_up(renewed, mounted, cert_manager)
    for replica in replicas:
        assert metrics(replica, EXPIRY) == [renewed.not_valid_after_utc.timestamp()]
        replica.withdraw()
    print(f"{load.admitted} admissions")
    assert (load.failures, load.unattended) == ([], [])
    assert [replica.process.pid for replica in replicas] == pids
    # Nobody but the injector has written a configuration.
    assert versions == [
        cluster.get(each, WEBHOOK_CONFIGURATION)["metadata"]["resourceVersion"] for each in CONFIGURATIONS
    ]
    assert all("PRIVATE KEY" not in log.read_text() for log in tmp_path.glob("*.log"))


def take_up(
    certificate: x509.Certificate,
    mounted: tuple[tuple[Replica, Path], tuple[Replica, Path]],
    manager: CertManager,
) -> None:
    """Let one kubelet after the other show the Secret, and wait until the webhook beside it serves with it."""
    trust = manager.files()["ca.crt"]
    for replica, folder in mounted:
        manager.mount(folder)
        wait_serves(replica, certificate, trust)


def wait_serves(replica: Replica, certificate: x509.Certificate, trust: bytes) -> None:
    wait_until(lambda: serves(replica, certificate, trust), 20, f"{replica.name} serves with the renewed certificate")


def wait_unready(replica: Replica, why: str) -> None:
    wait_until(lambda: why in replica.readiness()[1], 20, f"{replica.name} is not ready: {why}", retry_on=(OSError,))


@pytest.fixture
def ready(installed: ControlPlane, cert_manager: CertManager, tmp_path: Path) -> Iterator[tuple[Replica, Path]]:
    """One ready replica that serves with what is mounted."""
    cert_manager.inject()
    replica, folder = mounting(installed, cert_manager, tmp_path, 0)
    replica.wait_ready()
    yield replica, folder
    replica.stop()


def test_ready_is_who_the_api_server_would_believe(
    installed: ControlPlane, cert_manager: CertManager, ready: tuple[Replica, Path]
) -> None:
    replica, folder = ready
    stranger = CertManager(installed.cluster(), dns_names=NAMES)

    register(installed.cluster(), pem_of(stranger.authority))
    wait_unready(replica, "certificate verify failed")
    register(installed.cluster(), None)
    wait_unready(replica, "carries no caBundle")
    cert_manager.inject()
    replica.wait_ready()

    stranger.issue()
    stranger.mount(folder)
    wait_unready(replica, "certificate verify failed")
    cert_manager.issue(dns_names=("elsewhere.metallb-system.svc",))
    cert_manager.mount(folder)
    wait_unready(replica, "Hostname mismatch")
    renewed = cert_manager.issue()
    cert_manager.mount(folder)
    replica.wait_ready()

    # What cannot be served with at all leaves the one before in place.
    cert_manager.store({"tls.key": b"no key", "tls.crt": b"no certificate"})
    cert_manager.mount(folder)
    replica.process.wait_until(
        lambda: "certificate.not_read" in replica.process.log.read_text(), 20, "the replica says what it cannot read"
    )
    assert replica.readiness()[0] == 200
    assert serves(replica, renewed, cert_manager.files()["ca.crt"])


def test_ready_is_who_the_service_leads_to(installed: ControlPlane, ready: tuple[Replica, Path]) -> None:
    replica, _ = ready
    port: dict[str, Any] = {"name": "webhook", "port": 443, "protocol": "TCP", "targetPort": FIRST_PORT}
    try:
        for wrong, why in (({"targetPort": 9999}, "leads to port 9999"), ({"port": 8443}, "has no port 443")):
            ports = {"spec": {"ports": [{**port, **wrong}]}}
            installed.cluster().patch(SERVICES, WEBHOOK_SERVICE, ports, DEFAULT_NAMESPACE)
            wait_unready(replica, why)
    finally:
        route_webhook_service(installed)
    replica.wait_ready()


@pytest.mark.parametrize(("prefix", "namespace"), [("", DEFAULT_NAMESPACE), ("my-", "lb")])
def test_the_component_asks_cert_manager_for_what_the_webhook_serves_with(
    installed: ControlPlane, tmp_path: Path, prefix: str, namespace: str
) -> None:
    root = os.path.relpath(COMPONENT.parents[1], tmp_path.resolve())
    overlay = {
        "resources": [f"{root}/base"],
        "components": [f"{root}/components/cert-manager"],
        "namePrefix": prefix,
        "namespace": namespace,
    }
    (tmp_path / "kustomization.yaml").write_text(yaml.safe_dump(overlay))
    rendered = list(yaml.safe_load_all(installed.kubectl("kustomize", str(tmp_path)).stdout))
    found = {(one["kind"], one["metadata"]["name"]): one for one in rendered}

    certificate = found["Certificate", f"{prefix}metallb-webhook"]
    assert certificate["metadata"]["namespace"] == namespace
    name = f"{prefix}{WEBHOOK_SERVICE}.{namespace}.svc"
    assert certificate["spec"]["dnsNames"] == [name, f"{name}.cluster.local"]
    assert certificate["spec"]["secretName"] == SECRET
    issuer = found["Issuer", certificate["spec"]["issuerRef"]["name"]]
    authority = found["Certificate", f"{prefix}metallb-webhook-ca"]
    assert issuer["spec"]["ca"]["secretName"] == authority["spec"]["secretName"]
    assert authority["spec"]["privateKey"]["rotationPolicy"] == "Never"
    assert ("Issuer", authority["spec"]["issuerRef"]["name"]) in found
    for kind in ("MutatingWebhookConfiguration", "ValidatingWebhookConfiguration"):
        (configuration,) = [one for one in rendered if one["kind"] == kind]
        injected = configuration["metadata"]["annotations"]["cert-manager.io/inject-ca-from"]
        assert injected == f"{namespace}/{prefix}metallb-webhook"

    pod = found["Deployment", f"{prefix}controller"]["spec"]["template"]["spec"]
    (webhook,) = [container for container in pod["containers"] if container["name"] == "webhook"]
    (folder,) = [each["value"] for each in webhook["env"] if each["name"] == "ADMITLB_CERTIFICATE_DIR"]
    (volume,) = [each["name"] for each in webhook["volumeMounts"] if each["mountPath"] == folder]
    assert {"name": volume, "secret": {"secretName": SECRET, "defaultMode": 0o440}} in pod["volumes"]

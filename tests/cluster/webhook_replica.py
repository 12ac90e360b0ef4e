"""One `admitlb webhook` process under the shipped RBAC, which the API server reaches through the shipped Service."""

from __future__ import annotations

import base64
import http.client
import json
import ssl
import subprocess
import sys
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from allocator.kube.client import AlreadyExists, Cluster, NotFound
from allocator.kube.resource import ENDPOINT_SLICES_V1, LEASES, NODES, SECRETS, SERVICES, Resource
from allocator.objects.names import (
    ADOPTED_ANNOTATION,
    DEFAULT_NAMESPACE,
    RECONCILER_LEASE,
    WEBHOOK_CERTIFICATE_SECRET,
    WEBHOOK_SERVICE,
)
from tests.lab.control_plane import ControlPlane
from tests.lab.processes import Process
from tests.lab.waiting import wait_until
from webhook.path_token import PATH_SECRET_FIELD, path_with_token

PODS = Resource("", "v1", "pods", "Pod")
ENDPOINTS = Resource("", "v1", "endpoints", "Endpoints")
RESOLVES_BY_SLICES = (1, 33, 0)
"""The first Kubernetes whose API server finds a webhook's Service by its EndpointSlices."""
NODE = "none"
SERVER_NAME = f"{WEBHOOK_SERVICE}.{DEFAULT_NAMESPACE}.svc"
POD_ADDRESS, SECOND_POD_ADDRESS = "100.64.7.1", "100.64.7.2"
"""Loopback addresses are no valid endpoints, so `lo` gets these as well. They stay there, and in no test's pool:
speakers would report that somebody on the LAN has them."""


def route_webhook_service(control_plane: ControlPlane) -> None:
    """Let the webhook's Service reach replicas that share one address and differ by port."""
    give_address(POD_ADDRESS)
    ports = [{"name": "webhook", "port": 443, "protocol": "TCP", "targetPort": "webhook-server"}]
    control_plane.cluster().patch(SERVICES, WEBHOOK_SERVICE, {"spec": {"ports": ports}}, DEFAULT_NAMESPACE)


def give_address(address: str) -> None:
    """Let this network namespace have a pod's address."""
    subprocess.run(["ip", "address", "replace", f"{address}/32", "dev", "lo"], check=True, timeout=10)


def ensure_node(cluster: Cluster, name: str) -> None:
    """Make the Node a pod is bound to: without one the pod is no endpoint (Kubernetes 1.21 and later)."""
    with suppress(AlreadyExists):
        cluster.create(NODES, {"apiVersion": "v1", "kind": "Node", "metadata": {"name": name}})


def mark_adopted(control_plane: ControlPlane) -> None:
    """Say what a leading reconciler says once it has taken over existing Services, where none runs."""
    metadata = {"name": RECONCILER_LEASE, "annotations": {ADOPTED_ANNOTATION: "true"}}
    lease = {"apiVersion": LEASES.api_version, "kind": LEASES.kind, "metadata": metadata}
    control_plane.cluster().create(LEASES, lease, DEFAULT_NAMESPACE)


def path_to(cluster: Cluster, route: str) -> str:
    """Return the path with the token in force, as registration writes it."""
    stored = cluster.get(SECRETS, WEBHOOK_CERTIFICATE_SECRET, DEFAULT_NAMESPACE)["data"][PATH_SECRET_FIELD]
    return path_with_token(base64.b64decode(stored), route)


class Replica:
    """A webhook process and the Pod object that stands for it; owned by one test or fixture."""

    program: Sequence[str | Path] = (Path(sys.executable).with_name("admitlb"), "webhook")

    def __init__(
        self, control_plane: ControlPlane, directory: Path, *, name: str, port: int, options: Sequence[str] = ()
    ) -> None:
        self._control_plane = control_plane
        self._directory = directory
        self._options = tuple(options)
        self.name = name
        self.port = port
        self.monitor_port = port + 1
        self.process = self._start()

    def restart(self) -> None:
        """Start the process again after its end."""
        self.process = self._start()

    def wait_ready(self, timeout_seconds: float = 20) -> None:
        """Wait until the process says that it is ready to be sent requests."""
        self.process.wait_until(
            lambda: self.readiness()[0] == 200, timeout_seconds, f"{self.name} is ready", retry_on=(OSError,)
        )

    def readiness(self) -> tuple[int, str]:
        """Return status and text of /readyz on the monitoring port."""
        connection = http.client.HTTPConnection("127.0.0.1", self.monitor_port, timeout=2)
        try:
            connection.request("GET", "/readyz")
            answer = connection.getresponse()
            return answer.status, answer.read().decode()
        finally:
            connection.close()

    def publish(self, *, ready: bool = True) -> None:
        """Make the process an endpoint of the webhook's Service, as a kubelet does with a Ready pod (or a pod)."""
        cluster = self._control_plane.cluster()
        container = {
            "name": "webhook",
            "image": "admitlb:latest",
            "ports": [{"name": "webhook-server", "containerPort": self.port, "protocol": "TCP"}],
        }
        labels = {"app": "metallb", "component": "controller"}
        pod = {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {"name": self.name, "namespace": DEFAULT_NAMESPACE, "labels": labels},
            "spec": {"nodeName": NODE, "automountServiceAccountToken": False, "containers": [container]},
        }
        ensure_node(cluster, NODE)
        cluster.create(PODS, pod, DEFAULT_NAMESPACE)
        self.take_part(ready)

    def withdraw(self) -> None:
        """Delete the Pod that `publish` made; the process is another matter."""
        self._control_plane.kubectl(
            "delete", "pod", self.name, "-n", DEFAULT_NAMESPACE, "--grace-period=0", "--force"
        )

    def take_part(self, ready: bool) -> None:
        """Mark the Pod Ready or not, as a kubelet does by the probe's answer."""
        status = {
            "phase": "Running",
            "podIP": POD_ADDRESS,
            "podIPs": [{"ip": POD_ADDRESS}],
            "conditions": [{"type": "Ready", "status": str(ready)}],
        }
        cluster = self._control_plane.cluster()
        cluster.patch(PODS, self.name, {"status": status}, DEFAULT_NAMESPACE, subresource="status")

    def post(
        self, path: str, body: bytes, *, trust: bytes, content_type: str = "application/json"
    ) -> tuple[int, dict[str, Any]]:
        """Send one request over TLS, verified against the PEM bundle `trust`; return status and JSON."""
        connection = self._connect(trust)
        try:
            connection.request("POST", path, body, {"Content-Type": content_type})
            answer = connection.getresponse()
            return answer.status, json.loads(answer.read())
        finally:
            connection.close()

    def certificate_serial(self, *, trust: bytes) -> str:
        """Return the serial number of the certificate the process serves with now."""
        connection = self._connect(trust)
        try:
            assert isinstance(connection.sock, ssl.SSLSocket)
            certificate = connection.sock.getpeercert() or {}
            return str(certificate["serialNumber"])
        finally:
            connection.close()

    def _connect(self, trust: bytes) -> http.client.HTTPConnection:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.load_verify_locations(cadata=trust.decode("ascii"))
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=5)
        connection.connect()
        connection.sock = context.wrap_socket(connection.sock, server_hostname=SERVER_NAME)
        return connection

    def stop(self) -> None:
        """Kill the process, whatever state it is in."""
        self.process.sigkill()

    def _start(self) -> Process:
        kubeconfig = self._control_plane.kubeconfig_for(DEFAULT_NAMESPACE, "controller")
        argv: list[str | Path] = [
            *self.program,
            f"--kubeconfig={kubeconfig}",
            f"--port={self.port}",
            f"--monitor-port={self.monitor_port}",
            *self._options,
        ]
        return Process(argv, name=self.name, log=self._directory / f"{self.name}.log")


class LegacyReplica(Replica):
    """One of a release that knew no tokens."""

    program = (sys.executable, "-m", "tests.cluster.legacy.program")


def wait_endpoints(control_plane: ControlPlane, ports: set[int]) -> None:
    """Wait until exactly these ports stand behind the webhook's Service, as the API server looks at it."""
    cluster = control_plane.cluster()

    def seen() -> set[int]:
        if control_plane.binaries.server_version < RESOLVES_BY_SLICES:
            subsets = cluster.get(ENDPOINTS, WEBHOOK_SERVICE, DEFAULT_NAMESPACE).get("subsets") or []
            return {port["port"] for subset in subsets if subset.get("addresses") for port in subset["ports"]}
        of_service = f"kubernetes.io/service-name={WEBHOOK_SERVICE}"
        slices = cluster.list(ENDPOINT_SLICES_V1, DEFAULT_NAMESPACE, label_selector=of_service)["items"]
        return {
            port["port"]
            for one in slices
            for port in one["ports"] or ()
            if any(endpoint["conditions"].get("ready") for endpoint in one["endpoints"] or ())
        }

    wait_until(lambda: seen() == ports, 20, f"the webhook's Service leads to {ports}", retry_on=(NotFound,))

"""Reconcilers as processes under their real role, without a webhook: nothing is checked at admission."""

from __future__ import annotations

import http.client
import socket
import sys
from contextlib import suppress
from pathlib import Path

from allocator.kube.client import Cluster, NotFound, Object
from allocator.kube.resource import EVENTS, LEASES, SERVICES, Resource
from allocator.objects.names import (
    CONFIGURATION_STATES,
    DEFAULT_NAMESPACE,
    IP_ADDRESS_POOLS,
    IP_ALLOCATIONS,
    L2_ADVERTISEMENTS,
    RECONCILER_LEASE,
)
from allocator.rules.service_report import IP_ASSIGNED
from tests.cluster.installation import service
from tests.lab.control_plane import ControlPlane
from tests.lab.processes import Process
from tests.lab.waiting import wait_until

MANIFESTS = Path(__file__).parents[2] / "manifests"
TENTATIVE_AGE_SECONDS = 3
OURS = (IP_ADDRESS_POOLS, L2_ADVERTISEMENTS, CONFIGURATION_STATES)


class Reconciling:
    """Kinds and roles of AdmitLB on a control plane, and as many reconcilers as a test starts."""

    def __init__(self, control_plane: ControlPlane, directory: Path) -> None:
        self.control_plane = control_plane
        self.cluster: Cluster = control_plane.cluster()
        self._directory = directory
        self._processes: list[Process] = []
        parts = [str(MANIFESTS / part) for part in ("namespace.yaml", "crds", "rbac-controller.yaml")]
        control_plane.kubectl("apply", *(word for part in parts for word in ("-f", part)))
        wait_until(
            lambda: all(self.cluster.serves(kind) for kind in (*OURS, IP_ALLOCATIONS)), 10, "our kinds are served"
        )

    def start(self, name: str = "reconciler", *options: str) -> Reconciler:
        """Start one more, with further command-line options; it stands for election at once."""
        reconciler = Reconciler(self.control_plane, self._directory, *options, name=name)
        self._processes.append(reconciler.process)
        return reconciler

    def stop(self) -> None:
        """Kill every reconciler."""
        for process in self._processes:
            process.sigkill()

    def leader(self) -> str:
        """Return who holds the lease, empty when nobody does."""
        leases = {lease["metadata"]["name"]: lease for lease in self.cluster.list(LEASES, DEFAULT_NAMESPACE)["items"]}
        return str((leases.get(RECONCILER_LEASE) or {"spec": {}})["spec"].get("holderIdentity") or "")

    def forget_leader(self) -> None:
        """Delete the lease, so that nobody waits for a leader that was killed."""
        with suppress(NotFound):
            self.cluster.delete(LEASES, RECONCILER_LEASE, DEFAULT_NAMESPACE)

    def claims(self) -> dict[str, Object]:
        """Return every IPAllocation's spec by address."""
        return {item["spec"]["address"]: item["spec"] for item in self.cluster.list(IP_ALLOCATIONS)["items"]}

    def held(self, address: str) -> list[str]:
        """Return the names of those that hold an address now; nobody does while it cools."""
        spec = self.claims().get(address)
        return [] if spec is None or spec["state"] == "Cooling" else [one["name"] for one in spec["holders"]]

    def event(self, name: str, reason: str) -> str:
        """Return what the last Event of that reason says about a Service of namespace default, empty without one."""
        found = [
            one["message"]
            for one in self.cluster.list(EVENTS, "default")["items"]
            if one["involvedObject"]["name"] == name and one["reason"] == reason
        ]
        return found[-1] if found else ""

    def clear(self) -> None:
        """Delete what a test has left, pools once the reconciler has let go of what is in them."""
        self._delete_services()
        wait_until(lambda: not self.claims(), 30, "every claim is gone")
        self._delete_all(IP_ADDRESS_POOLS, L2_ADVERTISEMENTS)
        wait_until(self._finds_no_pool, 30, "the reconciler has seen the last pool go")

    def _finds_no_pool(self) -> bool:
        """Ask for an address, and tell whether the reconciler answers that there are no pools."""
        self.cluster.create(SERVICES, service("probe"), "default")

        def told() -> str:
            found = conditions(self.cluster.get(SERVICES, "probe", "default")).get(IP_ASSIGNED)
            return str(found["reason"]) if found else ""

        reason = wait_until(told, 10, "a Service is told about its address")
        self._delete_services()
        wait_until(lambda: not self.claims(), 30, "every claim is gone")
        return reason == "NoPool"

    def empty(self) -> None:
        """Delete what another file's tests have left."""
        self.wipe()
        self._delete_all(CONFIGURATION_STATES, EVENTS)

    def wipe(self) -> None:
        """Delete what a test has left where no reconciler runs."""
        self._delete_services()
        self._delete_all(IP_ALLOCATIONS, IP_ADDRESS_POOLS, L2_ADVERTISEMENTS)
        self.forget_leader()

    def _delete_services(self) -> None:
        for document in self.cluster.list(SERVICES, "default")["items"]:
            if document["metadata"]["name"] != "kubernetes":
                self.cluster.delete(SERVICES, document["metadata"]["name"], "default")

    def _delete_all(self, *kinds: Resource) -> None:
        for kind in kinds:
            for document in self.cluster.list(kind)["items"]:
                self.cluster.delete(kind, document["metadata"]["name"], document["metadata"].get("namespace"))


class Reconciler:
    """One `admitlb reconciler`; `process` is its handle."""

    def __init__(self, control_plane: ControlPlane, directory: Path, *options: str, name: str) -> None:
        kubeconfig = control_plane.kubeconfig_for(DEFAULT_NAMESPACE, "controller")
        self._monitor_port = free_port()
        self._log = directory / f"{name}-{self._monitor_port}.log"
        argv: list[str | Path] = [
            Path(sys.executable).with_name("admitlb"),
            "reconciler",
            f"--kubeconfig={kubeconfig}",
            f"--monitor-port={self._monitor_port}",
            f"--tentative-age-seconds={TENTATIVE_AGE_SECONDS}",
            "--log-level=debug",
            *options,
        ]
        self.process = Process(argv, name=name, log=self._log)

    def log(self) -> str:
        """Return what it has logged so far."""
        return self._log.read_text()

    def wait_leading(self, timeout_seconds: float = 30) -> None:
        """Wait until it has taken up the lead."""
        self.process.wait_until(
            lambda: self.metrics().get("admitlb_reconciler_leading") == 1,
            timeout_seconds,
            "it leads",
            retry_on=(OSError, http.client.HTTPException),
        )

    def readiness(self) -> str:
        """Return what /readyz says."""
        connection = http.client.HTTPConnection("127.0.0.1", self._monitor_port, timeout=5)
        try:
            connection.request("GET", "/readyz")
            return connection.getresponse().read().decode()
        finally:
            connection.close()

    def metrics(self) -> dict[str, float]:
        """Return the value of every sample by its name and labels, as written."""
        connection = http.client.HTTPConnection("127.0.0.1", self._monitor_port, timeout=5)
        try:
            connection.request("GET", "/metrics")
            text = connection.getresponse().read().decode()
        finally:
            connection.close()
        samples = (line.rsplit(" ", 1) for line in text.splitlines() if line and not line.startswith("#"))
        return {name: float(value) for name, value in samples}


def free_port() -> int:
    """Return a port of 127.0.0.1 that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def advertisement(name: str, **spec: object) -> Object:
    """An L2Advertisement document."""
    return {
        "apiVersion": "metallb.io/v1beta1",
        "kind": "L2Advertisement",
        "metadata": {"name": name, "namespace": DEFAULT_NAMESPACE},
        "spec": spec,
    }


def conditions(obj: Object) -> dict[str, Object]:
    """The object's conditions by type."""
    return {one["type"]: one for one in (obj.get("status") or {}).get("conditions") or ()}


def kstatus(obj: Object) -> str:
    """What Flux makes of the object (sigs.k8s.io/cli-utils/pkg/kstatus/status/core.go)."""
    metadata, status = obj["metadata"], obj.get("status") or {}
    seen = {name: one["status"] for name, one in conditions(obj).items()}
    if metadata.get("deletionTimestamp"):
        return "Terminating"
    if status.get("observedGeneration", metadata["generation"]) != metadata["generation"]:
        return "InProgress"
    if seen.get("Reconciling") == "True":
        return "InProgress"
    if seen.get("Stalled") == "True":
        return "Failed"
    return "Current" if seen.get("Ready", "True") == "True" else "InProgress"

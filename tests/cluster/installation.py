"""AdmitLB without nodes: webhooks and reconcilers as processes under their real roles, on a real API server."""

from __future__ import annotations

import base64
import json
import sys
import time
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from allocator.kube.client import AlreadyExists, ApiError, Cluster, Conflict, NotFound
from allocator.kube.resource import NAMESPACES, SECRETS, SERVICES
from allocator.objects.names import (
    BFD_PROFILES,
    BGP_ADVERTISEMENTS,
    BGP_PEERS,
    COMMUNITIES,
    DEFAULT_NAMESPACE,
    IP_ADDRESS_POOLS,
    IP_ALLOCATIONS,
    L2_ADVERTISEMENTS,
    WEBHOOK_CERTIFICATE_SECRET,
)
from tests.cluster.webhook_replica import Replica, path_to, route_webhook_service, wait_endpoints
from tests.lab.control_plane import ControlPlane
from tests.lab.processes import Process
from tests.lab.waiting import wait_until

OVERLAY = Path(__file__).parents[2] / "kustomize" / "overlays" / "default"
TENTATIVE_AGE_SECONDS = 4
BESIDE_POOLS = (L2_ADVERTISEMENTS, BGP_ADVERTISEMENTS, BGP_PEERS, BFD_PROFILES, COMMUNITIES)
"""What people write beside pools and Services, users first."""

Object = dict[str, Any]


class Installation:
    """Two webhooks behind the Service and two reconcilers, one of which leads; reservations age in seconds."""

    def __init__(
        self,
        control_plane: ControlPlane,
        directory: Path,
        *,
        first_port: int = 19643,
        tentative_age_seconds: float = TENTATIVE_AGE_SECONDS,
    ) -> None:
        self.control_plane = control_plane
        self.cluster: Cluster = control_plane.cluster()
        control_plane.kubectl("apply", "-k", str(OVERLAY))
        route_webhook_service(control_plane)
        self.directory = directory
        self._tentative_age_seconds = tentative_age_seconds
        self._ports = (first_port, first_port + 10)
        self.webhooks = [Replica(control_plane, directory, name=f"webhook-{port}", port=port) for port in self._ports]
        self.reconcilers = [self._reconciler(number) for number in range(2)]
        for replica in self.webhooks:
            replica.wait_ready()
            replica.publish()
        wait_endpoints(control_plane, set(self._ports))
        # The API server's webhook dispatcher learns of configurations and endpoints from watches of its own.
        wait_until(self._admits, 20, "the API server asks the webhook")

    def _reconciler(self, number: int) -> Process:
        kubeconfig = self.control_plane.kubeconfig_for(DEFAULT_NAMESPACE, "controller")
        argv: list[str | Path] = [
            Path(sys.executable).with_name("admitlb"),
            "reconciler",
            f"--kubeconfig={kubeconfig}",
            f"--monitor-port={self._ports[0] + 5 + number}",
            f"--tentative-age-seconds={self._tentative_age_seconds}",
        ]
        return Process(argv, name=f"reconciler-{number}", log=self.directory / f"reconciler-{number}.log")

    def _admits(self) -> bool:
        try:
            self.cluster.create(IP_ADDRESS_POOLS, pool("probe", "not-an-address"), DEFAULT_NAMESPACE, dry_run=True)
        except ApiError as error:
            return error.status == 422
        return False

    def restart_webhook(self, number: int) -> None:
        """Bring a killed webhook back and wait until it is ready."""
        self.webhooks[number].restart()
        self.webhooks[number].wait_ready()

    def restart_reconciler(self, number: int) -> None:
        """Bring a killed reconciler back."""
        self.reconcilers[number] = self._reconciler(number)

    def start_again(self) -> None:
        """Start what has ended, as a kubelet does: a reconciler ends when it cannot renew its Lease in time."""
        for number, process in enumerate(self.reconcilers):
            if not process.alive:
                self.restart_reconciler(number)
        for number, replica in enumerate(self.webhooks):
            if not replica.process.alive:
                self.restart_webhook(number)

    def wait_led(self) -> None:
        """Wait until a reconciler that runs now holds the lease and works."""
        name = f"lead-{time.monotonic_ns()}"
        self.cluster.create(IP_ADDRESS_POOLS, pool(name, "198.18.0.1", autoAssign=False), DEFAULT_NAMESPACE)
        wait_until(
            lambda: "status" in self.cluster.get(IP_ADDRESS_POOLS, name, DEFAULT_NAMESPACE),
            30,
            "a reconciler counts a new pool",
        )
        self.cluster.delete(IP_ADDRESS_POOLS, name, DEFAULT_NAMESPACE)

    def add_pool(self, document: Object) -> None:
        """Create a pool and wait until both webhooks know it."""
        self.cluster.create(IP_ADDRESS_POOLS, document, DEFAULT_NAMESPACE)
        request = service("probe", {"metallb.io/address-pool": document["metadata"]["name"]})
        unknown = f"there is no pool {document['metadata']['name']} "

        def known() -> bool:
            answers = [self.ask(replica, request, dry_run=True) for replica in self.webhooks]
            return not any(unknown in warning for answer in answers for warning in answer.get("warnings", ()))

        wait_until(known, 10, "both webhooks know the pool")

    def ask(self, replica: Replica, request: Object, *, uid: str = "1", dry_run: bool = False) -> Object:
        """Ask one webhook about the creation of a Service in `default`, as the API server does."""
        authority = self.cluster.get(SECRETS, WEBHOOK_CERTIFICATE_SECRET, DEFAULT_NAMESPACE)["data"]["ca.crt"]
        request = {
            "uid": uid,
            "kind": {"group": "", "version": "v1", "kind": "Service"},
            "resource": {"group": "", "version": "v1", "resource": "services"},
            "name": request["metadata"]["name"],
            "namespace": "default",
            "operation": "CREATE",
            "object": request,
            "oldObject": None,
            "dryRun": dry_run,
        }
        review = {"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "request": request}
        body = json.dumps(review).encode()
        code, answer = replica.post(
            path_to(self.cluster, "/mutate-v1-service"), body, trust=base64.b64decode(authority)
        )
        assert code == 200, answer
        response: Object = answer["response"]
        return response

    def release_all(self) -> None:
        """Delete every load balancer Service in `default` and wait until nothing is held."""
        for document in self.cluster.list(SERVICES, "default")["items"]:
            if document["spec"]["type"] == "LoadBalancer":
                remove(self.cluster, "default", document["metadata"]["name"])
        wait_until(lambda: not self.claims(), 60, "every claim is gone after its Service")

    def clean(self) -> None:
        """Delete every load balancer Service, whatever people wrote for AdmitLB, and what still cools."""
        for document in self.cluster.list(SERVICES)["items"]:
            if document["spec"]["type"] == "LoadBalancer":
                remove(self.cluster, document["metadata"]["namespace"], document["metadata"]["name"])
        for kind in BESIDE_POOLS:
            for document in self.cluster.list(kind, DEFAULT_NAMESPACE)["items"]:
                self.cluster.delete(kind, document["metadata"]["name"], DEFAULT_NAMESPACE)
        wait_until(self._without_claims, 60, "every claim is gone after its Service")
        # Admission knows of a release a moment after it, and until then protects the pool.
        wait_until(self._without_pools, 10, "every pool is deleted")

    def _without_claims(self) -> bool:
        claims = self.cluster.list(IP_ALLOCATIONS)["items"]
        for claim in claims:
            if claim["spec"]["state"] == "Cooling":
                with suppress(NotFound):
                    self.cluster.delete(IP_ALLOCATIONS, claim["metadata"]["name"])
        return not claims

    def _without_pools(self) -> bool:
        for document in self.cluster.list(IP_ADDRESS_POOLS, DEFAULT_NAMESPACE)["items"]:
            try:
                self.cluster.delete(IP_ADDRESS_POOLS, document["metadata"]["name"], DEFAULT_NAMESPACE)
            except Conflict:
                return False
        return True

    def stop(self) -> None:
        """Kill everything."""
        for replica in self.webhooks:
            replica.stop()
        for process in self.reconcilers:
            process.sigkill()

    def log_of(self, name: str) -> str:
        """Return what a component has logged so far."""
        return (self.directory / f"{name}.log").read_text()

    def service(self, namespace: str, name: str) -> Object:
        """Return a Service as stored."""
        return self.cluster.get(SERVICES, name, namespace)

    def claims(self) -> dict[str, Object]:
        """Return every IPAllocation's spec by address."""
        items = self.cluster.list(IP_ALLOCATIONS)["items"]
        return {item["spec"]["address"]: item["spec"] for item in items}

    def holders(self, address: str) -> list[str]:
        """Return who holds an address now, as namespace/name."""
        spec = self.claims().get(address)
        if spec is None or spec["state"] == "Cooling":
            return []
        return [f"{holder['namespace']}/{holder.get('name', '')}" for holder in spec["holders"]]

    def wait_assigned(self, namespace: str, name: str, timeout_seconds: float = 15) -> list[str]:
        """Wait until a Service shows its addresses and they are bound to it; return them.

        What was reserved for it is shown a moment before it is bound.
        """

        def assigned() -> list[str] | None:
            addresses = ingress(self.service(namespace, name))
            return addresses if addresses and is_bound(self.claims(), addresses) else None

        return wait_until(assigned, timeout_seconds, f"{namespace}/{name} has an address")

    def wait_released(self, address: str, timeout_seconds: float = 15) -> None:
        """Wait until nobody holds the address (it may cool)."""
        wait_until(lambda: not self.holders(address), timeout_seconds, f"{address} is released")


def is_bound(claims: Mapping[str, Object], addresses: Iterable[str]) -> bool:
    """Tell whether every holder of the addresses has been seen by a reconciler; nobody need hold them at all."""
    holders = [holder for address in addresses for holder in claims.get(address, {}).get("holders", ())]
    return all("uid" in holder for holder in holders)


def pool(name: str, *addresses: str, **spec: Any) -> Object:
    """An IPAddressPool document; reuseDelaySeconds 0 unless said otherwise."""
    return {
        "apiVersion": "metallb.io/v1beta1",
        "kind": "IPAddressPool",
        "metadata": {"name": name, "namespace": DEFAULT_NAMESPACE},
        "spec": {"addresses": list(addresses), "reuseDelaySeconds": 0, **spec},
    }


def service(name: str, annotations: dict[str, str] | None = None, **spec: Any) -> Object:
    """A Service document of type LoadBalancer with one port."""
    metadata = {"name": name, **({"annotations": annotations} if annotations else {})}
    body = {"type": "LoadBalancer", "ports": [{"port": 80, "protocol": "TCP"}], "selector": {"app": name}, **spec}
    return {"apiVersion": "v1", "kind": "Service", "metadata": metadata, "spec": body}


def ingress(obj: Object) -> list[str]:
    """The addresses a Service's status shows."""
    return [entry["ip"] for entry in obj.get("status", {}).get("loadBalancer", {}).get("ingress") or ()]


def ensure_namespace(cluster: Cluster, name: str) -> None:
    """Create a namespace unless it exists."""
    with suppress(AlreadyExists):
        cluster.create(NAMESPACES, {"metadata": {"name": name}})


def remove(cluster: Cluster, namespace: str, name: str) -> None:
    """Delete a Service if it is there."""
    with suppress(NotFound):
        cluster.delete(SERVICES, name, namespace)

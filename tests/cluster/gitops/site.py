"""A cluster with nothing on it, and everything that a GitOps test puts there."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TypeVar

from allocator.kube.client import Conflict, Object
from allocator.kube.resource import SERVICES, Resource
from allocator.objects.names import DEFAULT_NAMESPACE, IP_ADDRESS_POOLS, IP_ALLOCATIONS, WEBHOOK_SERVICE
from tests.cluster.gitops.api import Api
from tests.cluster.gitops.objects import Key, key_of
from tests.cluster.gitops.pods import ControllerPods
from tests.cluster.installation import ingress, is_bound
from tests.lab.control_plane import ANSWER_SECONDS, ControlPlane
from tests.lab.waiting import wait_until

T = TypeVar("T")

ENDPOINTS = Resource("", "v1", "endpoints", "Endpoints")

ROOT = Path(__file__).parents[3]
OVERLAYS = ROOT / "kustomize" / "overlays"
EXAMPLE = ROOT / "docs" / "gitops"
PAGE = ROOT / "docs" / "gitops.md"


class Site:
    """An API server, a tool's connection to it, and the stand-in for its kubelets."""

    def __init__(self, control_plane: ControlPlane, directory: Path, *, user: str) -> None:
        self.control_plane = control_plane
        self.cluster = control_plane.cluster()
        kubeconfig = str(control_plane.kubeconfig(user, ["system:masters"]))
        self.api = Api.from_environment(kubeconfig, timeout_seconds=ANSWER_SECONDS)
        self.pods = ControllerPods(control_plane, directory)

    def wait(
        self,
        predicate: Callable[[], T | None],
        timeout_seconds: float,
        what: str,
        *,
        retry_on: tuple[type[Exception], ...] = (),
    ) -> T:
        """Wait as `wait_until` does, while kubelets go on working."""

        def attended() -> T | None:
            self.pods.attend()
            return predicate()

        return wait_until(attended, timeout_seconds, what, interval_seconds=0.1, retry_on=retry_on)

    def addresses(self, namespace: str, name: str) -> list[str]:
        """Return the addresses a Service's status shows."""
        return ingress(self.cluster.get(SERVICES, name, namespace))

    def wait_assigned(self, namespace: str, name: str) -> list[str]:
        """Wait for a Service's addresses, and until they are bound to it; return them."""

        def assigned() -> list[str] | None:
            addresses = self.addresses(namespace, name)
            return addresses if addresses and is_bound(self.claims(), addresses) else None

        return self.wait(assigned, 30, f"{namespace}/{name} has an address")

    def webhook_endpoints(self) -> list[str]:
        """Return the addresses at which the API server reaches the webhook."""
        endpoints = self.cluster.get(ENDPOINTS, WEBHOOK_SERVICE, DEFAULT_NAMESPACE)
        return [
            address["ip"] for subset in endpoints.get("subsets") or () for address in subset.get("addresses") or ()
        ]

    def claims(self) -> dict[str, Object]:
        """Return every IPAllocation's spec by address."""
        items = self.cluster.list(IP_ALLOCATIONS)["items"]
        return {item["spec"]["address"]: item["spec"] for item in items}

    def holders(self) -> dict[str, str]:
        """Return who holds each address that is in use."""
        return {
            address: f"{claim['holders'][0]['namespace']}/{claim['holders'][0]['name']}"
            for address, claim in self.claims().items()
            if claim["state"] == "Bound"
        }

    def remove_users_part(self) -> None:
        """Delete every Service of type LoadBalancer and every pool, and wait until nothing is held."""
        for service in self.cluster.list(SERVICES)["items"]:
            if service["spec"].get("type") == "LoadBalancer":
                self.cluster.delete(SERVICES, service["metadata"]["name"], service["metadata"]["namespace"])
        self.wait(lambda: not self.claims(), 60, "every claim is gone after its Service")
        # Admission knows of a release a moment after it, and until then protects the pool. A claim that went while
        # its watch was interrupted might have been deleted by hand: for a minute the address stays its holder's.
        self.wait(self._delete_pools, 30, "every pool is deleted", retry_on=(Conflict,))

    def _delete_pools(self) -> bool:
        for pool in self.cluster.list(IP_ADDRESS_POOLS, DEFAULT_NAMESPACE)["items"]:
            name = pool["metadata"]["name"]
            drain = {"spec": {"shrinkPolicy": "Drain"}}
            self.cluster.patch(IP_ADDRESS_POOLS, name, drain, DEFAULT_NAMESPACE)
            self.cluster.delete(IP_ADDRESS_POOLS, name, DEFAULT_NAMESPACE)
        return True

    def versions(self, kinds: Iterable[Resource] | None = None) -> dict[Key, str]:
        """Return the version of everything but what lives by being rewritten: leases and events."""
        still = (kind for kind in kinds or self.api.kinds() if kind.kind not in ("Lease", "Event"))
        return {key_of(obj): obj["metadata"]["resourceVersion"] for obj in self.api.everything(still)}

    def wait_settled(self, quiet_seconds: float = 1.5) -> dict[Key, str]:
        """Wait until nothing has been written for a while, and return the version of everything."""
        kinds = self.api.kinds()
        seen, since = self.versions(kinds), time.monotonic()

        def settled() -> dict[Key, str] | None:
            nonlocal seen, since
            now = self.versions(kinds)
            if now != seen:
                seen, since = now, time.monotonic()
            return seen if time.monotonic() - since >= quiet_seconds else None

        return wait_until(settled, 60, "nothing is written any more", interval_seconds=0.3)


def kinds(objects: Iterable[Object]) -> set[str]:
    """Return the kinds that occur."""
    return {obj["kind"] for obj in objects}

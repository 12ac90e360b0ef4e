"""Where figures that need an API server are taken: two webhooks, two reconcilers, and a way past the webhook."""

from __future__ import annotations

import itertools
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from allocator.kube.client import JSON_PATCH, Cluster, NotFound
from allocator.kube.resource import MUTATING_WEBHOOKS, SERVICES
from allocator.objects.names import (
    ASSIGNED_IPS_ANNOTATION,
    DEFAULT_NAMESPACE,
    IP_ADDRESS_POOLS,
    WEBHOOK_CONFIGURATION,
)
from tests.cluster.installation import Installation, pool, service
from tests.lab.binaries import find
from tests.lab.control_plane import ControlPlane
from tests.lab.waiting import wait_until

NAMESPACE = "default"
PAST_THE_WEBHOOK = "bench.admitlb.io/past-the-webhook"
"""A label that keeps the API server from asking the webhook, so that both cases can be measured in turn."""

_serial = itertools.count()

Object = dict[str, Any]


class Site:
    """AdmitLB installed on a control plane, with one pool that no run exhausts."""

    def __init__(self, control_plane: ControlPlane, installation: Installation) -> None:
        self.control_plane = control_plane
        self.installation = installation
        self.cluster = control_plane.cluster()
        self._let_pass()
        self.cluster.create(IP_ADDRESS_POOLS, pool("bench", "10.0.0.0/8", reuseDelaySeconds=1), DEFAULT_NAMESPACE)
        wait_until(lambda: self._answers(past=False), 20, "the webhook knows the pool")
        wait_until(lambda: not self._answers(past=True), 20, "the API server knows the way past the webhook")
        self.clean()

    def clean(self) -> None:
        """Delete every Service and wait until the claims are gone too."""
        delete_services(self.cluster)
        wait_until(lambda: not self.installation.claims(), 120, "every claim is gone after its Service")

    def _let_pass(self) -> None:
        past = {"matchExpressions": [{"key": PAST_THE_WEBHOOK, "operator": "DoesNotExist"}]}
        operation = {"op": "add", "path": "/webhooks/0/objectSelector", "value": past}
        self.cluster.patch(MUTATING_WEBHOOKS, WEBHOOK_CONFIGURATION, [operation], content_type=JSON_PATCH)

    def _answers(self, *, past: bool) -> bool:
        return has_address(self.cluster.create(SERVICES, new_service(past_the_webhook=past), NAMESPACE))


def has_address(created: Object) -> bool:
    """Whether the answer to a create already carries an address."""
    return ASSIGNED_IPS_ANNOTATION in (created["metadata"].get("annotations") or {})


def new_service(*, past_the_webhook: bool = False) -> Object:
    """A LoadBalancer Service of a name of its own, not created yet."""
    document = service(f"bench-{next(_serial)}")
    if past_the_webhook:
        document["metadata"]["labels"] = {PAST_THE_WEBHOOK: ""}
    return document


def connections(control_plane: ControlPlane, count: int) -> list[Cluster]:
    """Connections of clients' own to the API server."""
    kubeconfig = str(control_plane.kubeconfig())
    return [Cluster.from_environment(kubeconfig) for _ in range(count)]


def delete_services(cluster: Cluster) -> None:
    """Delete every Service but the API server's own."""

    def delete(name: str) -> None:
        with suppress(NotFound):
            cluster.delete(SERVICES, name, NAMESPACE)

    names = [item["metadata"]["name"] for item in cluster.list(SERVICES, NAMESPACE)["items"]]
    with ThreadPoolExecutor(4, thread_name_prefix="delete") as deleting:
        list(deleting.map(delete, [name for name in names if name != "kubernetes"]))


@contextmanager
def bare_site(*, fsync: bool) -> Iterator[ControlPlane]:
    """A control plane without AdmitLB, gone afterwards."""
    with (
        tempfile.TemporaryDirectory(prefix="admitlb-bench-", ignore_cleanup_errors=True) as folder,
        ControlPlane(find(), Path(folder), fsync=fsync) as control_plane,
    ):
        yield control_plane


@contextmanager
def site(control_plane: ControlPlane) -> Iterator[Site]:
    """AdmitLB on the control plane, killed afterwards."""
    installation = Installation(control_plane, control_plane.directory / "admitlb")
    try:
        yield Site(control_plane, installation)
    finally:
        installation.stop()

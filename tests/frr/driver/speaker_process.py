"""A speaker as a process beside FRR of the bed, and the objects of its cluster, which a real API server has."""

from __future__ import annotations

import base64
import sys
from pathlib import Path

from allocator.kube.client import Cluster, Object
from allocator.kube.resource import ENDPOINT_SLICES_V1, ENDPOINT_SLICES_V1BETA1, NODES, SECRETS, SERVICES, Resource
from allocator.objects.names import (
    BGP_ADVERTISEMENTS,
    BGP_PEERS,
    DEFAULT_NAMESPACE,
    IP_ADDRESS_POOLS,
    SPEAKER_KEY_FIELD,
    SPEAKER_KEY_SECRET,
)
from tests.frr.driver.bed import Bed
from tests.frr.driver.speaking import NODE_NAME, POOL, ROUTERS, advertisement, peer
from tests.lab.control_plane import ControlPlane
from tests.lab.processes import Process
from tests.lab.waiting import wait_until

ROOT = Path(__file__).parents[3]
ROLES = (ROOT / "manifests/rbac-speaker.yaml", ROOT / "kustomize/components/bgp/rbac-speaker.yaml")
VIP = "198.51.100.1"
SERVICE = "web"


def bare_cluster(control_plane: ControlPlane) -> None:
    """Give the API server our kinds, the speaker's role and key, and the bed's node."""
    for part in (ROOT / "manifests/namespace.yaml", ROOT / "manifests/crds", *ROLES):
        control_plane.kubectl("apply", "-f", str(part))
    cluster = control_plane.cluster()
    wait_until(lambda: cluster.serves(BGP_PEERS), 20, "our kinds are served")
    key = base64.b64encode(b"k" * 32).decode()
    cluster.create(
        SECRETS, {"metadata": {"name": SPEAKER_KEY_SECRET}, "data": {SPEAKER_KEY_FIELD: key}}, DEFAULT_NAMESPACE
    )
    cluster.create(NODES, {"metadata": {"name": NODE_NAME}})
    addresses = {"status": {"addresses": [{"type": "InternalIP", "address": "10.0.1.1"}]}}
    cluster.patch(NODES, NODE_NAME, addresses, subresource="status")


def announce(cluster: Cluster) -> None:
    """Have a Service with an address and an endpoint, and both routers as peers."""
    put(cluster, IP_ADDRESS_POOLS, {"metadata": {"name": "public"}, "spec": {"addresses": [POOL]}})
    put(cluster, BGP_ADVERTISEMENTS, advertisement("public"))
    for name in ROUTERS:
        put(cluster, BGP_PEERS, peer(name))
    ports = [{"port": 80, "protocol": "TCP"}]
    put(
        cluster,
        SERVICES,
        {"metadata": {"name": SERVICE}, "spec": {"type": "LoadBalancer", "ports": ports}},
        "default",
    )
    shown = {"status": {"loadBalancer": {"ingress": [{"ip": VIP}]}}}
    cluster.patch(SERVICES, SERVICE, shown, "default", subresource="status")
    put_endpoints(cluster, ready=True)


def put(cluster: Cluster, resource: Resource, body: Object, namespace: str = DEFAULT_NAMESPACE) -> None:
    """Create an object, unless it is there."""
    name = body["metadata"]["name"]
    if any(one["metadata"]["name"] == name for one in cluster.list(resource, namespace)["items"]):
        return
    kind = {"apiVersion": resource.api_version, "kind": resource.kind}
    whole = {**kind, **body, "metadata": {**body["metadata"], "namespace": namespace}}
    cluster.create(resource, whole, namespace)


def put_endpoints(cluster: Cluster, *, ready: bool) -> None:
    """The Service has one endpoint, ready or not."""
    slices = ENDPOINT_SLICES_V1 if cluster.serves(ENDPOINT_SLICES_V1) else ENDPOINT_SLICES_V1BETA1
    endpoints = [{"addresses": ["10.244.0.5"], "conditions": {"ready": ready}}]
    ports = [{"name": "", "port": 80, "protocol": "TCP"}]
    labels = {"kubernetes.io/service-name": SERVICE}
    body = {"metadata": {"name": "web-1", "labels": labels}, "addressType": "IPv4", "ports": ports}
    put(cluster, slices, {**body, "endpoints": endpoints}, "default")
    cluster.patch(slices, "web-1", {"endpoints": endpoints}, "default")


class Speakers:
    """Starts speakers one after the other, each on ports of its own."""

    def __init__(self, control_plane: ControlPlane, site: Bed, logs: Path) -> None:
        self._kubeconfig = control_plane.kubeconfig_for(DEFAULT_NAMESPACE, "speaker")
        self._site = site
        self._logs = logs
        self.started: list[Process] = []

    def start(self) -> Process:
        number = len(self.started)
        argv = [
            str(Path(sys.executable).with_name("admitlb")),
            "speaker",
            f"--node-name={NODE_NAME}",
            f"--kubeconfig={self._kubeconfig}",
            f"--frr-sockets={self._site.frr.sockets}",
            "--kube-proxy-url=",
            f"--heartbeat-port={17946 + number}",
            f"--monitor-port={19122 + number}",
            f"--bgp-metrics-port={19321 + number}",
        ]
        log = self._logs / f"speaker-{number}.log"
        # It speaks to the API server here, and drives the FRR of the node by unix sockets.
        self.started.append(Process(argv, log=log, name=f"speaker-{number}"))
        return self.started[-1]

"""A node's agent: runs the Pods bound to its node and reports on them."""

from __future__ import annotations

import threading
from contextlib import suppress

from allocator.kube.client import AlreadyExists, Cluster, Object
from allocator.kube.reflector import Reflector
from allocator.kube.resource import NODES
from tests.lab.container import Container
from tests.lab.kubelet_server import KUBELET_PORT
from tests.lab.node_side import NodeSide
from tests.lab.pod import PodWorker
from tests.lab.pod_status import timestamp

_JOIN_SECONDS = 10.0
_NODE_INFO = (
    "architecture",
    "bootID",
    "containerRuntimeVersion",
    "kernelVersion",
    "kubeProxyVersion",
    "kubeletVersion",
    "machineID",
    "operatingSystem",
    "osImage",
    "systemUUID",
)


class Kubelet:
    """Keeps one worker per Pod bound to the node.

    `_workers` is shared by the reflector's thread, which syncs on every change of a Pod, and by whoever cuts,
    heals or kills the node; `_lock` guards it.
    """

    def __init__(self, name: str, side: NodeSide, pods: Reflector) -> None:
        self.name = name
        self.side = side
        self._pods = pods
        self._workers: dict[str, PodWorker] = {}
        self._lock = threading.Lock()

    def sync(self) -> None:
        """Make the workers what the known Pods ask for; does nothing while the node is cut off or dead."""
        if not self.side.connected.is_set() or self.side.dead.is_set():
            return
        with self._lock:
            bound = {
                pod["metadata"]["uid"]: pod for pod in self._pods.items() if pod["spec"].get("nodeName") == self.name
            }
            for uid, worker in list(self._workers.items()):
                if uid not in bound:
                    worker.vanish()
                    if not worker.alive:
                        del self._workers[uid]
            for uid, pod in bound.items():
                if uid not in self._workers and (pod.get("status") or {}).get("phase") not in ("Succeeded", "Failed"):
                    self._begin(uid, pod)
                if pod["metadata"].get("deletionTimestamp"):
                    self._workers[uid].end(float(pod["metadata"].get("deletionGracePeriodSeconds") or 0))

    def wake(self) -> None:
        """Make every worker report what could not be reported while the node was cut off."""
        self.sync()
        for worker in self.workers():
            worker.wake()

    def workers(self) -> list[PodWorker]:
        """Return the Pods on this node, ended ones included until the API server has forgotten them."""
        with self._lock:
            return list(self._workers.values())

    def container(self, namespace: str, pod: str, name: str) -> Container | None:
        """Return a container that runs, None where there is none."""
        containers = (
            container
            for worker in self.workers()
            if (worker.namespace, worker.name) == (namespace, pod)
            for container in worker.containers
        )
        return next((container for container in containers if container.name == name and container.running), None)

    def join(self) -> None:
        """Wait for the workers of a dead node."""
        for worker in self.workers():
            worker.wake()
        for worker in self.workers():
            worker.join(_JOIN_SECONDS)

    def problems(self) -> list[str]:
        """Return what went wrong in the lab itself (a crashing Pod is no problem of the lab)."""
        return [worker.failure for worker in self.workers() if worker.failure]

    def _begin(self, uid: str, pod: Object) -> None:
        worker = self._workers[uid] = PodWorker(pod, self.side)
        if pod["metadata"].get("deletionTimestamp"):
            # The node was dead when the deletion came: nothing runs, only the object is left.
            worker.end(0.0)
        worker.start()


def register_node(
    cluster: Cluster, name: str, *, addresses: tuple[str, ...], pod_cidrs: tuple[str, ...], labels: dict[str, str]
) -> None:
    """Create the Node object (or take over the one of an earlier life) and declare it ready."""
    node: Object = {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {
            "name": name,
            "labels": {
                "kubernetes.io/hostname": name,
                "kubernetes.io/os": "linux",
                "kubernetes.io/arch": "amd64",
                **labels,
            },
        },
        "spec": {"podCIDR": pod_cidrs[0], "podCIDRs": list(pod_cidrs)},
    }
    with suppress(AlreadyExists):
        cluster.create(NODES, node)
    write_node_status(cluster, name, addresses=addresses, ready=True)
    # Admission taints every new Node as not ready, and DaemonSets heed that; the node lifecycle controller, which
    # would lift it, does not run here.
    cluster.patch(NODES, name, {"spec": {"taints": None}})


def write_node_status(cluster: Cluster, name: str, *, addresses: tuple[str, ...], ready: bool) -> None:
    """Write the Node's status; `ready=False` is what the node lifecycle controller says of a silent node."""
    now = timestamp()
    conditions = {
        "Ready": ("True", "KubeletReady") if ready else ("Unknown", "NodeStatusUnknown"),
        "NetworkUnavailable": ("False", "RouteCreated"),
    }
    capacity = {"cpu": "8", "memory": "16Gi", "pods": "110"}
    status = {
        "addresses": [
            *({"type": "InternalIP", "address": address} for address in addresses),
            {"type": "Hostname", "address": name},
        ],
        "conditions": [
            {
                "type": kind,
                "status": value,
                "reason": reason,
                "message": "",
                "lastHeartbeatTime": now,
                "lastTransitionTime": now,
            }
            for kind, (value, reason) in conditions.items()
        ],
        "capacity": capacity,
        "allocatable": capacity,
        "daemonEndpoints": {"kubeletEndpoint": {"Port": KUBELET_PORT}},
        "nodeInfo": dict.fromkeys(_NODE_INFO, "lab"),
    }
    cluster.patch(NODES, name, {"status": status}, subresource="status")

"""The cluster in a box: a control plane, nodes and clients on two LANs, all real but for the metal."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Self

from allocator.kube.client import AlreadyExists, ApiError, Cluster, Object
from allocator.kube.reflector import Change, Reflector
from allocator.kube.resource import NAMESPACES, Resource
from allocator.objects.names import DEFAULT_NAMESPACE
from tests.lab import binaries, namespaces, topology
from tests.lab.client import Client
from tests.lab.container import PROJECT
from tests.lab.control_plane import NODE_PORTS, ControlPlane
from tests.lab.images import Image
from tests.lab.network import Host, Network, forward_between_lans, run_ip
from tests.lab.node import Node, NodeSettings
from tests.lab.pod_status import PODS
from tests.lab.processes import Process
from tests.lab.scheduler import Scheduler
from tests.lab.topology import HostPlan
from tests.lab.waiting import wait_until
from tests.lab.workloads import DAEMON_SETS, DEPLOYMENTS, http_deployment, rolled_out

LAB_LABELS = {"metallb/external-speaker": "true", "metallb/internal-speaker": "true"}
"""What the nodes carry unless told otherwise: the selectors of the guide's production example match them."""


class Lab:
    """A whole cluster; owned by the thread that starts it. Needs `python -m tests.lab.enter` around it.

    Everything lies on a tmpfs of the lab's own namespaces and ends with them, however the owner ends.
    """

    def __init__(
        self,
        *,
        nodes: int = 3,
        clients: int = 1,
        node_labels: Mapping[str, Mapping[str, str]] | None = None,
        directory: Path | None = None,
        fsync: bool = False,
        images: Mapping[str, Image] | None = None,
        audited_users: Sequence[str] = (),
        node_ports: str = NODE_PORTS,
    ) -> None:
        """Make the network, without starting anything. `node_labels` by node name replace LAB_LABELS where given.

        Containers whose image is among `images`, named without tag, see its files; all others see this machine's.
        What `audited_users` ask the API server for is written down. Each Service takes one of `node_ports`.
        """
        namespaces.require_inside()
        self.directory = directory or Path(tempfile.mkdtemp(prefix="admitlb-lab-", dir="/run"))
        self._volumes = Path(tempfile.mkdtemp(prefix="admitlb-volumes-", dir="/run"))
        self.images = images or {}
        self.start_seconds = 0.0
        self.network = Network()
        try:
            plans = [topology.node_plan(number + 1) for number in range(nodes)]
            self._make_lans(plans)
            self.control_plane = ControlPlane(
                binaries.find(),
                self.directory,
                address=topology.API_ADDRESS,
                port=topology.API_PORT,
                fsync=fsync,
                service_cidrs=topology.SERVICE_CIDRS,
                audited_users=audited_users,
                node_ports=node_ports,
            )
            cluster = self.control_plane.cluster()
            self._pods = Reflector(cluster, PODS, on_change=self._pod_changed)
            self._scheduler = Scheduler(cluster, self._pods)
            settings = NodeSettings(
                self.control_plane, self.network, self._pods, self.directory, self._volumes, plans, self.images
            )
            labels = node_labels or {}
            self.nodes = {plan.name: Node(plan, settings, labels.get(plan.name, LAB_LABELS)) for plan in plans}
            self.clients = {
                plan.name: Client(plan, self.network)
                for plan in (topology.client_plan(number + 1) for number in range(clients))
            }
        except BaseException:
            self.network.close()
            raise

    def __enter__(self) -> Self:
        try:
            self.start()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def start(self) -> None:
        """Start everything; return when the API server, every node and its kube-proxy are ready."""
        begun = time.monotonic()
        self.control_plane.start()
        self._pods.start()
        self._scheduler.start()
        for node in self.nodes.values():
            node.start()
        for node in self.nodes.values():
            node.wait_proxy()
        self.start_seconds = time.monotonic() - begun

    def stop(self) -> None:
        """Kill everything and remove the network. Logs stay in `directory` when it was given, else they go too."""
        if self._scheduler.alive:
            self._scheduler.stop()
        self._pods.stop()
        for node in self.nodes.values():
            node.stop()
        self.control_plane.stop()
        self.network.close()
        shutil.rmtree(self._volumes, ignore_errors=True)
        if self.directory.parent == Path("/run"):
            shutil.rmtree(self.directory, ignore_errors=True)

    def node(self, name: str) -> Node:
        """Return a node by name (`node-1`)."""
        return self.nodes[name]

    def client(self, name: str = "client-1") -> Client:
        """Return a client by name."""
        return self.clients[name]

    def host(self, name: str) -> Host:
        """Return the network namespace of a node or client."""
        return self.nodes[name].host if name in self.nodes else self.clients[name].host

    def cluster(self) -> Cluster:
        """Return the administrator's connection to the API server."""
        return self.control_plane.cluster()

    def kubectl(
        self, *arguments: str, stdin: str | None = None, check: bool = True
    ) -> subprocess.CompletedProcess[str]:
        """Run kubectl as administrator. Raises KubectlFailed unless `check` is off."""
        return self.control_plane.kubectl(*arguments, stdin=stdin, check=check)

    def processes(self) -> dict[str, Process]:
        """Return everything that runs: control plane, kube-proxies, containers."""
        found = {name: process for name, process in self.control_plane.processes.items() if process.alive}
        for node in self.nodes.values():
            found |= node.processes()
        return found

    def pods(self, namespace: str, selector: str) -> list[Object]:
        """Return the Pods that a label selector matches, oldest first, those being deleted left out."""
        listing = self.cluster().list(PODS, namespace, label_selector=selector)["items"]
        alive = [pod for pod in listing if not pod["metadata"].get("deletionTimestamp")]
        return sorted(alive, key=lambda pod: (pod["metadata"]["creationTimestamp"], pod["metadata"]["name"]))

    def kill_component(self, pod: str, container: str, namespace: str = DEFAULT_NAMESPACE) -> None:
        """SIGKILL one container's processes; its node restarts it."""
        self.processes()[f"{namespace}/{pod}/{container}"].sigkill()

    def logs(self, pod: str, container: str, namespace: str = DEFAULT_NAMESPACE) -> str:
        """Return what a container has written, in all its lives, also after the Pod is gone."""
        return (self.directory / "pods" / f"{namespace}_{pod}" / f"{container}.log").read_text(errors="replace")

    def log_files(self) -> list[Path]:
        """Return every log of the lab: control plane, kube-proxies, containers."""
        return sorted(self.directory.rglob("*.log"))

    def deploy_http(
        self,
        name: str,
        namespace: str = "default",
        *,
        replicas: int = 1,
        node: str | None = None,
        labels: Mapping[str, str] | None = None,
        timeout_seconds: float = 30.0,
    ) -> list[Object]:
        """Deploy the lab's web application (port 8080, `app: NAME`) and return its Pods once all are ready."""
        self.ensure_namespace(namespace)
        self.cluster().create(
            DEPLOYMENTS,
            http_deployment(name, namespace, replicas=replicas, node=node, labels=labels or {}),
            namespace,
        )
        self.wait_rolled_out(DEPLOYMENTS, name, namespace, timeout_seconds=timeout_seconds)
        return self.pods(namespace, f"app={name}")

    def ensure_namespace(self, name: str) -> None:
        """Create the namespace unless it exists."""
        try:
            self.cluster().create(NAMESPACES, {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})
        except AlreadyExists:
            return

    def wait_rolled_out(
        self, resource: Resource, name: str, namespace: str = DEFAULT_NAMESPACE, *, timeout_seconds: float = 60.0
    ) -> None:
        """Wait until a Deployment or DaemonSet runs its latest form with every Pod ready."""
        wait_until(
            lambda: rolled_out(self.cluster().get(resource, name, namespace)),
            timeout_seconds,
            f"{resource.kind} {namespace}/{name} is rolled out",
            interval_seconds=0.05,
            retry_on=(ApiError,),
        )

    def install(self, overlay: str = "kustomize/overlays/default", *, timeout_seconds: float = 60.0) -> None:
        """Install AdmitLB as a user would (`kubectl apply -k`) and wait until all of it is ready."""
        self.kubectl("apply", "-k", str(PROJECT / overlay))
        self.wait_rolled_out(DEPLOYMENTS, "controller", timeout_seconds=timeout_seconds)
        self.wait_rolled_out(DAEMON_SETS, "speaker", timeout_seconds=timeout_seconds)

    def problems(self) -> list[str]:
        """Return what of the lab itself has died unasked; the owner must not trust results while there is any."""
        problems = [problem for node in self.nodes.values() for problem in node.problems()]
        problems += [
            f"thread {name} has ended"
            for name, alive in (("scheduler", self._scheduler.alive), ("pods", self._pods.alive))
            if not alive
        ]
        problems += [
            f"{name} ended with {process.returncode}:\n{process.log_tail()}"
            for name, process in self.control_plane.processes.items()
            if not process.alive
        ]
        return problems

    def _make_lans(self, plans: list[HostPlan]) -> None:
        forward_between_lans()
        for lan in topology.LANS:
            self.network.lan(lan.name, lan.gateway_addresses())
        run_ip(*(route.format(eth0=self.network.lans["eth0"].bridge) for route in topology.routes_to_pods(plans)))

    def _pod_changed(self, _: Change) -> None:
        self._scheduler.poke()
        for node in self.nodes.values():
            if node.kubelet is not None:
                node.kubelet.sync()

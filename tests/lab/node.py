"""A node of the lab: its network, its kube-proxy, its kubelet; and the ways it can fail."""

from __future__ import annotations

import shutil
import socket
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from allocator.kube.client import Cluster, Object
from allocator.kube.reflector import Reflector
from tests.lab import namespaces, topology
from tests.lab.control_plane import ControlPlane
from tests.lab.images import Image
from tests.lab.kube_proxy import start_kube_proxy, wait_for_rules
from tests.lab.kubelet import Kubelet, register_node, write_node_status
from tests.lab.kubelet_server import KubeletServer
from tests.lab.network import Host, Link, Network
from tests.lab.node_side import NodeSide
from tests.lab.pod_network import PodNetworks
from tests.lab.pod_status import PODS, timestamp
from tests.lab.processes import Process, kill_all
from tests.lab.topology import LANS, HostPlan
from tests.lab.waiting import wait_until

_ONLINE_SECONDS = 10.0


@dataclass(frozen=True, slots=True)
class NodeSettings:
    """What all nodes of a lab share."""

    control_plane: ControlPlane
    network: Network
    pods: Reflector
    directory: Path
    volumes: Path
    plans: list[HostPlan]
    images: Mapping[str, Image]


class Node:
    """One node; used by the thread that owns the lab. `host`, `kubelet` and `proxy` are new in every life."""

    def __init__(self, plan: HostPlan, settings: NodeSettings, labels: Mapping[str, str]) -> None:
        """Make the node's network; nothing runs yet."""
        self.name = plan.name
        self.plan = plan
        self._labels = dict(labels)
        self._settings = settings
        self._connected = threading.Event()
        self._dead = threading.Event()
        self.host: Host = self._make_host()
        self.kubelet: Kubelet | None = None
        self._door: KubeletServer | None = None
        self.proxy: Process | None = None

    @property
    def addresses(self) -> tuple[str, ...]:
        """The node's InternalIPs, IPv4 first."""
        return self.plan.addresses

    def mac(self, interface: str = "eth0") -> str:
        """Return the hardware address of an interface."""
        return next(lan.mac(self.plan.host_part) for lan in LANS if lan.name == interface)

    def link(self, interface: str = "eth0") -> Link:
        """Return the cable behind an interface, to pull and to plug in."""
        return self.host.links[interface]

    def start(self) -> None:
        """Start kube-proxy and the kubelet; the API server must be ready."""
        plane = self._settings.control_plane
        # kube-proxy asks for its Node once, and after a failure only a second, then two, then four later.
        wait_until(self._reaches_api, _ONLINE_SECONDS, f"{self.name} reaches the API server")
        register_node(
            plane.cluster(),
            self.name,
            addresses=self.addresses,
            pod_cidrs=self.plan.pod_cidrs,
            labels=self._labels,
        )
        self.proxy = start_kube_proxy(plane, self.host, log=self._settings.directory / f"{self.name}-kube-proxy.log")
        self._dead = threading.Event()
        self._connected.set()
        files = self._settings.volumes / f"{self.name}-files"
        shutil.rmtree(files, ignore_errors=True)
        side = NodeSide(
            host=self.host,
            addresses=self.addresses,
            networks=PodNetworks(self.host, self.plan.pod_cidrs),
            cluster=plane.cluster(),
            directory=self._settings.directory,
            volumes=self._settings.volumes / self.name,
            files=files,
            service_environment={
                "KUBERNETES_SERVICE_HOST": topology.API_ADDRESS,
                "KUBERNETES_SERVICE_PORT": str(topology.API_PORT),
            },
            token=plane.token,
            ca_certificate=plane.authority.certificate,
            images=self._settings.images,
            connected=self._connected,
            dead=self._dead,
        )
        self.kubelet = Kubelet(self.name, side, self._settings.pods)
        self.kubelet.sync()
        self._door = KubeletServer(
            self.host,
            pair=plane.authority.server(f"kubelet-{self.name}", self.addresses),
            client_authority=plane.authority.certificate,
            pods_directory=self._settings.directory / "pods",
            find=self.kubelet.container,
        )
        self._door.start()

    def wait_proxy(self) -> None:
        """Wait until kube-proxy has written its first rules, of both families."""
        if self.proxy is None:
            raise RuntimeError(f"{self.name} was not started")
        wait_for_rules(self.proxy, self.host)

    def processes(self) -> dict[str, Process]:
        """Return everything that runs on the node, by `node/kube-proxy` or `namespace/pod/container`."""
        found: dict[str, Process] = {}
        if self.proxy is not None and self.proxy.alive:
            found[self.proxy.name] = self.proxy
        for worker in self.kubelet.workers() if self.kubelet else []:
            for container in worker.containers:
                if container.process is not None and container.process.alive:
                    found[f"{worker.namespace}/{worker.name}/{container.name}"] = container.process
        return found

    def kill(self) -> float:
        """Power off: cables dead and every process killed at one instant, which is returned (CLOCK_MONOTONIC).

        Nobody says good-bye: the processes are frozen, so that none tells by one cable that the other has gone, and
        the cables go before they die, so that no FIN or RST gets out. The API server keeps believing in the node and
        its Pods until `declare_lost`.
        """
        self._dead.set()
        self._connected.clear()
        processes = list(self.processes().values())
        for process in processes:
            process.sigstop()
        instant = time.monotonic()
        for link in self.host.links.values():
            link.down()
        kill_all(processes)
        self._sweep()
        self._end_kubelet()
        self._sweep()
        return instant

    def cut(self) -> float:
        """Pull every cable; the processes run on, and the API server hears nothing. Returns the instant."""
        self._connected.clear()
        instant = time.monotonic()
        for link in self.host.links.values():
            link.down()
        return instant

    def heal(self) -> float:
        """Plug every cable in again. Returns the instant."""
        instant = time.monotonic()
        for link in self.host.links.values():
            link.up()
        self._connected.set()
        if self.kubelet is not None:
            self.kubelet.wake()
        return instant

    def revive(self) -> None:
        """Boot a killed node again: a fresh network with the same addresses, kube-proxy, and its Pods restarted."""
        if not self._dead.is_set():
            raise RuntimeError(f"{self.name} is alive")
        self._settings.network.remove(self.host)
        self.host = self._make_host()
        self.start()
        self.wait_proxy()

    def declare_lost(self) -> None:
        """Do what the node lifecycle controller does 40 s after a node fell silent: node unknown, Pods unready."""
        cluster = self._settings.control_plane.cluster()
        write_node_status(cluster, self.name, addresses=self.addresses, ready=False)
        for pod in self._settings.pods.items():
            if pod["spec"].get("nodeName") == self.name:
                _declare_unready(cluster, pod)

    def stop(self) -> None:
        """End everything on the node, without ceremony."""
        self._dead.set()
        kill_all(list(self.processes().values()))
        self._end_kubelet()
        self._sweep()

    def problems(self) -> list[str]:
        """Return what of the lab itself is broken on this node, unless the node is meant to be dead."""
        if self._dead.is_set():
            return []
        problems = self.kubelet.problems() if self.kubelet else []
        if self._door is not None and not self._door.alive:
            problems.append(f"{self.name}: the kubelet's server has ended")
        if self.proxy is not None and not self.proxy.alive:
            problems.append(f"{self.proxy.name} ended with {self.proxy.returncode}:\n{self.proxy.log_tail()}")
        return problems

    def _reaches_api(self) -> bool:
        try:
            with self.host.inside():
                socket.create_connection((topology.API_ADDRESS, topology.API_PORT), timeout=0.3).close()
        except OSError:
            return False
        return True

    def _make_host(self) -> Host:
        host = self._settings.network.host(self.name, router=True)
        for lan in LANS:
            host.plug(
                self._settings.network.lans[lan.name],
                lan.name,
                lan.addresses(self.plan.host_part),
                mac=lan.mac(self.plan.host_part),
            )
        routes = topology.routes_to_pods(self._settings.plans, besides=self.name)
        host.run_ip(*topology.default_routes(), *(route.format(eth0="eth0") for route in routes))
        return host

    def _end_kubelet(self) -> None:
        if self.kubelet is not None:
            self.kubelet.join()
        if self._door is not None:
            self._door.stop()
            self._door = None

    def _sweep(self) -> None:
        """Kill what is left in the node's namespaces: children that left their process group."""
        pods = [worker.netns for worker in self.kubelet.workers()] if self.kubelet else []
        paths = {self.host.path, *(namespaces.NAMED / name for name in pods if name)}
        wait_until(lambda: not namespaces.kill_inside(paths), 10, f"every process on {self.name} is gone")


def _declare_unready(cluster: Cluster, pod: Object) -> None:
    conditions = [
        {**condition, "status": "False", "lastTransitionTime": timestamp()}
        if condition["type"] in ("Ready", "ContainersReady")
        else condition
        for condition in (pod.get("status") or {}).get("conditions") or []
    ]
    metadata = pod["metadata"]
    body = {"status": {"conditions": conditions}}
    cluster.patch(PODS, metadata["name"], body, metadata["namespace"], subresource="status")

"""The Deployment `controller` on a cluster without nodes: its containers as processes, its pods' status by hand."""

from __future__ import annotations

import http.client
import os
import ssl
import sys
from pathlib import Path

from allocator.kube.client import Object
from allocator.objects.names import DEFAULT_NAMESPACE
from tests.cluster.webhook_replica import POD_ADDRESS, PODS, SECOND_POD_ADDRESS, ensure_node, give_address
from tests.lab.container_spec import environment, expanded, port_number
from tests.lab.control_plane import ControlPlane
from tests.lab.processes import Process

_SELECTOR = "app=metallb,component=controller"
_NODE = "node-1"
_ADDRESSES = (POD_ADDRESS, SECOND_POD_ADDRESS)


class ControllerPods:
    """Runs the containers of the first pod that appears, as its manifest says, and stands in for every kubelet.

    All pods share those processes, which listen on all addresses of the machine. Belongs to one thread, which calls
    `attend` while it waits for anything.
    """

    def __init__(self, control_plane: ControlPlane, directory: Path) -> None:
        self._control_plane = control_plane
        self._cluster = control_plane.cluster()
        self._directory = directory
        self.processes: dict[str, Process] = {}
        self._commands: dict[str, tuple[list[str | Path], dict[str, str]]] = {}
        for address in _ADDRESSES:
            give_address(address)

    def attend(self) -> None:
        """Start what is to run, and report on every pod what its probes say now."""
        pods = self._cluster.list(PODS, DEFAULT_NAMESPACE, label_selector=_SELECTOR)["items"]
        if pods and not self.processes:
            self._start(pods[0])
        for pod, address in zip(pods, _ADDRESSES, strict=False):
            self._report(pod, address)

    def stop(self) -> None:
        """Kill the processes."""
        for process in self.processes.values():
            process.sigkill()

    def kill(self, container: str) -> None:
        """Kill one container's process, and leave it dead until `revive`."""
        self.processes[container].sigkill()

    def revive(self, container: str) -> None:
        """Start it again, unless it runs."""
        if container in self.processes and self.processes[container].alive:
            return
        argv, env = self._commands[container]
        log = self._directory / f"{container}.log"
        self.processes[container] = Process(argv, name=container, log=log, env=env)

    def replace(self) -> None:
        """End what runs, take its pods away as a kubelet does at the end of one, and start over with the next."""
        self.stop()
        self.processes.clear()
        for pod in self._cluster.list(PODS, DEFAULT_NAMESPACE, label_selector=_SELECTOR)["items"]:
            name = pod["metadata"]["name"]
            command = ("delete", "pod", name, "-n", DEFAULT_NAMESPACE, "--force", "--grace-period=0")
            self._control_plane.kubectl(*command, check=False)

    def _start(self, pod: Object) -> None:
        kubeconfig = self._control_plane.kubeconfig_for(DEFAULT_NAMESPACE, pod["spec"]["serviceAccountName"])
        for container in pod["spec"]["containers"]:
            values = environment(container, pod, self._cluster)
            words: list[str] = [expanded(word, values) for word in container["command"] + container["args"]]
            argv: list[str | Path] = [Path(sys.executable).with_name(words[0]), *words[1:]]
            env = {**os.environ, **values, "ADMITLB_KUBECONFIG": str(kubeconfig)}
            self._commands[container["name"]] = (argv, env)
            self.revive(container["name"])

    def _report(self, pod: Object, address: str) -> None:
        """As a kubelet does: the address as soon as there is one, Ready once every readiness probe succeeds."""
        name = pod["metadata"]["name"]
        if not pod["spec"].get("nodeName"):
            ensure_node(self._cluster, _NODE)
            target = {"apiVersion": "v1", "kind": "Node", "name": _NODE}
            binding = {"apiVersion": "v1", "kind": "Binding", "metadata": {"name": name}, "target": target}
            self._cluster.create_subresource(PODS, name, "binding", binding, DEFAULT_NAMESPACE)
        ready = all(_probe_succeeds(container) for container in pod["spec"]["containers"])
        status = {
            "phase": "Running",
            "podIP": address,
            "podIPs": [{"ip": address}],
            "conditions": [{"type": "Ready", "status": str(ready)}],
        }
        shown = pod.get("status") or {}
        if any(shown.get(field) != value for field, value in status.items() if field != "conditions") or not any(
            one["type"] == "Ready" and one["status"] == str(ready) for one in shown.get("conditions") or ()
        ):
            body = {"status": status}
            self._cluster.patch(PODS, name, body, DEFAULT_NAMESPACE, subresource="status")


def _probe_succeeds(container: Object) -> bool:
    probe = container["readinessProbe"]["httpGet"]
    port = port_number(container, probe["port"])
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=2)
    try:
        connection.connect()
        if probe.get("scheme") == "HTTPS":
            # A kubelet does not verify either.
            connection.sock = ssl._create_unverified_context().wrap_socket(connection.sock)
        connection.request("GET", probe["path"])
        return connection.getresponse().status == http.HTTPStatus.OK
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()

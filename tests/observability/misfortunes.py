"""What can go wrong with an installation, made to happen for the length of a block."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager

from allocator.kube.client import Conflict, Object
from allocator.kube.resource import SERVICES, Resource
from allocator.objects.names import DEFAULT_NAMESPACE, IP_ADDRESS_POOLS
from tests.bench.speaker_site import SpeakerSite
from tests.lab.container import PROJECT
from tests.lab.lab import Lab
from tests.lab.network import run_ip
from tests.lab.node import Node
from tests.lab.processes import Process
from tests.lab.waiting import wait_until
from tests.lab.workloads import DAEMON_SETS, DEPLOYMENTS

CLUSTER_ROLES = Resource("rbac.authorization.k8s.io", "v1", "clusterroles", "ClusterRole", namespaced=False)
_HEARTBEATS = ("INPUT", "-p", "udp", "--dport", "7946", "-j", "DROP")
_SLOW_SECONDS = 150.0


@contextmanager
def pool(lab: Lab, name: str, *addresses: str) -> Iterator[None]:
    """A pool that only Services which name it use, and whose addresses are free again at once."""
    spec = {"addresses": list(addresses), "autoAssign": False, "reuseDelaySeconds": 0}
    document = {"apiVersion": "metallb.io/v1beta1", "kind": "IPAddressPool", "metadata": {"name": name}, "spec": spec}
    lab.cluster().create(IP_ADDRESS_POOLS, document, DEFAULT_NAMESPACE)
    try:
        yield
    finally:
        wait_until(lambda: _deleted(lab, name), 30, f"pool {name} is deleted", retry_on=(Conflict,))


@contextmanager
def services(lab: Lab, *names: str, app: str = "nobody", **annotations: str) -> Iterator[None]:
    """Services of type LoadBalancer; by default without endpoints. Annotations of metallb.io by their last part."""
    spec = {"type": "LoadBalancer", "selector": {"app": app}, "ports": [{"port": 80, "targetPort": 8080}]}
    spelled = {f"metallb.io/{key.replace('_', '-')}": value for key, value in annotations.items()}
    created = []
    try:
        for name in names:
            document = {"metadata": {"name": name, "annotations": spelled}, "spec": spec}
            lab.cluster().create(SERVICES, document, "default")
            created.append(name)
        yield
    finally:
        for name in created:
            lab.cluster().delete(SERVICES, name, "default")


@contextmanager
def unchecked(lab: Lab) -> Iterator[None]:
    """Nothing is asked about pools and advertisements."""
    lab.kubectl("delete", "validatingwebhookconfiguration", "metallb-webhook-configuration")
    try:
        yield
    finally:
        lab.kubectl("apply", "-k", str(PROJECT / "kustomize" / "overlays" / "default"))


@contextmanager
def forbidden(lab: Lab, verb: str, resource: str) -> Iterator[None]:
    """The controller may not do that any more."""
    role = next(
        found
        for found in lab.cluster().list(CLUSTER_ROLES)["items"]
        if any(resource in rule.get("resources", ()) and verb in rule["verbs"] for rule in found["rules"] or ())
        and found["metadata"]["labels"].get("app") == "metallb"
    )
    rules = [
        {**rule, "verbs": [allowed for allowed in rule["verbs"] if allowed != verb]}
        if resource in rule.get("resources", ())
        else rule
        for rule in role["rules"]
    ]
    name = role["metadata"]["name"]
    _patch_rules(lab, name, rules)
    try:
        yield
    finally:
        _patch_rules(lab, name, role["rules"])


@contextmanager
def controllers_without_api(lab: Lab) -> Iterator[None]:
    """The API server is down, and every webhook and reconciler was restarted since."""
    lab.control_plane.stop_api()
    try:
        for name in lab.processes():
            if name.rsplit("/", maxsplit=1)[-1] in ("webhook", "reconciler"):
                lab.processes()[name].sigkill()
        yield
    finally:
        lab.control_plane.start_api()
        lab.wait_rolled_out(DEPLOYMENTS, "controller", timeout_seconds=_SLOW_SECONDS)


@contextmanager
def no_speakers(site: SpeakerSite) -> Iterator[None]:
    """The DaemonSet finds no node to run on."""
    nowhere = {"spec": {"template": {"spec": {"nodeSelector": {"there-is": "none"}}}}}
    _patch_speakers(site.lab, "merge", nowhere)
    try:
        yield
    finally:
        _patch_speakers(site.lab, "json", [{"op": "remove", "path": "/spec/template/spec/nodeSelector"}])
        site.lab.wait_rolled_out(DAEMON_SETS, "speaker", timeout_seconds=_SLOW_SECONDS)
        site.steady()


@contextmanager
def deaf(node: Node) -> Iterator[None]:
    """No heartbeat reaches the node."""
    for program in ("iptables", "ip6tables"):
        node.host.run(program, "-I", *_HEARTBEATS)
    try:
        yield
    finally:
        for program in ("iptables", "ip6tables"):
            node.host.run(program, "-D", *_HEARTBEATS)


@contextmanager
def nodes_apart(site: SpeakerSite) -> Iterator[None]:
    """No node hears another or the API server; clients hear them all."""
    ports = [link.port for node in site.lab.nodes.values() for link in node.host.links.values()]
    run_ip(*(f"link set {port} type bridge_slave isolated on" for port in ports))
    site.lab.control_plane.pause_api()
    try:
        yield
    finally:
        site.lab.control_plane.resume_api()
        run_ip(*(f"link set {port} type bridge_slave isolated off" for port in ports))
        site.steady()


@contextmanager
def frozen(process: Process) -> Iterator[None]:
    """The program stands still."""
    process.sigstop()
    try:
        yield
    finally:
        process.sigcont()


@contextmanager
def lost(site: SpeakerSite, node: Node) -> Iterator[None]:
    """The node is without power."""
    node.kill()
    try:
        yield
    finally:
        node.revive()
        site.steady()


@contextmanager
def squatter(lab: Lab, address: str) -> Iterator[None]:
    """A host of the LAN has the address."""
    lab.client().host.run_ip(f"address add {address}/32 dev eth0")
    try:
        yield
    finally:
        lab.client().host.run_ip(f"address del {address}/32 dev eth0")


def speaker_of(lab: Lab, node: str) -> Process:
    """Return the speaker of a node."""
    pods = lab.pods(DEFAULT_NAMESPACE, "component=speaker")
    pod = next(pod["metadata"]["name"] for pod in pods if pod["spec"]["nodeName"] == node)
    return lab.processes()[f"{DEFAULT_NAMESPACE}/{pod}/speaker"]


def create_without_waiting(lab: Lab, name: str) -> subprocess.Popen[bytes]:
    """Begin to create a Service; the API server may not be able to store it."""
    document = {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": name, "namespace": "default"},
        "spec": {"type": "LoadBalancer", "ports": [{"port": 80, "protocol": "TCP"}]},
    }
    plane = lab.control_plane
    argv = [
        str(plane.binaries.kubectl),
        f"--kubeconfig={plane.kubeconfig()}",
        "create",
        "--validate=false",
        "-f",
        "-",
    ]
    creation = subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    assert creation.stdin is not None
    creation.stdin.write(json.dumps(document).encode())
    creation.stdin.close()
    return creation


def _patch_rules(lab: Lab, role: str, rules: list[Object]) -> None:
    lab.cluster().patch(CLUSTER_ROLES, role, {"rules": rules})


def _patch_speakers(lab: Lab, kind: str, patch: object) -> None:
    lab.kubectl("patch", "daemonset", "speaker", "-n", DEFAULT_NAMESPACE, f"--type={kind}", "-p", json.dumps(patch))


def _deleted(lab: Lab, name: str) -> bool:
    lab.cluster().delete(IP_ADDRESS_POOLS, name, DEFAULT_NAMESPACE)
    return True

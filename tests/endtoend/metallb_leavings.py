"""A cluster as MetalLB leaves it: its objects, its keys, and Services with the addresses it gave them."""

from __future__ import annotations

import base64
from pathlib import Path

from allocator.kube.client import Cluster, Object
from allocator.kube.resource import SECRETS, SERVICES, VALIDATING_WEBHOOKS
from allocator.objects.names import (
    DEFAULT_NAMESPACE,
    FROM_POOL_ANNOTATION,
    IP_ADDRESS_POOLS,
    L2_ADVERTISEMENTS,
    SERVICE_L2_STATUSES,
    WEBHOOK_CERTIFICATE_SECRET,
    WEBHOOK_CONFIGURATION,
)
from tests.endtoend.metallb_speaker import elected
from tests.lab.certificates import Authority
from tests.lab.container import PROJECT
from tests.lab.lab import Lab
from tests.lab.waiting import wait_until
from tests.lab.workloads import DAEMON_SETS, DEPLOYMENTS

_MANIFESTS = Path(__file__).with_name("metallb")

_SHARED = {"metallb.universe.tf/allow-shared-ip": "dns"}
ASSIGNED: dict[str, tuple[str, dict[str, str]]] = {
    "web": ("203.0.113.70", {}),
    "pinned": ("203.0.113.75", {"metallb.universe.tf/loadBalancerIPs": "203.0.113.75"}),
    "dns-tcp": ("203.0.113.73", _SHARED),
    "dns-udp": ("203.0.113.73", _SHARED),
}
"""What MetalLB gave to which Service of `default`: not the lowest free ones, as in clusters after years."""


def leave(lab: Lab) -> Path:
    """Set the cluster up as MetalLB has it while it runs; return the folder of manifests it was installed from."""
    cluster, manifests = lab.cluster(), lab.directory / "metallb"
    manifests.mkdir(exist_ok=True)
    for source in _MANIFESTS.glob("*.yaml"):
        (manifests / source.name).write_text(source.read_text().replace("@PROJECT@", str(PROJECT)))
    lab.kubectl("apply", "-f", str(manifests / "0-namespace.yaml"))
    lab.kubectl("apply", "-f", str(manifests / "1-crds.yaml"))
    secret = {"metadata": {"name": "memberlist"}, "type": "Opaque", "stringData": {"secretkey": "made-by-metallb"}}
    cluster.create(SECRETS, secret, DEFAULT_NAMESPACE)
    wait_until(
        lambda: cluster.serves(IP_ADDRESS_POOLS) and cluster.serves(SERVICE_L2_STATUSES), 20, "kinds are served"
    )
    pool = {"addresses": ["203.0.113.70-203.0.113.79"], "autoAssign": True, "avoidBuggyIPs": False}
    cluster.create(IP_ADDRESS_POOLS, _configuration(IP_ADDRESS_POOLS.kind, pool), DEFAULT_NAMESPACE)
    advertisement = _configuration(L2_ADVERTISEMENTS.kind, {"ipAddressPools": ["lan"], "interfaces": ["eth0"]})
    cluster.create(L2_ADVERTISEMENTS, advertisement, DEFAULT_NAMESPACE)
    lab.deploy_http("web")
    for name, (ip, asked) in ASSIGNED.items():
        _assign(cluster, name, ip, asked)
    lab.kubectl("apply", "-f", str(manifests))
    _make_keys(lab)
    lab.wait_rolled_out(DEPLOYMENTS, "controller")
    lab.wait_rolled_out(DAEMON_SETS, "speaker")
    return manifests


def _configuration(kind: str, spec: Object) -> Object:
    metadata = {"name": "lan", "namespace": DEFAULT_NAMESPACE}
    return {"apiVersion": "metallb.io/v1beta1", "kind": kind, "metadata": metadata, "spec": spec}


def _assign(cluster: Cluster, name: str, ip: str, asked: dict[str, str]) -> None:
    """Create a Service, and write what MetalLB writes: status, pool annotation, ServiceL2Status."""
    protocol = "UDP" if name == "dns-udp" else "TCP"
    ports = [{"port": 53 if "dns" in name else 80, "targetPort": 8080, "protocol": protocol}]
    written = {**asked, FROM_POOL_ANNOTATION: "lan"}
    service = {
        "metadata": {"name": name, "annotations": written},
        "spec": {"type": "LoadBalancer", "selector": {"app": "web"}, "ports": ports},
    }
    cluster.create(SERVICES, service, "default")
    shown = {"status": {"loadBalancer": {"ingress": [{"ip": ip}]}}}
    cluster.patch(SERVICES, name, shown, "default", subresource="status")
    labels = {
        "metallb.io/node": elected(ip),
        "metallb.io/service-name": name,
        "metallb.io/service-namespace": "default",
    }
    told = {
        "apiVersion": SERVICE_L2_STATUSES.api_version,
        "kind": SERVICE_L2_STATUSES.kind,
        "metadata": {"generateName": "l2-", "labels": labels},
    }
    stored = cluster.create(SERVICE_L2_STATUSES, told, DEFAULT_NAMESPACE)
    status = {"status": {"node": elected(ip), "serviceName": name, "serviceNamespace": "default"}}
    cluster.patch(SERVICE_L2_STATUSES, stored["metadata"]["name"], status, DEFAULT_NAMESPACE, subresource="status")


def _make_keys(lab: Lab) -> None:
    """Do what MetalLB's certificate rotator does: keys into the Secret, the authority into the webhooks."""
    cluster = lab.cluster()
    authority = Authority(lab.directory / "metallb-keys", "cert")
    pair = authority.server("webhook", [f"metallb-webhook-service.{DEFAULT_NAMESPACE}.svc"])
    files = {"ca.crt": authority.certificate, "ca.key": pair.key, "tls.crt": pair.certificate, "tls.key": pair.key}
    data = {name: base64.b64encode(path.read_bytes()).decode() for name, path in files.items()}
    secret = {"metadata": {"name": WEBHOOK_CERTIFICATE_SECRET}, "type": "Opaque", "data": data}
    cluster.create(SECRETS, secret, DEFAULT_NAMESPACE)
    configuration = cluster.get(VALIDATING_WEBHOOKS, WEBHOOK_CONFIGURATION)
    for webhook in configuration["webhooks"]:
        webhook["clientConfig"]["caBundle"] = data["ca.crt"]
    cluster.replace(VALIDATING_WEBHOOKS, configuration)

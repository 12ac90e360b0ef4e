"""Services as k3s ServiceLB, kube-vip and Cilium LB IPAM leave them, and what of these is seen in a cluster.

From their source: k3s pkg/cloudprovider/servicelb.go; kube-vip pkg/services/services.go, kube-vip-cloud-provider
pkg/provider/loadBalancer.go; cilium operator/pkg/lbipam/lbipam.go.
"""

from __future__ import annotations

from collections.abc import Sequence

from allocator.kube.client import STRATEGIC_MERGE_PATCH, Cluster, Object
from allocator.kube.resource import SERVICES
from tests.cluster.installation import service
from tests.lab.workloads import DAEMON_SETS

CLEANUP = "service.kubernetes.io/load-balancer-cleanup"
"""The finalizer of every cloud provider (k8s.io/cloud-provider/service/helpers)."""
K3S, KUBE_VIP, CILIUM = "k3s", "kube-vip", "cilium-operator-lb-ipam"
"""The names they write statuses under."""


def servicelb(name: str, *nodes: str) -> tuple[Object, Object, str]:
    """A Service that ServiceLB serves at the addresses of nodes."""
    return _kept(service(name)), _ingress(*nodes), K3S


def kube_vip(name: str, address: str, *, requested: str = "", **spec: object) -> tuple[Object, Object, str]:
    """A Service that kube-vip announces; `requested` is what its cloud provider wrote, if not the same address."""
    annotations = {"kube-vip.io/loadbalancerIPs": requested or address, "kube-vip.io/vipHost": "node-1"}
    document = _kept(service(name, annotations, loadBalancerIP=requested or address, **spec))
    document["metadata"]["labels"] = {"implementation": "kube-vip"}
    ports = [{"port": one["port"], "protocol": one["protocol"]} for one in document["spec"]["ports"]]
    return document, {"loadBalancer": {"ingress": [{"ip": address, "ports": ports}]}}, KUBE_VIP


def lb_ipam(name: str, *addresses: str, **spec: object) -> tuple[Object, Object, str]:
    """A Service that Cilium has given the addresses it asks for."""
    satisfied = {
        "type": "cilium.io/IPAMRequestSatisfied",
        "status": "True",
        "reason": "satisfied",
        "message": "",
        "lastTransitionTime": "2026-01-01T00:00:00Z",
    }
    document = service(name, {"lbipam.cilium.io/ips": ",".join(addresses)}, **spec)
    return document, {**_ingress(*addresses), "conditions": [satisfied]}, CILIUM


def create(cluster: Cluster, states: Sequence[tuple[Object, Object, str]]) -> None:
    """Create the Services in `default`, the older first, and have their load balancers write the statuses."""
    for document, status, writer in states:
        name = document["metadata"]["name"]
        cluster.create(SERVICES, document, "default")
        cluster.patch(
            SERVICES,
            name,
            {"status": status},
            "default",
            subresource="status",
            content_type=STRATEGIC_MERGE_PATCH,
            field_manager=writer,
        )


def create_daemon_sets(cluster: Cluster) -> None:
    """Create what an operator sees of ServiceLB and kube-vip in `kube-system`."""
    labels = {"svccontroller.k3s.cattle.io/svcname": "traefik", "svccontroller.k3s.cattle.io/svcnamespace": "default"}
    klipper = {"name": "lb-tcp-80", "image": "rancher/klipper-lb:v0.4.9"}
    cluster.create(DAEMON_SETS, _daemon_set("svclb-traefik-0a1b2c3d", klipper, labels), "kube-system")
    container = {
        "name": "kube-vip",
        "image": "ghcr.io/kube-vip/kube-vip:v1.0.1",
        "args": ["manager"],
        "env": [{"name": "svc_enable", "value": "true"}, {"name": "vip_arp", "value": "true"}],
    }
    cluster.create(DAEMON_SETS, _daemon_set("kube-vip-ds", container, {}), "kube-system")


def _daemon_set(name: str, container: Object, labels: dict[str, str]) -> Object:
    template = {"metadata": {"labels": {"app": name}}, "spec": {"containers": [container]}}
    spec = {"selector": {"matchLabels": {"app": name}}, "template": template}
    return {"apiVersion": "apps/v1", "kind": "DaemonSet", "metadata": {"name": name, "labels": labels}, "spec": spec}


def _kept(document: Object) -> Object:
    document["metadata"]["finalizers"] = [CLEANUP]
    return document


def _ingress(*addresses: str) -> Object:
    return {"loadBalancer": {"ingress": [{"ip": address} for address in addresses]}}

"""A cluster in which nothing is wrong, as `doctor` reads it, to break one thing in."""

from __future__ import annotations

import base64
import copy
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from allocator.doctor.catalogue import CHECKS, diagnose
from allocator.doctor.facts import CONFIG_MAPS, CRDS, DAEMON_SETS, DEPLOYMENTS, PODS, STATIC_PODS, Facts
from allocator.doctor.finding import Finding
from allocator.kube.resource import (
    ENDPOINT_SLICES_V1,
    LEASES,
    MUTATING_WEBHOOKS,
    NAMESPACES,
    NODES,
    SERVICES,
    VALIDATING_WEBHOOKS,
    Resource,
)
from allocator.objects import names
from allocator.objects.bgp_node_status import BgpNodeStatus, SessionEntry
from tests.unit.commands import manifests

Object = dict[str, Any]
NOW = datetime(2026, 1, 1, 12, tzinfo=UTC)
HOME = "metallb-system"
TOKEN = "ab" * 32
VALIDATING = (
    "ipaddresspools.metallb.io",
    "l2advertisements.metallb.io",
    "ipaddresspool-deletion.metallb.io",
    "bgp.metallb.io",
    "bgp-deletion.metallb.io",
    "namespaces.admitlb.io",
)


@cache
def authority(*, days: int = 30) -> str:
    """A caBundle whose certificate ends so many days from NOW."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "test")])
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(NOW - timedelta(days=100))
        .not_valid_after(NOW + timedelta(days=days))
        .sign(key, hashes.SHA256())
    )
    return base64.b64encode(certificate.public_bytes(serialization.Encoding.PEM)).decode()


def node(name: str, ip: str) -> Object:
    return {
        "metadata": {"name": name, "labels": {"kubernetes.io/hostname": name}},
        "spec": {"podCIDRs": ["10.244.0.0/24"]},
        "status": {
            "addresses": [{"type": "InternalIP", "address": ip}],
            "conditions": [{"type": "Ready", "status": "True"}],
        },
    }


def pod(name: str, component: str, on: str) -> Object:
    container = {"name": component, "image": "admitlb:1", "command": ["admitlb", component]}
    status = {"name": component, "ready": True, "restartCount": 0, "state": {"running": {}}}
    return {
        "metadata": {"name": name, "namespace": HOME, "labels": {"app": "metallb", "component": component}},
        "spec": {"nodeName": on, "containers": [container]},
        "status": {"phase": "Running", "containerStatuses": [status]},
    }


def lease(name: str, holder: str, **annotations: str) -> Object:
    return {
        "metadata": {
            "name": name,
            "namespace": HOME,
            "annotations": {f"admitlb.io/{key.replace('_', '-')}": value for key, value in annotations.items()},
        },
        "spec": {"holderIdentity": holder, "renewTime": "2026-01-01T12:00:00.000000Z"},
    }


def speaker_lease(node_name: str, ip: str) -> Object:
    return lease(
        f"speaker-{node_name}", node_name, heartbeat_addresses=ip, heard_speakers="1", subnets="192.0.2.0/24"
    )


def webhooks(*hooks: str) -> Object:
    service = {"namespace": HOME, "name": "metallb-webhook-service", "path": f"/validate/{TOKEN}", "port": 443}
    configured = [
        {"name": hook, "clientConfig": {"service": dict(service), "caBundle": authority()}} for hook in hooks
    ]
    return {"metadata": {"name": "metallb-webhook-configuration"}, "webhooks": configured}


def allocation(address: str, service: str, announced_by: str = "node-1") -> Object:
    return {
        "metadata": {"name": address, "resourceVersion": "1"},
        "spec": {
            "address": address,
            "pool": "lan",
            "state": "Bound",
            "holders": [{"namespace": "prod", "name": service, "uid": "1", "since": "2026-01-01T11:00:00Z"}],
        },
        "status": {
            "announcedBy": {"node": announced_by, "since": "2026-01-01T11:00:00Z"},
            "conditions": [{"type": "Ready", "status": "True", "reason": "Announced", "message": ""}],
        },
    }


def l2_status(service: str, address: str, node_name: str) -> Object:
    return {
        "metadata": {"name": f"l2-{service}-{node_name}", "namespace": HOME},
        "status": {
            "node": node_name,
            "serviceNamespace": "prod",
            "serviceName": service,
            "addresses": [address],
        },
    }


def bgp_status(node_name: str, trouble: str = "", **session: Any) -> Object:
    """What BGP is on a node with one session, which is up unless said otherwise."""
    entry = SessionEntry(**{"peer": "tor", "neighbor": "192.0.2.254", "state": "Established", **session})
    status = BgpNodeStatus(node=node_name, message=trouble, sessions=(entry,))
    return {"metadata": {"name": node_name, "namespace": HOME}, "status": status.as_status()}


def healthy() -> Facts:
    """Two nodes, a pool, two Services; every check is made and finds nothing."""
    objects: dict[Resource, list[Object]] = {
        NODES: [node("node-1", "192.0.2.1"), node("node-2", "192.0.2.2")],
        NAMESPACES: [{"metadata": {"name": "prod"}}],
        SERVICES: [manifests.service("web", shows=("192.0.2.10",)), manifests.service("api", shows=("192.0.2.11",))],
        PODS: [pod("c-1", "controller", "node-1"), pod("s-1", "speaker", "node-1"), pod("s-2", "speaker", "node-2")],
        DEPLOYMENTS: [
            {
                "metadata": {"name": "controller", "namespace": HOME},
                "spec": {"replicas": 1},
                "status": {"readyReplicas": 1},
            }
        ],
        DAEMON_SETS: [
            {
                "metadata": {"name": "speaker", "namespace": HOME},
                "status": {"desiredNumberScheduled": 2, "numberReady": 2},
            }
        ],
        LEASES: [
            lease("admitlb-reconciler", "c-1"),
            speaker_lease("node-1", "192.0.2.1"),
            speaker_lease("node-2", "192.0.2.2"),
        ],
        MUTATING_WEBHOOKS: [webhooks("services.admitlb.io")],
        VALIDATING_WEBHOOKS: [webhooks(*VALIDATING)],
        ENDPOINT_SLICES_V1: [
            {
                "metadata": {
                    "name": "w-1",
                    "namespace": HOME,
                    "labels": {"kubernetes.io/service-name": "metallb-webhook-service"},
                },
                "endpoints": [{"addresses": ["10.244.0.5"], "conditions": {"ready": True}}],
            }
        ],
        CONFIG_MAPS: [
            {
                "metadata": {"name": "kube-proxy", "namespace": "kube-system"},
                "data": {"config.conf": "mode: ipvs\nipvs:\n  strictARP: true\n"},
            }
        ],
        names.IP_ADDRESS_POOLS: [manifests.pool("lan", "192.0.2.10-192.0.2.19")],
        names.L2_ADVERTISEMENTS: [manifests.advertisement("all")],
        names.IP_ALLOCATIONS: [allocation("192.0.2.10", "web"), allocation("192.0.2.11", "api", "node-2")],
        names.SERVICE_L2_STATUSES: [
            l2_status("web", "192.0.2.10", "node-1"),
            l2_status("api", "192.0.2.11", "node-2"),
        ],
        STATIC_PODS: [],
        CRDS: [
            {"metadata": {"name": "bgppeers.metallb.io"}, "status": {"storedVersions": ["v1beta2"]}},
            {"metadata": {"name": "ipaddresspools.metallb.io"}, "status": {"storedVersions": ["v1beta1"]}},
        ],
        names.BGP_NODE_STATUSES: [],
        **{kind: [] for kind in names.BGP_KINDS},
    }
    return Facts(namespace=HOME, at=NOW, objects=objects, service_cidrs=("10.96.0.0/16",), kubernetes="v1.31.0")


def broken(change: Callable[[dict[Resource, list[Object]]], object]) -> Facts:
    """The healthy cluster with one thing changed."""
    facts = healthy()
    objects = {kind: copy.deepcopy(list(documents)) for kind, documents in facts.objects.items()}
    change(objects)  # type: ignore[arg-type]
    return replace(facts, objects=objects)


def found(facts: Facts, check: str | None = None) -> list[tuple[str, str, str]]:
    """Check, severity and subject of each finding."""
    chosen = [one for one in CHECKS if check is None or one.name == check]
    return [(one.check, str(one.severity), one.subject) for one in diagnose(facts, chosen)]


def findings(facts: Facts) -> list[Finding]:
    return diagnose(facts)

"""A report to attach to a bug: findings, and of each object the fields that are named here and no others.

What is not named is left out: a password in a BGPPeer, what kubectl remembers of it in an annotation, variables and
arguments of containers, the token in a webhook's path. Secrets and the content of ConfigMaps are not in it at all.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any, Final

from allocator.doctor.facts import CILIUM_POOLS, DAEMON_SETS, DEPLOYMENTS, PODS, Facts
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
from allocator.objects.document import Document

Fields = Mapping[str, Any]
"""Which fields stay: True for all of one, a mapping for some of it, or of each item of a list."""

_TOKEN: Final = re.compile(r"(?<!sha256:)[0-9a-f]{64}")
"""Of a path; the digest of an image says which build it is."""
_CREDENTIALS: Final = re.compile(r"//[^/@\s]*@")
_METADATA: Final = {
    field: True
    for field in ("name", "namespace", "uid", "labels", "creationTimestamp", "deletionTimestamp", "generation")
}
_WHOLE: Final[Fields] = {"spec": True, "status": True}
_CONDITIONS: Final = dict.fromkeys(("type", "status", "reason", "message", "lastTransitionTime"), True)
_STATE: Final = {
    phase: {"reason": True, "exitCode": True, "startedAt": True, "finishedAt": True}
    for phase in ("running", "waiting", "terminated")
}
_CONTAINERS: Final = {"containers": {"name": True, "image": True}}
_WORKLOAD: Final[Fields] = {
    "spec": {"replicas": True, "template": {"spec": _CONTAINERS}},
    "status": True,
}
_WEBHOOK: Final[Fields] = {
    "webhooks": {
        "name": True,
        "failurePolicy": True,
        "timeoutSeconds": True,
        "rules": True,
        "clientConfig": {"service": {"namespace": True, "name": True, "port": True, "path": True}},
    }
}
KEPT: Final[Mapping[Resource, Fields]] = {
    names.IP_ADDRESS_POOLS: _WHOLE,
    names.L2_ADVERTISEMENTS: _WHOLE,
    names.BGP_ADVERTISEMENTS: _WHOLE,
    names.BFD_PROFILES: _WHOLE,
    names.COMMUNITIES: _WHOLE,
    names.IP_ALLOCATIONS: _WHOLE,
    names.SERVICE_L2_STATUSES: _WHOLE,
    names.BGP_NODE_STATUSES: _WHOLE,
    names.BGP_PEERS: {
        "spec": dict.fromkeys(
            (
                "myASN",
                "peerASN",
                "dynamicASN",
                "localASN",
                "peerAddress",
                "peerPort",
                "interface",
                "sourceAddress",
                "holdTime",
                "keepaliveTime",
                "connectTime",
                "restartTime",
                "routerID",
                "nodeSelectors",
                "ebgpMultiHop",
                "ttlSecurityHops",
                "bfdProfile",
                "enableGracefulRestart",
                "vrf",
                "disableMP",
                "dualStackAddressFamily",
                "passwordSecret",
                "shutdown",
                "description",
            ),
            True,
        ),
        "status": {"conditions": _CONDITIONS, "observedGeneration": True},
    },
    NODES: {
        "spec": {"podCIDRs": True, "unschedulable": True, "taints": {"key": True, "effect": True}},
        "status": {
            "addresses": True,
            "conditions": {"type": True, "status": True, "reason": True},
            "nodeInfo": {"kubeletVersion": True, "kernelVersion": True, "osImage": True, "architecture": True},
        },
    },
    NAMESPACES: {},
    SERVICES: {
        "spec": dict.fromkeys(
            (
                "type",
                "ports",
                "selector",
                "clusterIPs",
                "ipFamilies",
                "ipFamilyPolicy",
                "externalTrafficPolicy",
                "loadBalancerIP",
                "loadBalancerClass",
            ),
            True,
        ),
        "status": {"loadBalancer": True, "conditions": _CONDITIONS},
    },
    DAEMON_SETS: _WORKLOAD,
    DEPLOYMENTS: _WORKLOAD,
    PODS: {
        "spec": {"nodeName": True, **_CONTAINERS},
        "status": {
            "phase": True,
            "podIPs": True,
            "conditions": {"type": True, "status": True, "reason": True},
            "containerStatuses": {
                "name": True,
                "ready": True,
                "restartCount": True,
                "image": True,
                "imageID": True,
                "state": _STATE,
                "lastState": _STATE,
            },
        },
    },
    LEASES: {"spec": True},
    ENDPOINT_SLICES_V1: {"addressType": True, "endpoints": {"addresses": True, "conditions": True, "nodeName": True}},
    MUTATING_WEBHOOKS: _WEBHOOK,
    VALIDATING_WEBHOOKS: _WEBHOOK,
    CILIUM_POOLS: {},
}
"""What stays of each kind beside its metadata. A kind that is not here is not in the bundle."""


def bundle_of(facts: Facts, findings: Iterable[Finding], *, version: str) -> dict[str, Any]:
    """Return the report as JSON values, without tokens of paths and credentials in URLs wherever they are."""
    report: dict[str, Any] = _without_secrets(_report(facts, findings, version))
    return report


def _report(facts: Facts, findings: Iterable[Finding], version: str) -> dict[str, Any]:
    return {
        "admitlb": version,
        "kubernetes": facts.kubernetes,
        "at": facts.at.isoformat(),
        "namespace": facts.namespace,
        "findings": [finding.as_json() for finding in findings],
        "unread": {kind.plural: why for kind, why in facts.unread.items()},
        "serviceCIDRs": list(facts.service_cidrs),
        "objects": {
            kind.plural: [
                _shown(document, fields) for document in facts.all(kind) if _concerns(facts, kind, document)
            ]
            for kind, fields in KEPT.items()
            if kind in facts.objects
        },
    }


def _shown(document: Document, fields: Fields) -> dict[str, Any]:
    metadata = {
        **_projected(document["metadata"], _METADATA),
        "annotations": {
            key: value
            for key, value in (document["metadata"].get("annotations") or {}).items()
            if key.startswith(names.ANNOTATION_PREFIXES)
        },
    }
    shown: dict[str, Any] = {"metadata": metadata, **_projected(document, fields)}
    return shown


def _projected(value: Mapping[str, Any], fields: Fields) -> dict[str, Any]:
    return {key: _part(value[key], kept) for key, kept in fields.items() if key in value}


def _part(value: Any, kept: Any) -> Any:
    if isinstance(kept, Mapping):
        if isinstance(value, list):
            return [_projected(item, kept) for item in value if isinstance(item, Mapping)]
        return _projected(value, kept) if isinstance(value, Mapping) else None
    return value


def _without_secrets(value: Any) -> Any:
    # A path or a URL may be in any message: of a condition, of a finding, of why a kind was not read.
    match value:
        case str():
            return _CREDENTIALS.sub("//(credentials)@", _TOKEN.sub("(token)", value))
        case Mapping():
            return {key: _without_secrets(one) for key, one in value.items()}
        case list() | tuple():
            return [_without_secrets(one) for one in value]
        case _:
            return value


def _concerns(facts: Facts, kind: Resource, document: Document) -> bool:
    """Whether it is of ours: of Services those of type LoadBalancer, of workloads and webhooks our own."""
    metadata = document["metadata"]
    if kind is SERVICES:
        return (document.get("spec") or {}).get("type") == "LoadBalancer"
    if kind in (MUTATING_WEBHOOKS, VALIDATING_WEBHOOKS):
        return bool(metadata["name"] == names.WEBHOOK_CONFIGURATION)
    if kind in (DAEMON_SETS, DEPLOYMENTS, PODS, ENDPOINT_SLICES_V1):
        return bool(metadata.get("namespace") == facts.namespace)
    return True

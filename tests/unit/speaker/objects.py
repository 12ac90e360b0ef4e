"""Kubernetes objects as the API server writes them, with what the speaker's tests vary."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from allocator.kube.client import Object


def metadata(name: str, namespace: str | None = None, labels: Mapping[str, str] | None = None) -> Object:
    """Object metadata as stored."""
    written: Object = {"name": name, "uid": f"uid-of-{name}", "resourceVersion": "1"}
    if namespace is not None:
        written["namespace"] = namespace
    if labels:
        written["labels"] = dict(labels)
    return written


def service(
    *addresses: str,
    name: str = "web",
    labels: Mapping[str, str] | None = None,
    kind: str = "LoadBalancer",
    **spec: Any,
) -> Object:
    """A Service whose status lists `addresses`."""
    return {
        "metadata": metadata(name, "default", labels),
        "spec": {"type": kind, **spec},
        "status": {"loadBalancer": {"ingress": [{"ip": address} for address in addresses]}},
    }


def endpoint(node: str | None, *, ready: bool | None = True, serving: bool | None = None) -> Object:
    """One endpoint of a slice; a condition that is None is not written."""
    conditions = {"ready": ready, "serving": serving}
    written: Object = {"conditions": {key: value for key, value in conditions.items() if value is not None}}
    if node is not None:
        written["nodeName"] = node
    return written


def endpoint_slice(*endpoints: Object, of: str = "web", name: str = "web-1") -> Object:
    """An EndpointSlice of a Service in the default namespace."""
    return {"metadata": metadata(name, "default", {"kubernetes.io/service-name": of}), "endpoints": list(endpoints)}


def node(
    name: str,
    *,
    labels: Mapping[str, str] | None = None,
    address: str | None = None,
    network_down: bool = False,
    ready: bool = True,
    taint: str | None = None,
    cordoned: bool = False,
) -> Object:
    """A Node with its InternalIP."""
    conditions = [
        {"type": "NetworkUnavailable", "status": "True" if network_down else "False"},
        {"type": "Ready", "status": "True" if ready else "Unknown"},
    ]
    addresses = [{"type": "Hostname", "address": name}]
    if address is not None:
        addresses.append({"type": "InternalIP", "address": address})
    return {
        "metadata": metadata(name, None, labels),
        "spec": {
            "taints": [{"key": taint, "effect": "NoExecute"}] if taint else [],
            "unschedulable": cordoned,
        },
        "status": {"conditions": conditions, "addresses": addresses},
    }


def lease(
    node_name: str,
    *,
    addresses: Sequence[str] = (),
    renewed: str = "2026-01-01T00:00:00.000000Z",
    serving: bool = True,
    hears: int = 0,
    subnets: Sequence[str] = (),
) -> Object:
    """The Lease of a node's speaker."""
    written = metadata(f"speaker-{node_name}", "metallb-system")
    written["annotations"] = {
        "admitlb.io/heartbeat-addresses": ",".join(addresses),
        "admitlb.io/heard-speakers": str(hears),
        "admitlb.io/subnets": ",".join(subnets),
    }
    return {
        "metadata": written,
        "spec": {"holderIdentity": node_name if serving else None, "renewTime": renewed},
    }


def pool(name: str = "pool", *, addresses: Sequence[str] = ("192.0.2.0/24",), **labels: str) -> Object:
    """An IPAddressPool."""
    return {"metadata": metadata(name, "metallb-system", labels), "spec": {"addresses": list(addresses)}}


def advertisement(name: str = "l2", **spec: Any) -> Object:
    """An L2Advertisement."""
    return {"metadata": metadata(name, "metallb-system"), "spec": spec}

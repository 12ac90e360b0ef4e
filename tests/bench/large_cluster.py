"""The documents of a large cluster as the API server sends them, and an API server that sends nothing else."""

from __future__ import annotations

import json
import queue
from collections import defaultdict
from collections.abc import Iterator

from allocator.core.addresses import Address, Family
from allocator.kube.client import Object
from allocator.kube.resource import ENDPOINT_SLICES_V1, LEASES, NODES, SERVICES, Resource
from allocator.objects.names import IP_ADDRESS_POOLS, L2_ADVERTISEMENTS, SERVICE_L2_STATUSES

_FIRST = Address.parse("10.64.0.1").value
_STAMP = "2026-01-01T00:00:00Z"
LAN = "10.0.0.0/8"


def address_of(number: int) -> Address:
    """The address of a Service."""
    return Address(Family.IPV4, _FIRST + number)


def service(number: int, *, version: int = 1) -> Object:
    """A Service as the reconciler leaves it, with everything that kubectl and the API server put in."""
    name, address = f"application-{number:05}", str(address_of(number))
    labels = {"app.kubernetes.io/name": name, "app.kubernetes.io/part-of": f"team-{number % 40}"}
    spec = {
        "type": "LoadBalancer",
        "selector": {"app.kubernetes.io/name": name},
        "ports": [
            {"name": "http", "port": 80, "targetPort": "http", "protocol": "TCP", "nodePort": 30000 + number % 2700},
            {
                "name": "https",
                "port": 443,
                "targetPort": "https",
                "protocol": "TCP",
                "nodePort": 30000 + number % 2700,
            },
        ],
        "clusterIP": f"172.20.{number // 250 % 250}.{1 + number % 250}",
        "clusterIPs": [f"172.20.{number // 250 % 250}.{1 + number % 250}"],
        "ipFamilies": ["IPv4"],
        "ipFamilyPolicy": "SingleStack",
        "externalTrafficPolicy": "Local" if number % 4 == 0 else "Cluster",
        "internalTrafficPolicy": "Cluster",
        "sessionAffinity": "None",
        "allocateLoadBalancerNodePorts": True,
    }
    annotations = {
        "metallb.io/ip-allocated-from-pool": "lan",
        "admitlb.io/assigned-ips": address,
        "kubectl.kubernetes.io/last-applied-configuration": json.dumps({"kind": "Service", "spec": spec}),
    }
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {
            **_metadata(name, f"team-{number % 40}", version),
            "labels": labels,
            "annotations": annotations,
            "managedFields": _managed_fields(spec),
        },
        "spec": spec,
        "status": {"loadBalancer": {"ingress": [{"ip": address, "ipMode": "VIP"}]}},
    }


def endpoint_slice(number: int, nodes: int, *, version: int = 1) -> Object:
    """The slice of a Service with two pods."""
    name, namespace = f"application-{number:05}", f"team-{number % 40}"
    return {
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": {
            **_metadata(f"{name}-x7k2p", namespace, version),
            "labels": {
                "kubernetes.io/service-name": name,
                "endpointslice.kubernetes.io/managed-by": "endpointslice-controller.k8s.io",
            },
            "managedFields": _managed_fields({"endpoints": {}, "ports": {}}),
        },
        "addressType": "IPv4",
        "endpoints": [
            {
                "addresses": [f"10.{number % 200}.{number // 250 % 250}.{1 + number % 250 + turn}"],
                "conditions": {"ready": True, "serving": True, "terminating": False},
                "nodeName": f"node-{(number * (1 + turn)) % nodes:03}",
                "targetRef": {
                    "kind": "Pod",
                    "name": f"{name}-{turn}",
                    "namespace": namespace,
                    "uid": f"{number:036}",
                },
                "zone": "rack-1",
            }
            for turn in range(2)
        ],
        "ports": [
            {"name": "http", "port": 8080, "protocol": "TCP"},
            {"name": "https", "port": 8443, "protocol": "TCP"},
        ],
    }


def node(number: int, *, labels: dict[str, str] | None = None, ready: bool = True, version: int = 1) -> Object:
    """A Node with its images and conditions."""
    name = f"node-{number:03}"
    conditions = [
        {
            "type": each,
            "status": "False",
            "reason": "KubeletHas",
            "message": "kubelet is well",
            "lastHeartbeatTime": _STAMP,
        }
        for each in ("MemoryPressure", "DiskPressure", "PIDPressure", "NetworkUnavailable")
    ]
    conditions.append({"type": "Ready", "status": "True" if ready else "False", "lastHeartbeatTime": _STAMP})
    return {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {
            **_metadata(name, None, version),
            "labels": {"kubernetes.io/hostname": name, "kubernetes.io/arch": "amd64", **(labels or {})},
            "managedFields": _managed_fields({each["type"]: {} for each in conditions}),
        },
        "spec": {"podCIDR": f"10.{number}.0.0/16", "providerID": name},
        "status": {
            "addresses": [
                {"type": "InternalIP", "address": node_address(number)},
                {"type": "Hostname", "address": name},
            ],
            "conditions": conditions,
            "images": [
                {"names": [f"registry.example.com/team/image-{each}@sha256:{each:064}"], "sizeBytes": 10**8 + each}
                for each in range(50)
            ],
            "nodeInfo": {"kubeletVersion": "v1.36.0", "kernelVersion": "6.8.0", "architecture": "amd64"},
        },
    }


def node_address(number: int) -> str:
    """The InternalIP of a node."""
    return f"10.1.{number // 250}.{1 + number % 250}"


def lease(number: int, *, renewed: int = 0, version: int = 1) -> Object:
    """The Lease of a node's speaker."""
    name = f"speaker-node-{number:03}"
    annotations = {
        "admitlb.io/heartbeat-addresses": node_address(number),
        "admitlb.io/heard-speakers": "199",
        "admitlb.io/subnets": LAN,
    }
    return {
        "apiVersion": "coordination.k8s.io/v1",
        "kind": "Lease",
        "metadata": {**_metadata(name, "metallb-system", version), "annotations": annotations},
        "spec": {
            "holderIdentity": f"node-{number:03}",
            "leaseDurationSeconds": 30,
            "renewTime": f"2026-01-01T00:00:{renewed % 60:02}.000000Z",
        },
    }


def pool(name: str, *addresses: str, version: int = 1) -> Object:
    """An IPAddressPool."""
    return {
        "apiVersion": "metallb.io/v1beta1",
        "kind": "IPAddressPool",
        "metadata": _metadata(name, "metallb-system", version),
        "spec": {"addresses": list(addresses)},
    }


def advertisement(name: str, *, version: int = 1, **spec: object) -> Object:
    """An L2Advertisement."""
    return {
        "apiVersion": "metallb.io/v1beta1",
        "kind": "L2Advertisement",
        "metadata": _metadata(name, "metallb-system", version),
        "spec": spec,
    }


class LargeCluster:
    """Lists what there is, page by page, and sends what is put afterwards to whoever watches; all as text."""

    def __init__(self, services: int, nodes: int) -> None:
        self._services, self._nodes = services, nodes
        self._events: dict[str, queue.SimpleQueue[str | None]] = defaultdict(queue.SimpleQueue)
        self.version = 1

    def put(self, resource: Resource, document: Object, kind: str = "MODIFIED") -> None:
        """Send an event; it is parsed by who takes it, as from a connection."""
        self.version += 1
        document["metadata"]["resourceVersion"] = str(self.version)
        self._events[resource.plural].put(json.dumps({"type": kind, "object": document}))

    def close(self) -> None:
        """End every watch."""
        for events in self._events.values():
            events.put(None)

    def pages(
        self, resource: Resource, _namespace: str | None = None, *, size: int = 500, **_: object
    ) -> Iterator[Object]:
        """List a resource."""
        page: list[str] = []
        for document in self._documents(resource):
            page.append(json.dumps(document))
            if len(page) == size:
                yield _parsed(page)
                page = []
        yield _parsed(page)

    def watch(self, resource: Resource, _namespace: str | None = None, **_: object) -> Iterator[tuple[str, Object]]:
        """Yield what is put."""
        events = self._events[resource.plural]
        while (text := events.get()) is not None:
            event = json.loads(text)
            yield event["type"], event["object"]

    def _documents(self, resource: Resource) -> Iterator[Object]:
        if resource.plural == SERVICES.plural:
            yield from map(service, range(self._services))
        elif resource.plural == ENDPOINT_SLICES_V1.plural:
            yield from (endpoint_slice(number, self._nodes) for number in range(self._services))
        elif resource.plural == NODES.plural:
            yield from map(node, range(self._nodes))
        elif resource.plural == LEASES.plural:
            yield from map(lease, range(self._nodes))
        elif resource.plural == IP_ADDRESS_POOLS.plural:
            yield pool("lan", "10.64.0.0/16")
            yield pool("other", "10.65.0.0/24")
        elif resource.plural == L2_ADVERTISEMENTS.plural:
            yield advertisement("lan", ipAddressPools=["lan"])
        elif resource.plural != SERVICE_L2_STATUSES.plural:
            raise ValueError(resource.plural)


def _parsed(page: list[str]) -> Object:
    text = '{"metadata": {"resourceVersion": "1"}, "items": [' + ",".join(page) + "]}"
    parsed: Object = json.loads(text)
    return parsed


def _metadata(name: str, namespace: str | None, version: int) -> Object:
    metadata: Object = {
        "name": name,
        "uid": f"00000000-0000-4000-8000-{abs(hash(name)) % 10**12:012}",
        "resourceVersion": str(version),
        "creationTimestamp": _STAMP,
    }
    if namespace is not None:
        metadata["namespace"] = namespace
    return metadata


def _managed_fields(fields: Object) -> list[Object]:
    own: Object = {f"f:{name}": {".": {}, f"f:{name}": {}} for name in fields}
    return [
        {
            "manager": manager,
            "operation": "Update",
            "apiVersion": "v1",
            "time": _STAMP,
            "fieldsType": "FieldsV1",
            "fieldsV1": {"f:spec": own},
        }
        for manager in ("kubectl", "admitlb", "controller-manager")
    ]

"""EndpointSlices as values: where a Service has endpoints that can serve."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from allocator.objects.document import Document, labels_of

_SERVICE_NAME_LABEL = "kubernetes.io/service-name"
_HOSTNAME_TOPOLOGY = "kubernetes.io/hostname"


@dataclass(frozen=True, slots=True)
class Serving:
    """Whether anything serves the Service at all, and the nodes on which something does."""

    anywhere: bool
    nodes: frozenset[str]


def service_of(endpoint_slice: Document) -> tuple[str, str] | None:
    """Return namespace and name of the Service a slice belongs to, None when it belongs to none."""
    name = labels_of(endpoint_slice).get(_SERVICE_NAME_LABEL)
    return (endpoint_slice["metadata"]["namespace"], name) if name else None


def serving(slices: Iterable[Document]) -> Serving:
    """Sum up a Service's slices, of discovery.k8s.io v1 or v1beta1.

    An endpoint serves when it is ready, when nothing says it is not, or when it terminates but still serves
    (MetalLB internal/k8s/epslices EndpointCanServe).
    """
    anywhere = False
    nodes = set()
    for endpoint_slice in slices:
        for endpoint in endpoint_slice.get("endpoints") or ():
            conditions = endpoint.get("conditions") or {}
            if conditions.get("ready") is False and conditions.get("serving") is not True:
                continue
            anywhere = True
            node = endpoint.get("nodeName") or (endpoint.get("topology") or {}).get(_HOSTNAME_TOPOLOGY)
            if node:
                nodes.add(node)
    return Serving(anywhere, frozenset(nodes))

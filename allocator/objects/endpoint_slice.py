"""EndpointSlices as values: where a Service has endpoints that can serve."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from allocator.objects.announced_service import Ports, ports_from
from allocator.objects.document import Document, labels_of
from allocator.objects.interned import Interned

if TYPE_CHECKING:
    from allocator.kube.reflector import Key

_SERVICE_NAME_LABEL = "kubernetes.io/service-name"
_HOSTNAME_TOPOLOGY = "kubernetes.io/hostname"


@dataclass(frozen=True, slots=True, weakref_slot=True)
class Serving:
    """Whether anything serves the Service at all, and the nodes on which something does."""

    anywhere: bool
    nodes: frozenset[str]


NOTHING_SERVES = Serving(False, frozenset())


@dataclass(frozen=True, slots=True)
class Slice:
    """The Service an EndpointSlice belongs to, the ports that its endpoints offer, and where those that serve are."""

    owner: Key
    ports: Ports
    serving: Serving


def slice_from(document: Document) -> Slice | None:
    """Read an EndpointSlice, of discovery.k8s.io v1 or v1beta1; None for one that belongs to no Service.

    An endpoint serves when it is ready, when nothing says it is not, or when it terminates but still serves
    (MetalLB internal/k8s/epslices EndpointCanServe).
    """
    name = labels_of(document).get(_SERVICE_NAME_LABEL)
    if not name:
        return None
    anywhere = False
    nodes = set()
    for endpoint in document.get("endpoints") or ():
        conditions = endpoint.get("conditions") or {}
        if conditions.get("ready") is False and conditions.get("serving") is not True:
            continue
        anywhere = True
        node = endpoint.get("nodeName") or (endpoint.get("topology") or {}).get(_HOSTNAME_TOPOLOGY)
        if node:
            nodes.add(sys.intern(node))
    owner = (sys.intern(document["metadata"]["namespace"]), name)
    return Slice(owner, ports_from(document.get("ports") or ()), _serving(anywhere, frozenset(nodes)))


def serving(slices: Iterable[Slice], ports: Ports) -> Serving:
    """Sum up a Service's slices.

    Those that offer none of its ports do not count: kube-proxy forwards a port of the Service to the endpoints of the
    slices that have a port of that name and protocol (kubernetes pkg/proxy/endpointslicecache.go). A pod that lacks a
    named targetPort is in such a slice.
    """
    found = [each.serving for each in slices if not ports or not ports.isdisjoint(each.ports)]
    if len(found) == 1:
        return found[0]
    if not found:
        return NOTHING_SERVES
    return _serving(any(each.anywhere for each in found), frozenset().union(*(each.nodes for each in found)))


def _serving(anywhere: bool, nodes: frozenset[str]) -> Serving:
    return _SERVING.of(Serving(anywhere, nodes))


_SERVING = Interned[Serving]()

"""What a live cluster holds that bears on announcing one Service by BGP."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime

from allocator.commands.bgp_explanation import BgpFacts
from allocator.kube import resource
from allocator.kube.client import Cluster, NotFound, Object
from allocator.kube.resource import Resource
from allocator.objects import names
from allocator.rules.silent_speakers import silent_since

_SERVICE_NAME_LABEL = "kubernetes.io/service-name"


def bgp_facts(cluster: Cluster, service: Object, *, installed_in: str, leases: Iterable[Object]) -> BgpFacts | None:
    """Read it; None where there is neither a BGPPeer nor a BGPAdvertisement. Raises ApiError.

    Other Services are read only where one may share a prefix with this one.
    """
    objects = {kind: listed(cluster, kind, installed_in) for kind in names.BGP_KINDS}
    advertisements = objects[names.BGP_ADVERTISEMENTS]
    if not objects[names.BGP_PEERS] and not advertisements:
        return None
    metadata = service["metadata"]
    alone = not _shares(service) and not any(_aggregates(each) for each in advertisements)
    slices = slices_kind(cluster)
    within = metadata["namespace"] if alone else None
    its = f"{_SERVICE_NAME_LABEL}={metadata['name']}" if alone else None
    return BgpFacts(
        objects=objects,
        statuses=listed(cluster, names.BGP_NODE_STATUSES, installed_in),
        services=() if alone else list(cluster.list(resource.SERVICES).get("items") or ()),
        slices=list(cluster.list(slices, within, label_selector=its).get("items") or ()),
        silent_since=silent_since(leases, datetime.now(UTC)),
    )


def listed(cluster: Cluster, kind: Resource, namespace: str) -> list[Object]:
    """Return the objects of a kind; none where the cluster does not have the kind. Raises ApiError."""
    try:
        return list(cluster.list(kind, namespace).get("items") or ())
    except NotFound:
        return []


def slices_kind(cluster: Cluster) -> Resource:
    """Return EndpointSlices in the version that the cluster has."""
    served = cluster.serves(resource.ENDPOINT_SLICES_V1)
    return resource.ENDPOINT_SLICES_V1 if served else resource.ENDPOINT_SLICES_V1BETA1


def _aggregates(advertisement: Object) -> bool:
    spec = advertisement.get("spec") or {}
    lengths = (spec.get("aggregationLength", 32), spec.get("aggregationLengthV6", 128))
    return lengths != (32, 128)


def _shares(service: Object) -> bool:
    annotations = service["metadata"].get("annotations") or {}
    return any(key in annotations for key in names.ALLOW_SHARED_IP_ANNOTATIONS)

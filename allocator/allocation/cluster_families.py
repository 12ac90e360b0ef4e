"""Which IP families Services of the cluster can have."""

from __future__ import annotations

from collections.abc import Iterable
from http import HTTPStatus

from allocator.core.addresses import Address, AddressRange, Family
from allocator.kube import resource
from allocator.kube.client import ApiError, Cluster, NotFound

_NOT_TOLD = (HTTPStatus.NOT_FOUND, HTTPStatus.FORBIDDEN)


def cluster_families(cluster: Cluster) -> tuple[Family, ...]:
    """Return the families Services can have, primary first. Raises ApiError.

    The API server's own Service has the primary one. A second shows in the ServiceCIDRs (KEP-1880, served as v1 by
    Kubernetes 1.33 and later); before that in the nodes' podCIDRs, which not every network plugin has set.
    """
    service = cluster.get(resource.SERVICES, "kubernetes", "default")
    primary = Address.parse(service["spec"]["clusterIP"]).family
    try:
        cidrs: Iterable[str] = service_cidrs(cluster)
    except ApiError as error:
        if error.status not in _NOT_TOLD:
            raise
        cidrs = _pod_cidrs(cluster)
    families = {AddressRange.parse(cidr).family for cidr in cidrs}
    return (primary, *sorted(families - {primary}))


def service_cidrs(cluster: Cluster) -> list[str]:
    """Return the CIDRs of which Services get their clusterIPs. Raises NotFound where the API has none, ApiError."""
    listed = [
        cidr for item in cluster.list(resource.SERVICE_CIDRS).get("items") or () for cidr in item["spec"]["cidrs"]
    ]
    if not listed:
        raise NotFound(HTTPStatus.NOT_FOUND, "NotFound", "there is no ServiceCIDR")
    return listed


def known_service_cidrs(cluster: Cluster) -> list[str]:
    """Return the Service CIDRs where the API has them, else the one Service address known for certain."""
    try:
        return service_cidrs(cluster)
    except NotFound:
        service = cluster.get(resource.SERVICES, "kubernetes", "default")
        return [service["spec"]["clusterIP"]]


def _pod_cidrs(cluster: Cluster) -> list[str]:
    nodes = cluster.list(resource.NODES).get("items") or ()
    return [cidr for node in nodes for cidr in (node.get("spec") or {}).get("podCIDRs") or ()]

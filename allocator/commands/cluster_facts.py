"""The one place where `admitlb doctor` asks the cluster. It lists and gets; it never reads a Secret."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import UTC, datetime
from http import HTTPStatus
from typing import Any, Final

from allocator.allocation.cluster_families import known_service_cidrs
from allocator.doctor.checks import kube_proxy, load_balancers, stored_versions
from allocator.doctor.facts import (
    CILIUM_POOLS,
    CONFIG_MAPS,
    CRDS,
    DAEMON_SETS,
    DEPLOYMENTS,
    PODS,
    STATIC_PODS,
    Facts,
    name_of,
)
from allocator.kube.client import ApiError, Cluster, NotFound, Unavailable
from allocator.kube.resource import (
    ENDPOINT_SLICES_V1,
    ENDPOINT_SLICES_V1BETA1,
    LEASES,
    MUTATING_WEBHOOKS,
    NAMESPACES,
    NODES,
    SERVICES,
    VALIDATING_WEBHOOKS,
    Resource,
)
from allocator.objects import names
from allocator.offline.live_cluster import named

_EVERYWHERE: Final = (
    NODES,
    NAMESPACES,
    SERVICES,
    DAEMON_SETS,
    DEPLOYMENTS,
    MUTATING_WEBHOOKS,
    VALIDATING_WEBHOOKS,
    CILIUM_POOLS,
    names.IP_ALLOCATIONS,
    names.IP_ADDRESS_POOLS,
    names.L2_ADVERTISEMENTS,
)
_INSTALLED: Final = (PODS, LEASES, names.SERVICE_L2_STATUSES, names.BGP_NODE_STATUSES, *names.BGP_KINDS)
_MIRROR: Final = "kubernetes.io/config.mirror"
"""On what a kubelet shows of a static Pod."""
_CONFIG_MAPS: Final = (
    (kube_proxy.NAMESPACE, kube_proxy.NAME),
    (load_balancers.NAMESPACE, load_balancers.CILIUM_CONFIG),
)


def read_facts(cluster: Cluster, *, namespace: str, lb_class: str, take_over_foreign: bool) -> Facts:
    """Ask for everything that a check looks at; what may not be read is noted. Raises Unavailable."""
    objects: dict[Resource, Sequence[dict[str, Any]]] = {}
    unread: dict[Resource, str] = {}

    def keep(kind: Resource, read: Callable[[], Iterator[dict[str, Any]]]) -> None:
        try:
            objects[kind] = [named(one, kind) for one in read()]
        except Unavailable:
            raise
        except NotFound:
            # A kind that this cluster does not have: there are none of it.
            objects[kind] = ()
        except ApiError as error:
            unread[kind] = f"{error.status} {error.reason}"

    for kind in _EVERYWHERE:
        keep(kind, lambda kind=kind: _listed(cluster, kind, None))  # type: ignore[misc]
    for kind in _INSTALLED:
        keep(kind, lambda kind=kind: _listed(cluster, kind, namespace))  # type: ignore[misc]
    # Where nobody announces by BGP only our own are looked at, and others may be many.
    within = None if objects.get(names.BGP_NODE_STATUSES) else namespace
    keep(ENDPOINT_SLICES_V1, lambda: _endpoint_slices(cluster, within))
    keep(STATIC_PODS, lambda: _static_pods(cluster))
    keep(CONFIG_MAPS, lambda: _config_maps(cluster))
    keep(CRDS, lambda: _present(cluster, CRDS, ((None, name) for name in stored_versions.VERSIONS)))
    before = objects.get(SERVICES)
    if before is not None:
        keep(SERVICES, lambda: _listed(cluster, SERVICES, None))
    return Facts(
        namespace=namespace,
        at=datetime.now(UTC),
        objects=objects,
        unread=unread,
        service_cidrs=_service_cidrs(cluster),
        kubernetes=str(cluster.raw("GET", "/version").get("gitVersion") or ""),
        lb_class=lb_class,
        take_over_foreign=take_over_foreign,
        changing=_changed(before or (), objects.get(SERVICES) or ()),
    )


def _changed(before: Sequence[dict[str, Any]], after: Sequence[dict[str, Any]]) -> frozenset[str]:
    """The Services that are not in both lists as they are: the IPAllocations, read in between, may be of either."""
    first, second = (
        {name_of(one): one["metadata"].get("resourceVersion") for one in each} for each in (before, after)
    )
    return frozenset(name for name in first.keys() | second.keys() if first.get(name) != second.get(name))


def _listed(cluster: Cluster, kind: Resource, namespace: str | None) -> Iterator[dict[str, Any]]:
    for page in cluster.pages(kind, namespace):
        yield from page.get("items") or ()


def _endpoint_slices(cluster: Cluster, namespace: str | None) -> Iterator[dict[str, Any]]:
    kind = ENDPOINT_SLICES_V1 if cluster.serves(ENDPOINT_SLICES_V1) else ENDPOINT_SLICES_V1BETA1
    yield from _listed(cluster, kind, namespace)


def _static_pods(cluster: Cluster) -> Iterator[dict[str, Any]]:
    for pod in _listed(cluster, STATIC_PODS, load_balancers.NAMESPACE):
        if _MIRROR in (pod["metadata"].get("annotations") or {}):
            yield pod


def _config_maps(cluster: Cluster) -> Iterator[dict[str, Any]]:
    """Those that a check names: others may hold anything."""
    return _present(cluster, CONFIG_MAPS, _CONFIG_MAPS)


def _present(
    cluster: Cluster, kind: Resource, named_ones: Iterable[tuple[str | None, str]]
) -> Iterator[dict[str, Any]]:
    """Those of these, each by namespace and name, that are there."""
    for namespace, name in named_ones:
        try:
            yield cluster.get(kind, name, namespace)
        except NotFound:
            continue


def _service_cidrs(cluster: Cluster) -> list[str]:
    try:
        return known_service_cidrs(cluster)
    except ApiError as error:
        if error.status != HTTPStatus.FORBIDDEN:
            raise
        return []

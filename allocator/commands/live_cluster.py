"""The live cluster as `plan --against-cluster` reads it: lists only, so that read-only rights are enough."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from allocator.commands.explanation import claims_from
from allocator.kube.resource import Resource
from allocator.objects import names
from allocator.offline.live_cluster import LiveCluster, kinds_read_in, named

if TYPE_CHECKING:
    from allocator.kube.client import Cluster


_MAY_HOLD_PASSWORDS = names.BGP_PEERS
"""Left out where they may not be read: no address depends on them, only warnings about peers that are named."""


def read_live_cluster(cluster: Cluster, *, namespace: str) -> LiveCluster:
    """List every kind that bears on who gets which address; what is being deleted counts as gone. Raises ApiError.

    The lists are not of one moment: what changes meanwhile may be in one and not in another.
    """
    objects = {
        kind: [named(one, kind) for one in _listed(cluster, kind, within) if not _going(one)]
        for kind, within in kinds_read_in(namespace).items()
    }
    return LiveCluster(objects=objects, claims=claims_from(_listed(cluster, names.IP_ALLOCATIONS, None)))


def _listed(cluster: Cluster, kind: Resource, namespace: str | None) -> Iterator[Mapping[str, Any]]:
    from allocator.kube.client import ApiError  # noqa: PLC0415

    try:
        for page in cluster.pages(kind, namespace):
            yield from page.get("items") or ()
    except ApiError as error:
        # 404: a kind of a newer release than the cluster's.
        if error.status != HTTPStatus.NOT_FOUND and not (
            kind is _MAY_HOLD_PASSWORDS and error.status == HTTPStatus.FORBIDDEN
        ):
            raise


def _going(document: Mapping[str, Any]) -> bool:
    return "deletionTimestamp" in document["metadata"]

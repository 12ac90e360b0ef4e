"""The cluster's families: from its ServiceCIDRs, and from the nodes where the API server tells of none."""

from __future__ import annotations

from typing import Any, cast

import pytest

from allocator.allocation.cluster_families import cluster_families
from allocator.core.addresses import Family
from allocator.kube import resource
from allocator.kube.client import ApiError, Cluster, NotFound, Unavailable
from allocator.kube.resource import Resource

V4, V6 = Family.IPV4, Family.IPV6
FOUR, SIX = "10.96.0.0/16", "fd00:10:96::/112"
PODS = ["10.244.0.0/24", "fd00:10:244::/64"]


class Api:
    """An API server with these ServiceCIDRs (an error where it lists none) and one node of these podCIDRs."""

    def __init__(self, primary: str, cidrs: list[str] | ApiError, pods: list[str] | None = None) -> None:
        self.primary, self.cidrs, self.pods = primary, cidrs, pods
        self.listed: list[str] = []

    def get(self, *_: object) -> dict[str, Any]:
        return {"spec": {"clusterIP": self.primary}}

    def list(self, kind: Resource) -> dict[str, Any]:
        self.listed.append(kind.plural)
        if kind is resource.NODES:
            return {"items": [{"spec": {"podCIDRs": self.pods} if self.pods else {}}]}
        if isinstance(self.cidrs, ApiError):
            raise self.cidrs
        return {"items": [{"spec": {"cidrs": [cidr]}} for cidr in self.cidrs]}


GONE = NotFound(404, "NotFound", "the server could not find the requested resource")
FORBIDDEN = ApiError(403, "Forbidden", "servicecidrs")


@pytest.mark.parametrize(
    ("api", "families"),
    [
        (Api("10.96.0.1", [FOUR, SIX]), (V4, V6)),
        (Api("fd00:10:96::1", [FOUR, SIX]), (V6, V4)),
        (Api("10.96.0.1", [FOUR], PODS), (V4,)),
        (Api("10.96.0.1", GONE, PODS), (V4, V6)),
        (Api("10.96.0.1", FORBIDDEN, PODS), (V4, V6)),
        (Api("10.96.0.1", [], PODS), (V4, V6)),
        (Api("10.96.0.1", GONE), (V4,)),
    ],
)
def test_the_families_of_a_cluster(api: Api, families: tuple[Family, ...]) -> None:
    assert cluster_families(cast(Cluster, api)) == families


def test_nodes_are_not_listed_where_service_cidrs_are_served() -> None:
    api = Api("10.96.0.1", [FOUR, SIX], PODS)
    cluster_families(cast(Cluster, api))
    assert api.listed == ["servicecidrs"]


def test_what_could_not_be_asked_is_not_taken_for_an_answer() -> None:
    with pytest.raises(Unavailable):
        cluster_families(cast(Cluster, Api("10.96.0.1", Unavailable(503, "ServiceUnavailable", "starting"), PODS)))

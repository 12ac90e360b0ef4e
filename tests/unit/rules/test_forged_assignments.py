"""Whatever a tenant writes under our own keys, admission leaves nothing of it on a Service that is ours to serve."""

from __future__ import annotations

from itertools import combinations, product

import pytest

from allocator.core.decision import decide
from allocator.core.ledger import Ledger
from allocator.objects import names
from allocator.objects.document import Document
from allocator.objects.pool import pool_from
from allocator.rules.service import review_service
from allocator.rules.verdict import Rules

FORGED = {
    names.FROM_POOL_ANNOTATION: "secret",
    names.ASSIGNED_IPS_ANNOTATION: "10.1.0.1",
    names.ORIGINAL_POOL_ANNOTATION: "secret",
}
POOLS = [
    pool_from({"metadata": {"name": "open"}, "spec": {"addresses": ["10.0.0.0/30"]}}),
    pool_from(
        {
            "metadata": {"name": "secret"},
            "spec": {"addresses": ["10.1.0.0/30"], "serviceAllocation": {"namespaces": ["other"]}},
        }
    ),
]
SETS = [dict(some) for count in range(len(FORGED) + 1) for some in combinations(FORGED.items(), count)]
ASKS: tuple[dict[str, str], ...] = (
    {},
    {"metallb.io/address-pool": "secret"},
    {"metallb.io/loadBalancerIPs": "192.0.2.1"},
)


def service(annotations: dict[str, str], kind: str = "LoadBalancer", *, going: bool = False, **spec: str) -> Document:
    metadata = {"name": "web", "namespace": "tenant", "uid": "1", "annotations": annotations}
    if going:
        metadata["deletionTimestamp"] = "2026-01-01T00:00:00Z"
    return {"metadata": metadata, "spec": {"type": kind, "ports": [{"port": 80}], **spec}}


@pytest.mark.parametrize("going", [False, True], ids=["stays", "on its way out"])
@pytest.mark.parametrize("asks", ASKS, ids=["anything", "closed pool", "no pool's address"])
def test_no_way_to_become_ours_carries_an_assignment_written_by_hand(asks: dict[str, str], *, going: bool) -> None:
    """Created so, or stored so while it was not ours: of another type or class, which admission leaves alone."""
    before: list[Document | None] = [None, service({})]
    before += [service(forged, "ClusterIP") for forged in SETS]
    before += [service(forged, loadBalancerClass="example.com/other") for forged in SETS]
    for old, forged in product(before, SETS):
        verdict = review_service(
            service(forged | asks, going=going),
            old,
            namespace=None,
            rules=Rules(),
            decide=lambda request: decide(request, pools=POOLS, ledger=Ledger()),
        )
        if verdict.allowed:
            assert verdict.annotations is not None
            left = {key: verdict.annotations[key] for key in FORGED}
            assert not set(left.values()) & set(FORGED.values()), (old, forged, left)

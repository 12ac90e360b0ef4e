"""Admission of a pool's change, with ten thousand addresses of it in use: the review alone, without API calls.

What it asks of the cluster is counted with it: each is a call that the webhook would make.
"""

from __future__ import annotations

import time
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from typing import Any

from allocator.core.addresses import Address, AddressRange, Family
from allocator.core.claims import Claim, ClaimState, Holder
from allocator.core.ledger import Ledger
from allocator.core.pool_selection import PoolSelection
from allocator.core.pools import Pool
from allocator.kube.resource import Resource
from allocator.objects.document import Document
from allocator.objects.pool import pool_from
from allocator.rules.cluster_context import ClusterContext, ServiceKey
from allocator.rules.pool import review_pool
from allocator.rules.verdict import Rules
from tests.bench.figures import Figure

SECTION = "change of a pool"

_CLAIMS = 10_000
_REPEATS = 7
_FIRST = AddressRange.parse("10.0.0.0/16").first
_POOL = {"addresses": ["10.0.0.0/16"], "serviceAllocation": {"namespaces": ["default"]}}
_CHANGES: tuple[tuple[str, dict[str, Any], float], ...] = (
    ("labels", {"labels": {"tier": "public"}}, 50.0),
    ("a range that nobody uses goes", {"addresses": ["10.0.0.0/17"]}, 300.0),
    ("half of what is used goes: refused", {"addresses": ["10.0.0.0-10.0.19.135"]}, 300.0),
    ("serviceAllocation: another namespace: refused", {"serviceAllocation": {"namespaces": ["other"]}}, 300.0),
)


class Counted(ClusterContext):
    """A cluster that has everything at hand and notes what it is asked for."""

    def __init__(self) -> None:
        self.ledger = Ledger()
        self.asked: list[str] = []
        self.stored = [pool_from(document({}))]
        self.advertisements: list[PoolSelection] = []
        for offset in range(_CLAIMS):
            holder = Holder(namespace="default", name=f"web-{offset}", uid=str(offset))
            self.ledger.put(
                Claim(
                    address=Address(Family.IPV4, _FIRST + offset),
                    pool="main",
                    state=ClaimState.BOUND,
                    holders=(holder,),
                )
            )

    def pools(self) -> Sequence[Pool]:
        self.asked.append("pools")
        return self.stored

    def namespaces(self) -> Mapping[str, Mapping[str, str]]:
        return {"default": {}}

    def namespace_labels(self, name: str) -> Mapping[str, str]:  # noqa: ARG002  every namespace is alike
        return {}

    def claims_within(self, owned: AddressRange) -> Iterable[Claim]:
        return self.ledger.within(owned)

    def claims_recorded_for(self, pool: str) -> Iterable[Claim]:
        return self.ledger.recorded_for(pool)

    def service_labels(self, services: Collection[ServiceKey]) -> Mapping[ServiceKey, Mapping[str, str]]:
        self.asked.append("labels of Services")
        return {key: {} for key in services}

    def selections(self) -> Sequence[PoolSelection]:
        self.asked.append("advertisements")
        return self.advertisements

    def foreign(self) -> Sequence[tuple[str, AddressRange]]:
        self.asked.append("nodes")
        return ()

    def objects(self, kind: Resource) -> Sequence[Document]:
        self.asked.append(kind.kind)
        return ()

    def expected(self, kind: Resource) -> Sequence[Document]:
        return self.objects(kind)

    def nodes(self) -> Mapping[str, Mapping[str, str]]:
        self.asked.append("nodes")
        return {}

    def lacks_secret(self, name: str) -> bool:  # noqa: ARG002  every Secret is there
        return False


def document(changed: Mapping[str, Any]) -> dict[str, Any]:
    """The pool, with some fields of its spec, or its labels, replaced."""
    spec = {key: value for key, value in changed.items() if key != "labels"}
    return {"metadata": {"name": "main", "labels": changed.get("labels", {})}, "spec": _POOL | spec}


def measure() -> Iterator[Figure]:
    """Yield what each kind of change costs, beside a look at every claim there is."""
    cluster = Counted()
    for what, changed, target in _CHANGES:
        seconds = min(_review(cluster, changed) for _ in range(_REPEATS))
        scan = min(_scan(cluster) for _ in range(_REPEATS))
        yield Figure(
            section=SECTION,
            what=f"{what}, {_CLAIMS:,} addresses in use",
            value=seconds * 1000,
            unit="ms",
            target=target,
            baseline="ms to ask the pool of every claim",
            baseline_value=scan * 1000,
        )


def _review(cluster: Counted, changed: Mapping[str, Any]) -> float:
    begun = time.thread_time()
    review_pool(document(changed), document({}), context=cluster, rules=Rules())
    return time.thread_time() - begun


def _scan(cluster: Counted) -> float:
    begun = time.thread_time()
    pool = cluster.stored[0]
    for claim in cluster.ledger:
        pool.contains(claim.address)
    return time.thread_time() - begun

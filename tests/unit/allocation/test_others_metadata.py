"""What others write into an IPAllocation's metadata outlives whatever becomes of the claim."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from allocator.allocation.proposal import Occasion
from allocator.core.claims import Claim
from allocator.objects.names import IP_ALLOCATIONS
from tests.unit.allocation.stored_claims import Replica, StoredClaims, pool
from tests.unit.core.builders import HTTPS, ask

ADDRESS = "10.0.0.0"
OTHERS: dict[str, Any] = {
    "labels": {"inventory": "rack-7"},
    "annotations": {"admitlb.io/move-to-node": "node-2"},
    "finalizers": ["example.com/inventory"],
    "ownerReferences": [{"apiVersion": "v1", "kind": "Node", "name": "node-2", "uid": "n"}],
}
WEB = ask("web", uid="w", sharing_key="k")


def claim_of(replica: Replica) -> Claim:
    [claim] = replica.cache.claims()
    return claim


def bind(replica: Replica) -> None:
    replica.claims.bind(ask("web", uid="w", sharing_key="k", ports=HTTPS))


def join(replica: Replica) -> None:
    asked = ask("api", sharing_key="k", ports=HTTPS)
    with replica.claims.propose(asked, Occasion.CREATION) as proposal:
        replica.claims.commit(proposal)


def release(replica: Replica) -> None:
    delay = timedelta(seconds=60)
    replica.claims.release(claim_of(replica), namespace="prod", name="web", reuse_delay=delay, why="test")


def release_and_take_again(replica: Replica) -> None:
    release(replica)
    replica.claims.bind(ask("other", uid="o", pins=[ADDRESS]))


def hand_over(replica: Replica) -> None:
    replica.claims.hand_over(claim_of(replica), ask("other", uid="o", status_addresses=[ADDRESS]))


def join_and_drop(replica: Replica) -> None:
    join(replica)
    claim = claim_of(replica)
    replica.claims.drop(claim, [one for one in claim.holders if one.uid is None], why="test")


def spoil_and_secure(replica: Replica) -> None:
    stored = replica._stored
    stored.replace(IP_ALLOCATIONS, {"metadata": stored.allocations[ADDRESS]["metadata"], "spec": {}})
    replica.see()
    replica.claims.secure(ask("web", uid="w", status_addresses=[ADDRESS]))


@pytest.mark.parametrize(
    "change", [bind, join, release, release_and_take_again, hand_over, join_and_drop, spoil_and_secure]
)
def test_it_is_written_back(change: Callable[[Replica], None]) -> None:
    stored = StoredClaims()
    replica = Replica(stored, pool("p", ADDRESS))
    replica.claims.bind(WEB)
    document = stored.allocations[ADDRESS]
    stored.replace(IP_ALLOCATIONS, {**document, "metadata": {**document["metadata"], **OTHERS}})
    replica.see()
    before = stored.allocations[ADDRESS]["metadata"]["resourceVersion"]
    change(replica)
    after = stored.allocations[ADDRESS]
    assert after["metadata"]["resourceVersion"] != before, "it was written"
    assert {key: after["metadata"].get(key) for key in OTHERS} == OTHERS

"""An IPAllocation that says nothing readable is a lock all the same: it costs its own address and nothing else."""

from __future__ import annotations

import copy
from typing import Any, cast

import pytest

from allocator.allocation.allocator import Allocator
from allocator.allocation.cache import ClaimCache
from allocator.allocation.proposal import Occasion
from allocator.core.addresses import Address
from allocator.core.requests import ServiceRequest
from allocator.core.verdicts import Decision
from allocator.kube.client import Cluster, Object
from allocator.kube.reflector import Change
from allocator.objects import names
from tests.unit.allocation.stored_claims import Replica, StoredClaims, pool
from tests.unit.core.builders import ask

ADDRESS, NEXT = "10.0.0.0", "10.0.0.1"
POOL = pool("p", "10.0.0.0-10.0.0.9")
READABLE = {"address": ADDRESS, "pool": "p", "state": "Bound", "holders": [{"namespace": "prod", "name": "web"}]}

UNREADABLE: dict[str, Any] = {
    "no spec": None,
    "empty spec": {},
    "spec of another kind": [],
    "no state": {key: value for key, value in READABLE.items() if key != "state"},
    "a later release's state": {**READABLE, "state": "Conflicted"},
    "no pool": {key: value for key, value in READABLE.items() if key != "pool"},
    "no holders": {**READABLE, "holders": []},
    "holders of another kind": {**READABLE, "holders": "web"},
    "holder without namespace": {**READABLE, "holders": [{"name": "web"}]},
    "port without number": {**READABLE, "holders": [{"namespace": "prod", "name": "web", "ports": [{}]}]},
}


@pytest.fixture(params=UNREADABLE)
def stored(request: pytest.FixtureRequest) -> StoredClaims:
    """An API server whose first address has an IPAllocation of this kind."""
    stored = StoredClaims()
    document: Object = {"metadata": {"name": ADDRESS}}
    if UNREADABLE[request.param] is not None:
        document["spec"] = copy.deepcopy(UNREADABLE[request.param])
    stored._store(ADDRESS, None, document)
    return stored


def reserve(claims: Allocator, request: ServiceRequest) -> Decision:
    with claims.propose(request, Occasion.CREATION) as proposal:
        claims.commit(proposal)
        return proposal.decision


def holder_of(stored: StoredClaims, address: str) -> list[str]:
    return [holder["name"] for holder in stored.allocations[address]["spec"]["holders"]]


def test_a_new_service_is_given_the_next_address_at_the_first_try(stored: StoredClaims) -> None:
    replica = Replica(stored, POOL)
    replica.see()
    (place,) = reserve(replica.claims, ask("new")).placements
    assert str(place.address) == NEXT
    assert stored.writes() == ["create ipallocations"]


def test_a_cache_that_has_not_seen_it_loses_one_race(stored: StoredClaims) -> None:
    replica = Replica(stored, POOL)
    assert [str(place.address) for place in replica.claims.bind(ask("new", uid="1")).placements] != [ADDRESS]
    assert replica.cache.claim_at(Address.parse(ADDRESS)) is not None


def test_whoever_asks_for_the_address_is_told_what_is_there(stored: StoredClaims) -> None:
    replica = Replica(stored, POOL)
    replica.see()
    decision = replica.cache.decide(ask("new", pins=(ADDRESS,)))
    assert not decision.placements
    assert decision.refusal is not None
    assert "locked by an IPAllocation that names no Service" in decision.refusal.message
    assert f"kubectl delete ipallocation {ADDRESS}" in decision.refusal.message


def test_the_service_that_shows_the_address_is_written_into_it(stored: StoredClaims) -> None:
    replica = Replica(stored, POOL)
    replica.see()
    shows = ask("web", uid="1", status_addresses=(ADDRESS,))
    replica.claims.secure(shows)
    assert holder_of(stored, ADDRESS) == ["web"]
    assert stored.allocations[ADDRESS]["spec"]["pool"] == "p"
    (place,) = replica.claims.bind(shows).placements
    assert str(place.address) == ADDRESS


def test_of_no_pool_and_none_recorded_it_is_left_alone_and_counted_nowhere() -> None:
    stored = StoredClaims()
    stored._store(ADDRESS, None, {"metadata": {"name": ADDRESS}})
    replica = Replica(stored, pool("q", "10.9.0.0/24"))
    replica.see()
    replica.claims.secure(ask("web", uid="1", status_addresses=(ADDRESS,)))
    assert stored.writes() == []
    assert set(replica.cache.usage()) == {"q"}


def test_whoever_follows_claims_reads_only_what_names_a_holder() -> None:
    told: list[Change] = []
    stored = StoredClaims()
    cache = ClaimCache(cast(Cluster, stored), namespace="metallb-system", on_change=told.append)
    versions: list[Object] = [{"metadata": {"name": ADDRESS, "resourceVersion": "1"}, "spec": READABLE}]
    versions += [{"metadata": {"name": ADDRESS, "resourceVersion": "2"}, "spec": {**READABLE, "holders": []}}]
    versions += [{**versions[0], "metadata": {"name": ADDRESS, "resourceVersion": "3"}}]
    for old, new in [(None, versions[0]), (versions[0], versions[1]), (versions[1], versions[2])]:
        version = new["metadata"]["resourceVersion"]
        cache._take_claim(Change(names.IP_ALLOCATIONS, ("", ADDRESS), old, new, version))
    assert [(change.old is not None, change.new is not None) for change in told] == [
        (False, True),
        (True, False),
        (False, True),
    ]
    assert cache.held_by("prod", "web")

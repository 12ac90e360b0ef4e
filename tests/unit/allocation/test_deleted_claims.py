"""A claim deleted by hand while its Service shows the address: nobody else is given it meanwhile."""

from __future__ import annotations

from datetime import timedelta

import pytest

from allocator.allocation.allocator import Allocator
from allocator.allocation.claim_writer import LostRace
from allocator.allocation.proposal import Occasion
from allocator.core.addresses import Address
from allocator.core.requests import ServiceRequest
from allocator.objects.names import IP_ALLOCATIONS
from tests.unit.allocation.stored_claims import Replica, StoredClaims, pool
from tests.unit.core.builders import HTTP, HTTPS, ask, given

ADDRESS, NEXT = "10.0.0.0", "10.0.0.1"
POOL = pool("p", "10.0.0.0-10.0.0.9")
WEB = ask("web", uid="1", status_addresses=(ADDRESS,))


class Cluster:
    """A Service that shows its address, one reconciler, one webhook; somebody deletes the claim."""

    def __init__(self, *holders: ServiceRequest) -> None:
        self.now = 0.0
        self.stored = StoredClaims()
        self.webhook, self.reconciler = Replica(self.stored, POOL), Replica(self.stored, POOL)
        for replica in (self.webhook, self.reconciler):
            replica.cache._clock = lambda: self.now
        for holder in holders or (WEB,):
            self.reconciler.claims.secure(holder)
        self.see()

    def see(self) -> None:
        self.webhook.see()
        self.reconciler.see()

    def delete(self) -> None:
        version = self.stored.allocations[ADDRESS]["metadata"]["resourceVersion"]
        self.stored.delete(IP_ALLOCATIONS, ADDRESS, resource_version=version)
        self.see()

    def spoil(self) -> None:
        metadata = self.stored.allocations[ADDRESS]["metadata"]
        self.stored.replace(IP_ALLOCATIONS, {"metadata": metadata, "spec": {}})
        self.see()

    def holders(self) -> list[str]:
        return [one["name"] for one in self.stored.allocations[ADDRESS]["spec"]["holders"]]


def reserve(claims: Allocator, request: ServiceRequest, occasion: Occasion = Occasion.CREATION) -> list[str]:
    with claims.propose(request, occasion) as proposal:
        claims.commit(proposal)
        return given(proposal.decision)


def test_a_new_service_is_given_another_address() -> None:
    cluster = Cluster()
    cluster.delete()
    assert reserve(cluster.webhook.claims, ask("new")) == [NEXT]


def test_a_service_that_waits_is_given_another_address_by_the_reconciler() -> None:
    cluster = Cluster()
    cluster.delete()
    assert given(cluster.reconciler.claims.bind(ask("waiting", uid="2"))) == [NEXT]


def test_whoever_asks_for_the_address_waits_for_its_holder() -> None:
    cluster = Cluster()
    cluster.delete()
    decision = cluster.webhook.cache.decide(ask("new", pins=(ADDRESS,)))
    assert decision.refusal is not None
    assert "held by prod/web" in decision.refusal.message


@pytest.mark.parametrize("others", [(), (ask("api", uid="2", sharing_key="k", ports=HTTPS),)])
def test_the_reconciler_claims_it_again_without_a_gap(others: tuple[ServiceRequest, ...]) -> None:
    web = ask("web", uid="1", status_addresses=(ADDRESS,), sharing_key="k", ports=HTTP)
    cluster = Cluster(
        web, *(ask("api", uid="2", sharing_key="k", ports=HTTPS, status_addresses=(ADDRESS,)) for _ in others)
    )
    cluster.delete()
    cluster.reconciler.claims.secure(web)
    assert cluster.holders() == ["web", *(one.name for one in others)]
    assert cluster.stored.writes()[-1] == "create ipallocations"
    cluster.see()
    known = cluster.webhook.cache.claim_at(Address.parse(ADDRESS))
    assert known is not None
    assert known.version


def test_an_update_of_its_service_claims_it_again() -> None:
    cluster = Cluster()
    cluster.delete()
    assert reserve(cluster.webhook.claims, WEB, Occasion.CHANGE) == [ADDRESS]
    assert cluster.holders() == ["web"]


def test_one_that_could_not_be_read_is_nobody_elses_either_and_its_services_again() -> None:
    cluster = Cluster()
    cluster.spoil()
    cluster.delete()
    assert reserve(cluster.webhook.claims, ask("new")) == [NEXT]
    assert given(cluster.reconciler.claims.bind(ask("waiting", uid="2"))) != [ADDRESS]
    cluster.reconciler.claims.secure(WEB)
    assert cluster.holders() == ["web"]


def test_it_is_forgotten_in_time() -> None:
    cluster = Cluster()
    cluster.delete()
    cluster.now = 61.0
    assert reserve(cluster.webhook.claims, ask("new")) == [ADDRESS]


def test_what_is_claimed_again_is_not_forgotten() -> None:
    cluster = Cluster()
    cluster.delete()
    cluster.reconciler.claims.secure(WEB)
    cluster.see()
    cluster.now = 61.0
    assert reserve(cluster.webhook.claims, ask("new")) == [NEXT]


def test_of_a_service_that_has_gone_too_it_is_free_at_once() -> None:
    cluster = Cluster()
    cluster.delete()
    (claim,) = cluster.reconciler.cache.held_by("prod", "web")
    cluster.reconciler.claims.release(
        claim, namespace="prod", name="web", reuse_delay=timedelta(seconds=60), why="the Service was deleted"
    )
    assert given(cluster.reconciler.claims.bind(ask("waiting", uid="2"))) == [ADDRESS]


def test_a_release_without_reuse_delay_is_no_deletion_by_somebody_else() -> None:
    cluster = Cluster()
    (claim,) = cluster.reconciler.cache.held_by("prod", "web")
    cluster.reconciler.claims.release(
        claim, namespace="prod", name="web", reuse_delay=timedelta(), why="the Service was deleted"
    )
    cluster.see()
    assert ADDRESS not in cluster.stored.allocations
    assert reserve(cluster.webhook.claims, ask("new")) == [ADDRESS]


def test_a_reservation_that_goes_is_free_at_once() -> None:
    cluster = Cluster()
    assert reserve(cluster.webhook.claims, ask("new")) == [NEXT]
    cluster.see()
    (claim,) = cluster.reconciler.cache.held_by("prod", "new")
    cluster.reconciler.claims.drop(claim, claim.holders, why="no Service came")
    cluster.see()
    assert reserve(cluster.webhook.claims, ask("newer")) == [NEXT]


def test_two_in_one_process_that_share_an_address_being_created_lose_a_race_and_no_more() -> None:
    cluster = Cluster()
    claims = cluster.webhook.claims
    first = ask("first", sharing_key="k", ports=HTTP, pins=(NEXT,))
    second = ask("second", sharing_key="k", ports=HTTPS, pins=(NEXT,))
    with claims.propose(first, Occasion.CREATION) as early, claims.propose(second, Occasion.CREATION) as late:
        assert given(late.decision) == [NEXT]
        claims.commit(early)
        with pytest.raises(LostRace):
            claims.commit(late)
    assert reserve(claims, second) == [NEXT]
    assert [one["name"] for one in cluster.stored.allocations[NEXT]["spec"]["holders"]] == ["first", "second"]

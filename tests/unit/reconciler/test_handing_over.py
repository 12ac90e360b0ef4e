"""When nobody holds an address any more and another Service shows it, that one has it: in one write, never free."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from allocator.allocation.proposal import Occasion
from allocator.core.addresses import Address
from allocator.core.claims import Claim
from allocator.kube import resource
from allocator.kube.client import Object
from allocator.kube.reflector import Change
from allocator.reconciler.shown_addresses import ShownAddresses
from tests.unit.allocation.stored_claims import Replica, StoredClaims, pool
from tests.unit.core.builders import ask
from tests.unit.reconciler.collecting import collecting

ADDRESS = "10.0.0.0"
HOLDER = ("prod", "holder")


class Cluster:
    """Mirrored Services, and a claim on the address that they show."""

    def __init__(self) -> None:
        self.now = datetime(2026, 1, 1, tzinfo=UTC)
        self.stored = StoredClaims()
        self.replica = Replica(self.stored, pool("p", "10.0.0.0-10.0.0.9"), now=lambda: self.now)
        self.services: dict[tuple[str, str], Object] = {}
        self.shown = ShownAddresses()
        self.securing, self.collection = collecting(self.replica, self.services, self.shown, now=lambda: self.now)

    def shows(self, name: str, *, created: str = "2020-01-01T00:00:00Z", **spec: object) -> None:
        key = ("prod", name)
        metadata = {"namespace": "prod", "name": name, "uid": name, "creationTimestamp": created}
        service: Object = {
            "metadata": metadata,
            "spec": {"type": "LoadBalancer", "ports": [{"port": 80}], **spec},
            "status": {"loadBalancer": {"ingress": [{"ip": ADDRESS}]}},
        }
        self.services[key] = service
        self.shown.note(Change(resource.SERVICES, key, None, service, "1"))

    def claim(self) -> Claim:
        claim = self.replica.cache.claim_at(Address.parse(ADDRESS))
        assert claim is not None
        return claim

    def holders(self) -> list[tuple[str, str]]:
        spec = self.stored.allocations[ADDRESS]["spec"]
        return [(one["name"], spec["state"]) for one in spec["holders"]]


@pytest.fixture
def cluster() -> Cluster:
    cluster = Cluster()
    cluster.replica.claims.secure(ask("holder", uid="holder", status_addresses=(ADDRESS,)))
    return cluster


def test_the_oldest_that_shows_a_released_address_has_it_in_one_write(cluster: Cluster) -> None:
    cluster.shows("young", created="2021-01-01T00:00:00Z")
    cluster.shows("old")
    cluster.stored.calls.clear()
    cluster.collection.release(cluster.claim(), HOLDER, why="the Service was deleted")
    assert cluster.holders() == [("old", "Bound")]
    assert cluster.stored.writes() == ["replace ipallocations"]


def test_one_of_another_class_has_it_too(cluster: Cluster) -> None:
    cluster.shows("other", loadBalancerClass="example.com/other")
    cluster.collection.release(cluster.claim(), HOLDER, why="the Service was deleted")
    assert cluster.holders() == [("other", "Bound")]


def test_the_one_that_lets_go_does_not_get_it_back(cluster: Cluster) -> None:
    cluster.shows("holder")
    cluster.collection.release(cluster.claim(), HOLDER, why="no longer asked for")
    assert cluster.holders() == [("holder", "Cooling")]


def test_what_is_no_load_balancer_any_more_shows_nothing(cluster: Cluster) -> None:
    cluster.shows("was", type="ClusterIP")
    cluster.collection.release(cluster.claim(), HOLDER, why="the Service was deleted")
    assert cluster.holders() == [("holder", "Cooling")]


def test_a_cooling_address_that_is_shown_is_not_deleted(cluster: Cluster) -> None:
    cluster.collection.release(cluster.claim(), HOLDER, why="the Service was deleted")
    cluster.replica.see()
    cluster.replica.cache.claim_document = cluster.stored.allocations.get  # type: ignore[assignment,method-assign]
    cluster.collection.note(cluster.stored.events[-1])
    cluster.shows("late")
    cluster.now += timedelta(hours=1)
    cluster.collection.sweep(lambda _: None)
    assert cluster.holders() == [("late", "Bound")]


def test_a_reservation_whose_service_never_came_leaves_the_address_to_who_shows_it() -> None:
    cluster = Cluster()
    cluster.shows("shows")
    with cluster.replica.claims.propose(ask("never"), Occasion.CREATION) as proposal:
        cluster.replica.claims.commit(proposal)
    cluster.now += timedelta(hours=1)
    cluster.collection.drop_reservation(cluster.claim(), ("prod", "never"))
    assert cluster.holders() == [("shows", "Bound")]

"""What the reconciler does where one of its mirrors is behind another: a Service arrives by one watch, its claim by
the next."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from allocator.allocation.allocator import Allocator
from allocator.allocation.cache import ClaimCache
from allocator.kube.client import Object
from allocator.kube.events import EventRecorder
from allocator.kube.resource import SERVICES
from allocator.objects.names import ASSIGNED_IPS_ANNOTATION, DEFAULT_NAMESPACE, IP_ADDRESS_POOLS, IP_ALLOCATIONS
from allocator.objects.service import request_from
from allocator.reconciler.collection import Collection
from allocator.reconciler.repair import Repair
from allocator.reconciler.securing import Securing
from allocator.reconciler.service_outcome import ServiceOutcome
from allocator.reconciler.shown_addresses import ShownAddresses
from tests.cluster.installation import ingress, pool, service
from tests.cluster.reconciling import Reconciling
from tests.cluster.reserving import reserve
from tests.lab.waiting import wait_until

SHARING = {"metallb.io/allow-shared-ip": "key"}


@pytest.fixture(scope="module")
def installed(reconciling: Reconciling) -> Reconciling:
    """Our kinds and a pool, where no reconciler runs."""
    reconciling.cluster.create(IP_ADDRESS_POOLS, pool("small", "192.0.2.10-192.0.2.19"), DEFAULT_NAMESPACE)
    return reconciling


def repair_with(installed: Reconciling, cache: ClaimCache, *, mirrored: Object | None = None) -> Repair:
    """A reconciler's repair; `mirrored` is what it still sees of every Service, where that is not what is stored."""
    cluster = installed.cluster
    claims = Allocator(cluster, cache)

    def find(namespace: str, name: str) -> Object:
        return mirrored or cluster.get(SERVICES, name, namespace)

    return Repair(
        cluster,
        cache,
        claims,
        ServiceOutcome(cluster, EventRecorder(cluster, component="metallb-controller")),
        Collection(cache, claims, require_leadership=lambda: None),
        Securing(cache, claims, ShownAddresses(), find_service=find, require_leadership=lambda: None),
        find_service=find,
        require_leadership=lambda: None,
    )


@pytest.fixture
def claim_cache(installed: Reconciling) -> Iterator[ClaimCache]:
    """A reconciler's cache, until a test stops it."""
    cache = ClaimCache(installed.cluster, namespace=DEFAULT_NAMESPACE)
    cache.start()
    assert cache.wait_synced(10)
    yield cache
    cache.stop()


def test_a_service_that_changed_its_type_meanwhile_is_shown_no_address(
    installed: Reconciling, claim_cache: ClaimCache
) -> None:
    cluster = installed.cluster
    before = cluster.create(SERVICES, service("turned"), "default")
    ports = [{"port": 80, "protocol": "TCP", "nodePort": None}]
    cluster.patch(SERVICES, "turned", {"spec": {"type": "ClusterIP", "ports": ports}}, "default")

    # As a leader does that was paused between reading the Service and writing its status.
    repair_with(installed, claim_cache, mirrored=before).service(("default", "turned"))

    assert ingress(cluster.get(SERVICES, "turned", "default")) == []


def test_a_reservation_is_not_bound_to_the_predecessor_that_has_gone(
    installed: Reconciling, claim_cache: ClaimCache
) -> None:
    cluster = installed.cluster
    request = service("again")
    request["metadata"]["namespace"] = "default"
    predecessor = cluster.create(SERVICES, request, "default")
    cluster.delete(SERVICES, "again", "default")
    admitted = request_from(request, namespace=None, cluster_families=claim_cache.families)
    (place,) = reserve(Allocator(cluster, claim_cache), admitted).placements

    repair = repair_with(installed, claim_cache, mirrored=predecessor)
    repair.service(("default", "again"))

    (holder,) = cluster.get(IP_ALLOCATIONS, place.address.claim_name)["spec"]["holders"]
    assert "uid" not in holder
    successor = cluster.create(SERVICES, request, "default")
    repair_with(installed, claim_cache).service(("default", "again"))
    (holder,) = cluster.get(IP_ALLOCATIONS, place.address.claim_name)["spec"]["holders"]
    assert holder["uid"] == successor["metadata"]["uid"]
    assert ingress(cluster.get(SERVICES, "again", "default")) == [str(place.address)]


def test_a_service_keeps_the_address_it_joined_while_the_mirror_has_only_the_first_sharer(
    installed: Reconciling, claim_cache: ClaimCache
) -> None:
    cluster = installed.cluster
    pinned = {**SHARING, "metallb.io/loadBalancerIPs": "192.0.2.12"}
    cluster.create(SERVICES, service("first", pinned), "default")
    repair_with(installed, claim_cache).service(("default", "first"))
    wait_until(lambda: claim_cache.held_by("default", "first"), 10, "the cache knows the first sharer")
    claim_cache.stop()

    # What the webhook writes as it admits the second one, from a cache that sees nothing free below.
    ports = [{"port": 81, "protocol": "TCP"}]
    claim = cluster.get(IP_ALLOCATIONS, "192.0.2.12")
    joined = {**claim["spec"]["holders"][0], "name": "second", "ports": ports}
    del joined["uid"]
    claim["spec"]["holders"].append(joined)
    cluster.replace(IP_ALLOCATIONS, claim)
    promised = {**SHARING, ASSIGNED_IPS_ANNOTATION: "192.0.2.12"}
    cluster.create(SERVICES, service("second", promised, ports=ports), "default")

    repair_with(installed, claim_cache).service(("default", "second"))
    assert ingress(cluster.get(SERVICES, "second", "default")) == ["192.0.2.12"]


def test_a_new_leader_that_sees_a_service_as_it_was_releases_nothing_that_it_shows(
    installed: Reconciling, claim_cache: ClaimCache
) -> None:
    """The last leader has moved it, or has served it since it turned to LoadBalancer."""
    cluster = installed.cluster
    cluster.create(SERVICES, service("moved", {"metallb.io/loadBalancerIPs": "192.0.2.15"}), "default")
    repair_with(installed, claim_cache).service(("default", "moved"))
    before = cluster.get(SERVICES, "moved", "default")
    pin: Object = {"metadata": {"annotations": {"metallb.io/loadBalancerIPs": "192.0.2.16"}}}
    cluster.patch(SERVICES, "moved", pin, "default")
    repair_with(installed, claim_cache).service(("default", "moved"))
    assert ingress(cluster.get(SERVICES, "moved", "default")) == ["192.0.2.16"]

    repair_with(installed, claim_cache, mirrored=before).service(("default", "moved"))
    assert cluster.get(IP_ALLOCATIONS, "192.0.2.16")["spec"]["state"] == "Bound"

    turned = cluster.create(SERVICES, service("serves", type="ClusterIP"), "default")
    pin["spec"] = {"type": "LoadBalancer"}
    pin["metadata"]["annotations"]["metallb.io/loadBalancerIPs"] = "192.0.2.17"
    cluster.patch(SERVICES, "serves", pin, "default")
    repair_with(installed, claim_cache).service(("default", "serves"))
    assert ingress(cluster.get(SERVICES, "serves", "default")) == ["192.0.2.17"]

    repair_with(installed, claim_cache, mirrored=turned).service(("default", "serves"))
    assert cluster.get(IP_ALLOCATIONS, "192.0.2.17")["spec"]["state"] == "Bound"


def test_a_new_leader_that_sees_a_claim_as_it_was_takes_no_shown_address_for_anothers(
    installed: Reconciling, claim_cache: ClaimCache
) -> None:
    """Under the last leader it has changed hands; the Service has no annotation of ours, as one MetalLB served."""
    cluster = installed.cluster
    cluster.create(SERVICES, service("had", {"metallb.io/loadBalancerIPs": "192.0.2.18"}), "default")
    repair_with(installed, claim_cache).service(("default", "had"))
    wait_until(lambda: claim_cache.held_by("default", "had"), 10, "the cache knows who had it")
    claim_cache.stop()

    created = cluster.create(SERVICES, service("has"), "default")
    shown = {"status": {"loadBalancer": {"ingress": [{"ip": "192.0.2.18"}]}}}
    cluster.patch(SERVICES, "has", shown, "default", subresource="status")
    cluster.delete(SERVICES, "had", "default")
    claim = cluster.get(IP_ALLOCATIONS, "192.0.2.18")
    claim["spec"]["holders"][0] |= {"name": "has", "uid": created["metadata"]["uid"]}
    cluster.replace(IP_ALLOCATIONS, claim)

    repair_with(installed, claim_cache).service(("default", "has"))
    assert ingress(cluster.get(SERVICES, "has", "default")) == ["192.0.2.18"]
    assert cluster.get(IP_ALLOCATIONS, "192.0.2.18")["spec"]["holders"][0]["name"] == "has"

"""Whom a change of a claim, a pool or a namespace has looked at again, and that all others are left alone."""

from __future__ import annotations

from typing import Any, cast

import pytest

from allocator.allocation.cache import ClaimCache
from allocator.kube.client import Cluster
from allocator.kube.reflector import Change
from allocator.kube.resource import NAMESPACES, SERVICES
from allocator.kube.workqueue import WorkQueue
from allocator.objects.names import IP_ADDRESS_POOLS, IP_ALLOCATIONS
from allocator.reconciler.affected_services import AffectedServices
from allocator.reconciler.shown_addresses import ShownAddresses
from allocator.reconciler.waiting import ANY_PIN, ANY_POOL
from allocator.rules.configuration import read

Object = dict[str, Any]
Key = tuple[str, str]

WAITING = 500


def claim(version: int, *, uid: str | None = "1", state: str = "Bound") -> Object:
    holder = {"namespace": "prod", "name": "web", "since": "2026-01-01T00:00:00Z", **({"uid": uid} if uid else {})}
    spec = {"address": "192.0.2.7", "pool": "lan", "state": state, "holders": [holder]}
    return {"metadata": {"name": "192.0.2.7", "resourceVersion": str(version)}, "spec": spec}


def pool(name: str, addresses: str, version: int = 1, **spec: Any) -> Object:
    metadata = {"name": name, "namespace": "metallb-system", "resourceVersion": str(version)}
    return {"metadata": metadata, "spec": {"addresses": [addresses], **spec}}


class Site:
    """The part of a reconciler that takes changes in, with Services that wait for the pool `lan`."""

    def __init__(self) -> None:
        self.queue: WorkQueue[Key] = WorkQueue()
        # Never started, so nothing is asked of the API server.
        self.cache = ClaimCache(cast(Cluster, None), namespace="metallb-system", on_change=self._changed)
        self.shown = ShownAddresses()
        self.affected = AffectedServices(self.cache, self.queue, self.shown)
        self.change_pool(None, pool("lan", "192.0.2.0/28"))
        for number in range(WAITING):
            service = {"metadata": {"creationTimestamp": f"2026-01-01T00:00:00.{number:04}Z"}}
            interests = frozenset({("pool", "lan"), ANY_POOL})
            self.affected.note(("waiting", f"service-{number:04}"), interests, service=service)
        self.looked_at()

    def _changed(self, change: Change) -> None:
        self.affected.changed(change)

    def looked_at(self) -> list[Key]:
        """Whom the changes so far have had looked at."""
        found = []
        while len(self.queue):
            key = self.queue.take()
            assert key is not None
            self.queue.done(key)
            found.append(key)
        return found

    def change_claim(self, old: Object | None, new: Object | None) -> list[Key]:
        self.cache._take_claim(Change(IP_ALLOCATIONS, ("", "192.0.2.7"), old, new, "9"))
        return self.looked_at()

    def change_pool(self, old: Object | None, new: Object | None) -> list[Key]:
        name = (new or old or {})["metadata"]["name"]
        self.cache._take_pool(Change(IP_ADDRESS_POOLS, ("metallb-system", name), old, new, "9"))
        return self.looked_at()


@pytest.fixture
def site() -> Site:
    return Site()


def test_a_pool_in_deletion_is_gone_and_its_holders_are_looked_at(site: Site) -> None:
    site.change_claim(None, claim(1))
    going = pool("lan", "192.0.2.0/28", version=2)
    going["metadata"] |= {"deletionTimestamp": "2026-01-01T00:00:00Z", "finalizers": ["example.com/hold"]}
    assert ("prod", "web") in site.change_pool(pool("lan", "192.0.2.0/28"), going)
    assert site.cache.pools() == []
    assert read([going]).pools == {}


def test_who_waits_for_a_pool_is_looked_at_when_the_one_it_takes_from_is_narrowed(site: Site) -> None:
    site.change_pool(None, pool("new", "192.0.2.8/29", addressesFrom=["lan"]))
    site.affected.note(
        ("shop", "late"), frozenset({("pool", "new")}), service={"metadata": {"creationTimestamp": ""}}
    )
    site.looked_at()
    before, after = pool("lan", "192.0.2.0/28"), pool("lan", "192.0.2.0/29", version=2)
    assert ("shop", "late") in site.change_pool(before, after)
    assert [str(owned) for one in site.cache.pools() if one.name == "new" for owned in one.ranges] == ["192.0.2.8/29"]


def test_a_new_service_has_nobody_else_looked_at(site: Site) -> None:
    reserved, bound = claim(5, uid=None, state="Tentative"), claim(6)
    assert site.change_claim(None, reserved) == [("prod", "web")]
    assert site.change_claim(reserved, bound) == [("prod", "web")]


def test_a_claim_whose_announcing_node_changes_has_nobody_looked_at(site: Site) -> None:
    announced = {**claim(7), "status": {"announcedBy": {"node": "one"}}}
    site.change_claim(None, claim(6))
    assert site.change_claim(claim(6), announced) == []


def test_an_address_that_is_released_has_the_oldest_looked_at(site: Site) -> None:
    site.change_claim(None, claim(5))
    assert site.change_claim(claim(5), claim(6, state="Cooling")) == [("prod", "web"), ("waiting", "service-0000")]


def test_a_holder_that_somebody_takes_off_a_claim_is_looked_at(site: Site) -> None:
    shared = claim(5)
    shared["spec"]["holders"].append({"namespace": "prod", "name": "api", "uid": "2"})
    site.change_claim(None, shared)
    assert ("prod", "api") in site.change_claim(shared, claim(6))


def test_a_reservation_without_a_name_has_nobody_looked_at(site: Site) -> None:
    unnamed = claim(5, uid=None, state="Tentative")
    unnamed["spec"]["holders"] = [{"namespace": "prod", "generateName": "web-", "since": "2026-01-01T00:00:00Z"}]
    assert site.change_claim(None, unnamed) == []


def test_a_pool_that_changes_has_those_looked_at_that_it_may_help(site: Site) -> None:
    site.affected.note(
        ("other", "named"), frozenset({("pool", "later")}), service={"metadata": {"creationTimestamp": ""}}
    )
    site.affected.note(("other", "pinned"), frozenset({ANY_PIN}), service={"metadata": {"creationTimestamp": ""}})
    looked_at = site.change_pool(pool("lan", "192.0.2.0/28"), pool("lan", "192.0.2.0/27", 2))
    assert len(looked_at) == WAITING + 1
    assert ("other", "pinned") in looked_at
    assert ("other", "named") not in looked_at


def test_a_pool_whose_status_or_labels_change_has_nobody_looked_at(site: Site) -> None:
    before = pool("lan", "192.0.2.0/28")
    assert site.change_pool(before, {**pool("lan", "192.0.2.0/28", 2), "status": {"assignedIPv4": 3}}) == []


def test_a_namespace_that_changes_has_its_own_services_looked_at(site: Site) -> None:
    site.change_claim(None, claim(5))

    def namespace(labels: dict[str, str]) -> Object:
        return {"metadata": {"name": "prod", "labels": labels, "resourceVersion": "1"}}

    change = Change(NAMESPACES, ("", "prod"), namespace({}), namespace({"tier": "front"}), "9")
    site.affected.changed(change)
    assert site.looked_at() == [("prod", "web")]


class TestWhatServicesShow:
    """Written by another load balancer before the pool that contains it came."""

    def show(self, site: Site, name: str, address: str) -> None:
        metadata = {"namespace": "prod", "name": name, "creationTimestamp": "2026-02-02T00:00:00Z"}
        document = {"metadata": metadata, "status": {"loadBalancer": {"ingress": [{"ip": address}]}}}
        site.shown.note(Change(SERVICES, ("prod", name), None, document, "9"))

    def test_it_is_secured_before_those_that_wait_are_tried(self, site: Site) -> None:
        self.show(site, "elsewhere", "198.51.100.4")
        self.show(site, "of-another-class", "203.0.113.4")
        looked_at = site.change_pool(None, pool("new", "203.0.113.0/29"))
        assert looked_at[0] == ("prod", "of-another-class")
        assert len(looked_at) == WAITING + 1

    def test_it_is_secured_when_a_pool_is_widened(self, site: Site) -> None:
        self.show(site, "of-another-class", "192.0.2.20")
        looked_at = site.change_pool(pool("lan", "192.0.2.0/28"), pool("lan", "192.0.2.0/27", 2))
        assert looked_at[0] == ("prod", "of-another-class")

    def test_whoever_shows_what_is_held_is_not_looked_at_before_the_others(self, site: Site) -> None:
        site.change_claim(None, claim(1))
        self.show(site, "web", "192.0.2.7")
        looked_at = site.change_pool(pool("lan", "192.0.2.0/28"), pool("lan", "192.0.2.0/27", 2))
        assert looked_at[-1] == ("prod", "web")
        assert len(looked_at) == WAITING + 1

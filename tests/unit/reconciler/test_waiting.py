"""Who is tried again when something changes: whom it can help, the oldest first, and no others."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml
from hypothesis import given
from hypothesis import strategies as st

from allocator.core.addresses import Address
from allocator.core.pools import Applicant, ServiceAllocation
from allocator.core.requests import ServiceRequest
from allocator.kube.reflector import Change
from allocator.objects.names import IP_ALLOCATIONS
from allocator.reconciler.waiting import ANY_POOL, Interest, Waiting, freed_by, interests_of
from tests.unit.core.builders import pool

Key = tuple[str, str]

OPEN = pool("open", "192.0.2.0/24")
CLOSED = pool("closed", "198.51.100.0/24", allocation=ServiceAllocation(namespaces=frozenset({"others"})))
POOLS = [OPEN, CLOSED]


def request(**fields: Any) -> ServiceRequest:
    quota = fields.pop("quota", None)
    return ServiceRequest(applicant=Applicant("prod", {}, {}, quota), name="web", **fields)


def claim(state: str = "Bound", holders: tuple[str, ...] = ("web",), key: str = "", uid: str = "1") -> dict[str, Any]:
    listed = [
        {"namespace": "prod", "name": name, "uid": uid, "ports": [{"protocol": "TCP", "port": 80}]}
        for name in holders
    ]
    spec = {"address": "192.0.2.7", "pool": "open", "state": state, "holders": listed, "sharingKey": key}
    return {"metadata": {"name": "192.0.2.7", "resourceVersion": "5"}, "spec": spec}


def freed(old: dict[str, Any] | None, new: dict[str, Any] | None) -> frozenset[Interest]:
    return freed_by(Change(IP_ALLOCATIONS, ("", "192.0.2.7"), old, new, "6"), POOLS)


def test_a_service_waits_for_the_pools_that_are_open_to_it() -> None:
    assert interests_of(request(), POOLS) == {("pool", "open"), ANY_POOL}


def test_a_service_that_names_its_pool_waits_for_that_one_whether_it_exists_or_not() -> None:
    assert interests_of(request(pool_name="later"), POOLS) == {("pool", "later")}


def test_a_service_with_pins_waits_for_these_addresses() -> None:
    found = interests_of(request(pins=(Address.parse("192.0.2.7"),)), POOLS)
    assert ("address", "192.0.2.7") in found
    assert ("pool", "open") not in found


def test_quota_and_sharing_key_are_waited_for_as_well() -> None:
    found = interests_of(request(quota=1, sharing_key="dns"), POOLS)
    assert {("namespace", "prod"), ("sharing key", "dns")} <= found


def test_binding_and_announcing_free_nothing() -> None:
    assert freed(claim("Tentative", uid=""), claim()) == frozenset()
    announced = {**claim(), "status": {"announcedBy": {"node": "one"}}}
    assert freed(claim(), announced) == frozenset()
    assert freed(None, claim()) == frozenset()


def test_a_release_frees_the_address_its_pool_and_room_under_the_quota() -> None:
    expected = {("address", "192.0.2.7"), ("pool", "open"), ("namespace", "prod")}
    assert freed(claim(), claim("Cooling")) == expected
    assert freed(claim(), None) == expected
    assert expected <= freed(claim(holders=("web", "api")), claim(holders=("web",)))


def test_the_end_of_cooling_frees_the_address() -> None:
    assert ("pool", "open") in freed(claim("Cooling"), None)


CRD = Path(__file__).parents[3] / "manifests" / "crds" / "admitlb.io_ipallocations.yaml"
OTHER_VALUES: dict[str, Any] = {
    "namespace": "dev",
    "name": "api",
    "generateName": "web-",
    "uid": "2",
    "since": "2026-01-01T00:00:00Z",
    "ports": [{"protocol": "UDP", "port": 53}],
    "sharingKey": "other",
    "backendKey": "app=web",
    "externalTrafficPolicy": "Local",
    "allowSharedIPNamespaces": ["dev"],
}
"""What each field of a holder may change to."""


def test_whatever_a_holder_asks_of_others_lets_those_with_its_key_try_again_when_it_changes() -> None:
    [version] = yaml.safe_load(CRD.read_text())["spec"]["versions"]
    spec = version["schema"]["openAPIV3Schema"]["properties"]["spec"]["properties"]
    assert set(spec["holders"]["items"]["properties"]) == set(OTHER_VALUES), "a new field has to be decided on"
    silent = set()
    for field, value in OTHER_VALUES.items():
        changed = claim(key="dns")
        changed["spec"]["holders"][0][field] = value
        if ("sharing key", "dns") not in freed(claim(key="dns"), changed):
            silent.add(field)
    assert silent == {"uid", "since", "generateName"}


def test_the_name_says_which_address_is_freed_whatever_the_spec_says() -> None:
    edited = claim()
    edited["spec"]["address"] = "not an address"
    assert ("address", "192.0.2.7") in freed(edited, claim("Cooling"))


def test_a_shared_claim_says_so_to_those_with_its_key() -> None:
    assert freed(None, claim(key="dns")) == {("sharing key", "dns")}


def test_an_address_frees_the_pool_that_contains_it_now() -> None:
    stored = claim()
    stored["spec"]["pool"] = "renamed-since"
    assert ("pool", "open") in freed(stored, None)


FREED = frozenset({("pool", "open"), ("address", "192.0.2.7")})


class Site:
    """Services that wait for a pool, and which addresses are free."""

    def __init__(self, *names: str, pool_name: str = "open") -> None:
        self.free = {"192.0.2.7"}
        self.waiting = Waiting(free=self.free.__contains__)
        for age, name in enumerate(names):
            assert self.waits(name, age, pool_name) == []

    def waits(self, name: str, age: int = 0, pool_name: str = "open") -> list[Key]:
        return self.waiting.note(("prod", name), f"{age:04}", frozenset({("pool", pool_name)}))

    def takes(self, name: str, address: str = "192.0.2.7") -> list[Key]:
        self.free.discard(address)
        return self.waiting.note(("prod", name), "", None)


def test_one_address_is_offered_to_the_oldest_alone() -> None:
    site = Site("a", "b", "c")
    assert site.waiting.freed(FREED) == [("prod", "a")]
    assert site.takes("a") == []
    assert len(site.waiting) == 2


def test_what_the_oldest_cannot_take_is_offered_to_the_next() -> None:
    site = Site("a", "b", "c")
    site.waiting.freed(FREED)
    assert site.waits("a", 0) == [("prod", "b")]
    assert site.waiting.failed(("prod", "b")) == [("prod", "c")]
    assert site.waits("c", 2) == []


def test_what_a_newcomer_has_taken_is_offered_to_nobody_else() -> None:
    site = Site("a", "b", "c")
    site.waiting.freed(FREED)
    site.free.clear()
    assert site.waits("a", 0) == []


def test_what_was_offered_to_a_service_that_is_deleted_goes_to_the_next() -> None:
    site = Site("a", "b")
    site.waiting.freed(FREED)
    assert site.waiting.note(("prod", "a"), "", None) == [("prod", "b")]


def test_several_addresses_are_offered_to_as_many_services() -> None:
    site = Site("a", "b", "c")
    site.free.update(("192.0.2.1", "192.0.2.2"))
    one, two = (frozenset({("pool", "open"), ("address", f"192.0.2.{number}")}) for number in (1, 2))
    assert [*site.waiting.freed(one), *site.waiting.freed(two)] == [("prod", "a"), ("prod", "b")]


def test_nobody_is_tried_whom_it_cannot_help() -> None:
    site = Site(*(f"service-{number}" for number in range(2000)), pool_name="later")
    assert site.waiting.freed(FREED) == []
    assert site.waiting.freed(frozenset()) == []


@given(
    st.lists(st.sets(st.sampled_from(["one", "two", "three"]), min_size=1), min_size=1, max_size=12),
    st.lists(st.sampled_from(["one", "two", "three"]), max_size=12),
    st.randoms(),
)
def test_no_address_stays_free_while_somebody_waits_for_it(
    services: list[set[str]], releases: list[str], chance: Any
) -> None:
    """Whatever order Services are tried in: what they may take and nobody took, nobody waits for."""
    free: set[tuple[str, str]] = set()
    waiting = Waiting(free=lambda address: any(address == number for _, number in free))
    interests = {
        ("prod", f"service-{age:02}"): frozenset(("pool", name) for name in names)
        for age, names in enumerate(services)
    }

    def attempt(key: Key) -> list[Key]:
        if key not in waiting.everybody():
            return waiting.note(key, "", None)
        possible = sorted(one for one in free if ("pool", one[0]) in interests[key])
        if not possible:
            return waiting.note(key, key[1], interests[key])
        free.discard(possible[0])
        return waiting.note(key, "", None)

    for key, wanted in interests.items():
        waiting.note(key, key[1], wanted)
    todo: list[Key] = []
    for number, name in enumerate(releases):
        free.add((name, str(number)))
        todo += waiting.freed(frozenset({("pool", name), ("address", str(number))}))
        while todo and chance.random() < 0.7:
            todo += attempt(todo.pop(chance.randrange(len(todo))))
    while todo:
        todo += attempt(todo.pop(chance.randrange(len(todo))))
    for key in waiting.everybody():
        assert not any(("pool", name) in interests[key] for name, _ in free)

"""What each pool considered is said to lack is what it lacks; one that is not in the way is called eligible."""

from __future__ import annotations

from itertools import product

import pytest

from allocator.core.addresses import Family
from allocator.core.requests import FamilyPolicy
from allocator.core.verdicts import RefusalKind
from tests.unit.core.builders import DUAL, ask, claim, decided, pool

ABSENT, FULL, FREE = "absent", "full", "free"
ADDRESSES = {
    ("one", Family.IPV4): "192.0.2.1",
    ("one", Family.IPV6): "2001:db8::1",
    ("two", Family.IPV4): "198.51.100.1",
    ("two", Family.IPV6): "2001:db8:1::1",
}
STATES = [states for states in product((ABSENT, FULL, FREE), repeat=4) if set(states) != {ABSENT}]


def expected(states: dict[Family, str]) -> str:
    """What is to be said of a pool in which each family is in this state."""
    absent = [family for family in DUAL if states[family] == ABSENT]
    full = [family for family in DUAL if states[family] == FULL]
    said = [f"has no {' and '.join(absent)}"] if absent else []
    said += ["full" if len(full) == 2 else f"{full[0]} full"] if full else []
    return ", ".join(said) or "eligible"


@pytest.mark.parametrize("states", STATES, ids="-".join)
def test_of_each_family_a_pool_says_what_it_lacks(states: tuple[str, ...]) -> None:
    by_place = dict(zip(ADDRESSES, states, strict=True))
    pools = [
        pool(name, *(ADDRESSES[name, family] for family in DUAL if by_place[name, family] != ABSENT))
        for name in ("one", "two")
    ]
    claims = [claim(ADDRESSES[place], place[0]) for place, state in by_place.items() if state == FULL]
    decision = decided(ask(families=DUAL, policy=FamilyPolicy.REQUIRE_DUAL), pools, *claims)
    met = all(FREE in (by_place["one", family], by_place["two", family]) for family in DUAL)
    assert (decision.refusal is None) == met
    if not met:
        reasons = {
            name: expected({family: by_place[name, family] for family in DUAL})
            for name in ("one", "two")
            if pools[("one", "two").index(name)].ranges
        }
        assert dict(decision.considered) == reasons


def test_the_pool_of_an_address_that_another_service_holds_is_eligible() -> None:
    pools = [pool("one", "192.0.2.0/28"), pool("two", "198.51.100.0/28")]
    decision = decided(ask(pins=["192.0.2.1"]), pools, claim("192.0.2.1", "one"))
    assert decision.refusal is not None
    assert decision.refusal.kind is RefusalKind.HELD
    assert decision.considered == (("one", "eligible, it has 192.0.2.1"), ("two", "198.51.100.0/28"))


def test_a_pool_that_the_service_did_not_name_is_not_judged_by_its_ranges() -> None:
    pools = [pool("one", "192.0.2.0/28"), pool("two", "198.51.100.0/28")]
    decision = decided(ask(pins=["192.0.2.1"], pool_name="one"), pools, claim("192.0.2.1", "one"))
    assert decision.considered == (("one", "eligible, it has 192.0.2.1"), ("two", "not the pool asked for"))


def test_the_only_address_of_a_pool_is_not_full_to_the_service_that_has_it() -> None:
    request = ask(families=DUAL, policy=FamilyPolicy.PREFER_DUAL, annotated_addresses=["192.0.2.1"])
    pools = [pool("one", "192.0.2.1"), pool("two", "2001:db8::1")]
    claims = (claim("192.0.2.1", "one", request), claim("2001:db8::1", "two"))
    (note,) = decided(request, pools, *claims).notes
    assert "(one: has no IPv6; two: has no IPv4, IPv6 full)" in note.message

"""Pools: capacity, overlaps, and who they are open to."""

from hypothesis import given
from hypothesis import strategies as st

from allocator.core.addresses import Address, AddressRange, Family
from allocator.core.pools import Applicant, Pool, ServiceAllocation, overlaps
from allocator.core.selectors import Operator, Requirement, Selector
from tests.unit.core.builders import pool

BOUND = st.integers(0, 1100)
RANGES = st.tuples(BOUND, BOUND).map(lambda pair: AddressRange(Family.IPV4, min(pair), max(pair), "range"))


@given(RANGES, st.lists(RANGES, max_size=3), st.booleans())
def test_capacity_counts_exactly_what_may_be_assigned(
    owned: AddressRange, holes: list[AddressRange], avoids: bool
) -> None:
    counted = Pool(name="p", ranges=(owned,), excluded=tuple(holes), avoid_buggy_ips=avoids)
    every = (Address(Family.IPV4, value) for value in range(owned.first, owned.last + 1))
    assert counted.capacity(Family.IPV4) == sum(counted.contains(address) for address in every)


def test_capacity_of_a_64_is_exact_and_instant() -> None:
    assert pool("six", "2001:db8::/64").capacity(Family.IPV6) == 2**64 - 1


def test_overlaps_are_found_within_a_pool_and_with_others() -> None:
    mine = pool("mine", "10.0.0.0/28", "10.0.0.15-10.0.0.20", "2001:db8::/64")
    found = overlaps(mine, [pool("mine", "10.0.0.0/8"), pool("other", "10.0.0.18/32"), pool("six", "2001:db9::/64")])
    assert [(one.mine_index, str(one.other), one.other_pool) for one in found] == [
        (1, "10.0.0.0/28", "mine"),
        (1, "10.0.0.18/32", "other"),
    ]


def test_namespace_selectors_that_match_nothing_admit_nobody() -> None:
    premium = Selector(frozenset({Requirement("pool", Operator.IN, frozenset({"premium"}))}))
    shut = pool("shut", "10.0.0.0/28", allocation=ServiceAllocation(namespace_selectors=(premium,)))
    refusal = shut.refuses(Applicant("prod", {"pool": "basic"}, {}))
    assert refusal == "not open to namespace prod"
    assert shut.refuses(Applicant("prod", {"pool": "premium"}, {})) is None


def test_namespaces_and_selectors_add_up_and_service_labels_restrict_further() -> None:
    web = Selector(frozenset({Requirement("app", Operator.IN, frozenset({"web", "api"}))}))
    guarded = pool(
        "guarded",
        "10.0.0.0/28",
        allocation=ServiceAllocation(namespaces=frozenset({"prod"}), service_selectors=(web,)),
    )
    assert guarded.refuses(Applicant("prod", {}, {"app": "api"})) is None
    assert (
        guarded.refuses(Applicant("prod", {}, {})) == "not open to the Service's labels (requires app in (api,web))"
    )
    assert guarded.refuses(Applicant("dev", {}, {"app": "api"})) == "not open to namespace dev"

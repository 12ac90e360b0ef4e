"""Counters: exact, never negative, never more than an int64 holds."""

from __future__ import annotations

from allocator.core.addresses import Family
from allocator.core.claims import Claim
from allocator.core.pools import Pool
from allocator.core.usage import Usage, usage_of
from allocator.rules.pool_status import counters
from tests.unit.core.builders import claim, pool


def counted(one: Pool, *claims: Claim) -> dict[str, int]:
    return counters(one, usage_of({one.name: one}, claims).get(one.name, Usage()))


def test_assigned_and_available_by_family() -> None:
    dual = pool("dual", "192.0.2.0/30", "2001:db8::/126")
    counts = counted(dual, claim("192.0.2.1", "dual"), claim("2001:db8::1", "dual"), claim("2001:db8::2", "dual"))
    assert counts == {"assignedIPv4": 1, "availableIPv4": 3, "assignedIPv6": 2, "availableIPv6": 1}


def test_a_cooling_address_is_available() -> None:
    assert counted(pool("p", "192.0.2.0/30"), claim("192.0.2.1", "p", cooling_since="t"))["availableIPv4"] == 4


def test_an_address_in_use_that_was_excluded_since_costs_no_other_address() -> None:
    narrowed = pool("p", "192.0.2.0/30", excluded=pool("x", "192.0.2.1").ranges)
    usage = usage_of({"p": narrowed}, [claim("192.0.2.1", "p")])["p"]
    assert counters(narrowed, usage)["availableIPv4"] == 3
    assert [str(address) for address in usage.strays] == ["192.0.2.1"]


def test_more_than_an_int64_is_the_largest_int64() -> None:
    assert counted(pool("wide", "2001:db8::/48"))["availableIPv6"] == 2**63 - 1


def test_a_claim_counts_for_the_pool_its_address_lies_in_now() -> None:
    pools = {"new": pool("new", "192.0.2.0/30"), "old": pool("old", "198.51.100.0/30")}
    usage = usage_of(pools, [claim("192.0.2.1", "old")])
    assert (usage["new"].assigned[Family.IPV4], usage["old"].assigned[Family.IPV4]) == (1, 0)


def test_a_claim_of_a_pool_that_is_gone_counts_under_its_name() -> None:
    usage = usage_of({}, [claim("192.0.2.1", "gone")])
    assert counters(None, usage["gone"])["assignedIPv4"] == 1
    assert counters(None, usage["gone"])["availableIPv4"] == 0

"""What a Service gets, and what it is told when it gets nothing."""

from dataclasses import replace
from typing import Any

import pytest

from allocator.core.addresses import AddressRange, Family
from allocator.core.decision import decide
from allocator.core.pools import PriorityOrder, ServiceAllocation, ShrinkPolicy
from allocator.core.requests import FamilyPolicy, ServiceRequest
from allocator.core.verdicts import How, Outcome, RefusalKind
from tests.unit.core.builders import DUAL, HTTPS, ask, claim, decided, given, ledger, pool

PREFER, REQUIRE = FamilyPolicy.PREFER_DUAL, FamilyPolicy.REQUIRE_DUAL


def open_to(*namespaces: str, priority: int = 0) -> ServiceAllocation:
    return ServiceAllocation(priority=priority, namespaces=frozenset(namespaces))


class TestAutomatic:
    def test_lowest_free_address_of_the_first_range_listed(self) -> None:
        pools = [pool("a", "10.0.0.20-10.0.0.21", "10.0.0.10-10.0.0.11")]
        assert given(decided(ask(), pools)) == ["10.0.0.20"]
        full = [claim("10.0.0.20", "a"), claim("10.0.0.21", "a")]
        assert given(decided(ask(), pools, *full)) == ["10.0.0.10"]

    def test_pools_for_its_namespace_come_before_pools_for_everybody(self) -> None:
        pools = [pool("all", "10.0.0.0/28"), pool("own", "10.1.0.0/28", allocation=open_to("prod"))]
        assert decided(ask(), pools).pools == "own"
        assert decided(ask(namespace="dev"), pools).pools == "all"

    def test_priority_lowest_number_first_absent_last_ties_by_name(self) -> None:
        def first(order: PriorityOrder, *priorities: tuple[str, int]) -> str:
            pools = [
                pool(name, f"10.{index}.0.0/28", allocation=open_to("prod", priority=priority))
                for index, (name, priority) in enumerate(priorities)
            ]
            return decide(ask(), pools=pools, ledger=ledger(), order=order).pools

        low, high = PriorityOrder.LOWEST_FIRST, PriorityOrder.HIGHEST_FIRST
        assert first(low, ("none", 0), ("hundred", 100), ("ten", 10)) == "ten"
        assert first(high, ("none", 0), ("hundred", 100), ("ten", 10)) == "hundred"
        assert first(low, ("z", 5), ("b", 5), ("none", 0)) == "b"

    def test_a_pool_without_auto_assign_serves_only_those_who_ask(self) -> None:
        pools = [pool("reserved", "10.0.0.0/28", auto_assign=False)]
        pending = decided(ask(), pools)
        assert pending.outcome is Outcome.PENDING
        assert pending.refusal is not None
        assert "reserved: only on request (autoAssign: false)" in pending.refusal.message
        assert given(decided(ask(pool_name="reserved"), pools)) == ["10.0.0.0"]
        assert given(decided(ask(pins=("10.0.0.5",)), pools)) == ["10.0.0.5"]

    def test_excluded_and_buggy_addresses_are_passed_over_and_never_enumerated(self) -> None:
        wide = pool("wide", "10.0.0.0/8", avoid_buggy_ips=True, excluded=pool("x", "10.0.0.1-10.200.0.0").ranges)
        assert given(decided(ask(), [wide])) == ["10.200.0.1"]

    def test_subnet_router_anycast_is_not_assigned_by_itself_but_may_be_asked_for(self) -> None:
        pools = [pool("six", "2001:db8::/64")]
        assert given(decided(ask(families=(Family.IPV6,)), pools)) == ["2001:db8::1"]
        assert given(decided(ask(families=(Family.IPV6,), pins=("2001:db8::",)), pools)) == ["2001:db8::"]

    def test_exhaustion_names_every_pool_and_why_it_said_no(self) -> None:
        pools = [
            pool("full", "10.0.0.1"),
            pool("six", "2001:db8::/64"),
            pool("dev", "10.1.0.0/28", allocation=open_to("dev")),
        ]
        refusal = decided(ask(), pools, claim("10.0.0.1", "full")).refusal
        assert refusal is not None
        assert refusal.kind is RefusalKind.EXHAUSTED
        assert refusal.message.startswith("prod/web: no IPv4 address left (")
        assert "full: full" in refusal.message
        assert "six: has no IPv4" in refusal.message
        assert "dev: not open to namespace prod" in refusal.message

    def test_without_any_pool_it_waits(self) -> None:
        decision = decided(ask(), [])
        assert decision.outcome is Outcome.PENDING
        assert decision.refusal is not None
        assert decision.refusal.kind is RefusalKind.NO_POOL


class TestCooling:
    pools = [pool("a", "10.0.0.1-10.0.0.2")]

    def test_the_same_name_gets_its_address_back(self) -> None:
        mine = claim("10.0.0.2", "a", ask("web"), cooling_since="t1")
        assert given(decided(ask("web"), self.pools, mine)) == ["10.0.0.2"]

    def test_others_get_it_only_when_nothing_else_is_free(self) -> None:
        theirs = claim("10.0.0.1", "a", ask("old"), cooling_since="t1")
        assert given(decided(ask("web"), self.pools, theirs)) == ["10.0.0.2"]
        last = decided(ask("web"), self.pools, theirs, claim("10.0.0.2", "a"))
        assert given(last) == ["10.0.0.1"]
        assert last.placements[0].how is How.COOLING

    def test_the_one_that_cooled_longest_goes_first(self) -> None:
        young = claim("10.0.0.1", "a", ask("one"), cooling_since="t2")
        old = claim("10.0.0.2", "a", ask("two"), cooling_since="t1")
        assert given(decided(ask("web"), self.pools, young, old)) == ["10.0.0.2"]

    def test_an_explicit_request_takes_it(self) -> None:
        theirs = claim("10.0.0.1", "a", ask("old"), cooling_since="t1")
        assert given(decided(ask(pins=("10.0.0.1",)), self.pools, theirs)) == ["10.0.0.1"]


class TestRequests:
    pools = [
        pool("a", "10.0.0.0/28"),
        pool("b", "10.1.0.0/28"),
        pool("closed", "10.2.0.0/28", allocation=open_to("dev")),
    ]

    @pytest.mark.parametrize(
        ("asked", "kind", "code", "outcome"),
        [
            ({"pins": ("10.9.9.9",)}, RefusalKind.NOT_IN_POOL, 422, Outcome.PENDING),
            ({"pins": ("10.2.0.1",)}, RefusalKind.POOL_CLOSED, 403, Outcome.DENIED),
            ({"pool_name": "closed"}, RefusalKind.POOL_CLOSED, 403, Outcome.DENIED),
            ({"pool_name": "nope"}, RefusalKind.UNKNOWN_POOL, 422, Outcome.PENDING),
            ({"pins": ("10.0.0.1",), "pool_name": "b"}, RefusalKind.MALFORMED, 422, Outcome.DENIED),
            ({"pins": ("10.0.0.1", "10.0.0.2")}, RefusalKind.MALFORMED, 422, Outcome.DENIED),
            ({"pins": ("2001:db8::1",)}, RefusalKind.MALFORMED, 422, Outcome.DENIED),
            ({"pins": ("10.0.0.9",)}, RefusalKind.HELD, 409, Outcome.PENDING),
        ],
    )
    def test_what_cannot_be_met(self, asked: dict[str, Any], kind: RefusalKind, code: int, outcome: Outcome) -> None:
        decision = decided(ask(**asked), self.pools, claim("10.0.0.9", "a", ask("api", namespace="team")))
        assert decision.outcome is outcome
        assert decision.refusal is not None
        assert (decision.refusal.kind, decision.refusal.kind.code) == (kind, code)

    def test_a_held_address_names_its_holder_and_the_remedy(self) -> None:
        decision = decided(ask(pins=("10.0.0.9",)), self.pools, claim("10.0.0.9", "a", ask("api", namespace="team")))
        assert decision.warnings == (
            "prod/web: 10.0.0.9 is held by team/api (ports 80/TCP); release it or add the same "
            "metallb.io/allow-shared-ip key to both, with different ports",
        )

    def test_a_pool_may_be_asked_for_by_name(self) -> None:
        assert given(decided(ask(pool_name="b"), self.pools)) == ["10.1.0.0"]

    def test_what_it_holds_stays_while_a_new_wish_cannot_be_met(self) -> None:
        mine = claim("10.0.0.3", "a", ask())
        decision = decided(ask(pins=("10.9.9.9",)), self.pools, mine)
        assert decision.outcome is Outcome.ASSIGNED
        assert given(decision) == ["10.0.0.3"]
        assert decision.refusal is not None
        assert "keeps 10.0.0.3 meanwhile" in decision.warnings[0]

    def test_a_changed_pool_moves_it_and_an_unchanged_one_does_not(self) -> None:
        mine = claim("10.0.0.3", "a", ask())
        assert given(decided(ask(pool_name="b"), self.pools, mine)) == ["10.1.0.0"]
        assert given(decided(ask(pool_name="a"), self.pools, mine)) == ["10.0.0.3"]
        assert given(decided(ask(), self.pools, mine)) == ["10.0.0.3"]

    def test_what_it_holds_stays_though_no_pool_has_it_any_more(self) -> None:
        assert given(decided(ask(), [pool("b", "10.1.0.0/28")], claim("10.0.0.3", "a", ask()))) == ["10.0.0.3"]


class TestAdoption:
    pools = [pool("a", "10.0.0.0/28")]

    def test_what_status_shows_is_adopted_when_no_claim_stands_on_it(self) -> None:
        assert given(decided(ask(status_addresses=("10.0.0.7",)), self.pools)) == ["10.0.0.7"]

    def test_what_another_service_holds_is_not(self) -> None:
        decision = decided(ask(status_addresses=("10.0.0.7",)), self.pools, claim("10.0.0.7", "a", ask("api")))
        assert given(decision) == ["10.0.0.0"]

    def test_of_two_claims_the_one_it_shows_is_kept(self) -> None:
        both = [claim("10.0.0.3", "a", ask()), claim("10.0.0.9", "a", ask())]
        assert given(decided(ask(status_addresses=("10.0.0.9",)), self.pools, *both)) == ["10.0.0.9"]

    def test_of_two_reservations_the_one_it_was_admitted_with_is_kept(self) -> None:
        both = [claim("10.0.0.3", "a", ask()), claim("10.0.0.9", "a", ask())]
        assert given(decided(ask(annotated_addresses=("10.0.0.9",)), self.pools, *both)) == ["10.0.0.9"]

    def test_what_it_says_it_was_admitted_with_gives_it_nothing_it_does_not_hold(self) -> None:
        assert given(decided(ask(annotated_addresses=("10.0.0.9",)), self.pools)) == ["10.0.0.0"]


class TestDualStack:
    dual = pool("dual", "10.0.0.1-10.0.0.2", "2001:db8::1-2001:db8::2")
    four, six = pool("four", "10.4.0.0/28"), pool("six", "2001:db8:6::1-2001:db8:6::f")

    def test_require_takes_one_pool_with_both(self) -> None:
        decision = decided(ask(families=DUAL, policy=REQUIRE), [self.four, self.dual])
        assert (given(decision), decision.pools) == (["10.0.0.1", "2001:db8::1"], "dual")

    def test_addresses_follow_the_order_of_the_families(self) -> None:
        decision = decided(ask(families=(Family.IPV6, Family.IPV4), policy=REQUIRE), [self.dual])
        assert given(decision) == ["2001:db8::1", "10.0.0.1"]

    def test_two_pools_serve_when_no_single_one_can(self) -> None:
        decision = decided(ask(families=DUAL, policy=REQUIRE), [self.four, self.six])
        assert (given(decision), decision.pools) == (["10.4.0.0", "2001:db8:6::1"], "four,six")

    def test_require_with_one_family_to_be_had_waits(self) -> None:
        assert decided(ask(families=DUAL, policy=REQUIRE), [self.four]).outcome is Outcome.PENDING

    def test_prefer_takes_one_when_there_is_only_one(self) -> None:
        assert given(decided(ask(families=DUAL, policy=PREFER), [self.four])) == ["10.4.0.0"]
        assert given(decided(ask(families=DUAL, policy=PREFER), [self.six])) == ["2001:db8:6::1"]

    def test_prefer_on_a_single_stack_gets_one_and_keeps_getting_that_one(self) -> None:
        request = ask(families=(Family.IPV4,), policy=PREFER)
        assert given(decided(request, [self.dual])) == ["10.0.0.1"]
        assert given(decided(request, [self.dual], claim("10.0.0.1", "dual", ask()))) == ["10.0.0.1"]

    def test_the_second_family_is_added_to_what_is_held(self) -> None:
        request = ask(families=DUAL, policy=PREFER)
        assert given(decided(request, [self.dual], claim("10.0.0.2", "dual", ask()))) == ["10.0.0.2", "2001:db8::1"]

    def test_pins_from_two_pools_in_the_order_written(self) -> None:
        request = ask(families=DUAL, policy=REQUIRE, pins=("2001:db8:6::5", "10.4.0.9"))
        assert given(decided(request, [self.four, self.six])) == ["2001:db8:6::5", "10.4.0.9"]

    def test_one_pin_is_malformed_on_require_and_all_there_is_on_prefer(self) -> None:
        refusal = decided(ask(families=DUAL, policy=REQUIRE, pins=("10.4.0.9",)), [self.four]).refusal
        assert refusal is not None
        assert refusal.message.endswith("name one of each family")
        assert given(decided(ask(families=DUAL, policy=PREFER, pins=("10.4.0.9",)), [self.four, self.six])) == [
            "10.4.0.9"
        ]


class TestSharing:
    pools = [pool("a", "10.0.0.1-10.0.0.9")]
    held = claim("10.0.0.4", "a", ask("web", sharing_key="k"), key="k")

    def test_the_same_key_with_other_ports_shares(self) -> None:
        decision = decided(ask("tls", sharing_key="k", ports=HTTPS, pins=("10.0.0.4",)), self.pools, self.held)
        assert given(decision) == ["10.0.0.4"]
        assert decision.placements[0].how is How.SHARED

    def test_a_free_address_below_comes_before_sharing_as_in_metallb(self) -> None:
        assert given(decided(ask("tls", sharing_key="k", ports=HTTPS), self.pools, self.held)) == ["10.0.0.1"]

    @pytest.mark.parametrize(
        ("asked", "says"),
        [
            ({"sharing_key": "other", "ports": HTTPS}, "under sharing key 'k', not 'other'"),
            ({"sharing_key": "k"}, "which uses the same 80/TCP"),
            ({"sharing_key": "", "ports": HTTPS}, "is held by prod/web"),
            (
                {"sharing_key": "k", "ports": HTTPS, "local_traffic": True, "backend_key": "app=x"},
                "whose externalTrafficPolicy is Cluster, not Local",
            ),
        ],
    )
    def test_what_forbids_it_is_said(self, asked: dict[str, Any], says: str) -> None:
        decision = decided(ask("tls", pins=("10.0.0.4",), **asked), self.pools, self.held)
        assert decision.outcome is Outcome.PENDING
        assert decision.refusal is not None
        assert says in decision.refusal.message

    def test_namespaces_share_unless_the_pool_or_policy_local_forbids_it(self) -> None:
        stranger: dict[str, Any] = {"namespace": "team", "sharing_key": "k", "ports": HTTPS, "pins": ("10.0.0.4",)}
        assert given(decided(ask("tls", **stranger), self.pools, self.held)) == ["10.0.0.4"]
        shut = [pool("a", "10.0.0.1-10.0.0.9", allow_cross_namespace_sharing=False)]
        assert decided(ask("tls", **stranger), shut, self.held).outcome is Outcome.PENDING
        assert decided(ask("tls", local_traffic=True, **stranger), self.pools, self.held).outcome is Outcome.PENDING

    def test_a_sharer_that_breaks_the_sharing_gives_the_address_up(self) -> None:
        web, tls = ask("web", sharing_key="k"), ask("tls", sharing_key="k", ports=HTTPS)
        both = claim("10.0.0.4", "a", web, tls, key="k")
        decision = decided(ask("tls", sharing_key="k"), self.pools, both)
        assert given(decision) == ["10.0.0.1"]
        assert "gives up 10.0.0.4" in decision.warnings[0]
        assert "prod/web" in decision.warnings[0]
        assert decision.lost_share is not None
        assert decision.lost_share.kind.code == 409


class TestShrinking:
    def test_drain_and_reject_keep_what_is_held_and_reassign_moves_it(self) -> None:
        mine = claim("10.0.0.3", "a", ask())
        for policy, expected in (("Drain", "10.0.0.3"), ("Reject", "10.0.0.3"), ("Reassign", "10.0.0.8")):
            shrunk = pool("a", "10.0.0.8-10.0.0.9", shrink_policy=ShrinkPolicy(policy))
            assert given(decided(ask(), [shrunk], mine)) == [expected], policy

    def test_reassign_keeps_it_while_nothing_else_is_free(self) -> None:
        shrunk = pool("a", "10.0.0.8", shrink_policy=ShrinkPolicy.REASSIGN)
        decision = decided(ask(), [shrunk], claim("10.0.0.3", "a", ask()), claim("10.0.0.8", "a"))
        assert given(decision) == ["10.0.0.3"]
        assert decision.outcome is Outcome.ASSIGNED

    def test_reassign_of_a_pool_closed_to_the_service_moves_it_to_another(self) -> None:
        closed = pool("a", "10.0.0.0/28", allocation=open_to("dev"), shrink_policy=ShrinkPolicy.REASSIGN)
        decision = decided(ask(), [closed, pool("b", "10.1.0.1")], claim("10.0.0.3", "a", ask()))
        assert given(decision) == ["10.1.0.1"]


class TestQuota:
    pools = [pool("a", "10.0.0.1-10.0.0.9", "2001:db8::1-2001:db8::9")]

    def test_the_namespace_may_hold_so_many_and_not_one_more(self) -> None:
        held = claim("10.0.0.1", "a", ask("one"))
        assert given(decided(_limited("two", 2), self.pools, held)) == ["10.0.0.2"]
        refused = decided(_limited("two", 1), self.pools, held)
        assert refused.outcome is Outcome.DENIED
        assert refused.refusal is not None
        assert (refused.refusal.kind, refused.refusal.kind.code) == (RefusalKind.QUOTA, 403)

    def test_what_it_holds_already_and_what_others_of_it_hold_costs_nothing(self) -> None:
        one, two = _limited("one", 1, sharing_key="k"), _limited("two", 1, sharing_key="k", ports=HTTPS)
        held = claim("10.0.0.1", "a", one, key="k")
        assert given(decided(one, self.pools, held)) == ["10.0.0.1"]
        pinned = _limited("two", 1, sharing_key="k", ports=HTTPS, pins=("10.0.0.1",))
        assert given(decided(pinned, self.pools, held)) == ["10.0.0.1"]
        assert decided(two, self.pools, claim("10.0.0.9", "a", ask("other"))).outcome is Outcome.DENIED

    def test_moving_needs_no_second_place(self) -> None:
        moving = _limited("web", 1, pins=("10.0.0.7",))
        assert given(decided(moving, self.pools, claim("10.0.0.1", "a", ask("web")))) == ["10.0.0.7"]

    def test_prefer_dual_stack_does_with_what_the_quota_leaves(self) -> None:
        assert given(decided(_limited("web", 1, families=DUAL, policy=PREFER), self.pools)) == ["10.0.0.1"]
        assert decided(_limited("web", 1, families=DUAL, policy=REQUIRE), self.pools).outcome is Outcome.DENIED


def _limited(name: str, quota: int, **fields: Any) -> ServiceRequest:
    request = ask(name, **fields)
    return replace(request, applicant=replace(request.applicant, quota=quota))


def test_who_lost_a_race_leaves_the_next_addresses_to_others() -> None:
    pools = [pool("p", "10.0.0.1-10.0.0.9", excluded=(AddressRange.parse("10.0.0.3"),))]
    book = ledger(claim("10.0.0.1", "p"))
    assert given(decide(ask(), pools=pools, ledger=book, pass_over=0)) == ["10.0.0.2"]
    assert given(decide(ask(), pools=pools, ledger=book, pass_over=2)) == ["10.0.0.5"]


def test_no_address_is_too_near_when_it_is_the_last_one() -> None:
    book = ledger(claim("10.0.0.1", "p"))
    assert given(decide(ask(), pools=[pool("p", "10.0.0.1-10.0.0.2")], ledger=book, pass_over=100)) == ["10.0.0.2"]

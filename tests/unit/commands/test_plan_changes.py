"""What a change does to the Services of a live cluster: moves, losses, gains, and nothing said of the rest."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from allocator.core.addresses import Address, Family
from allocator.core.claims import Claim, ClaimState
from tests.unit.commands.live_clusters import change, effects, live_cluster
from tests.unit.commands.manifests import Object, advertisement, deleted, namespace, pool, service
from tests.unit.effort import examples

LAN = pool("lan", "192.0.2.10-192.0.2.13")
OTHER = pool("other", "198.51.100.10-198.51.100.13")
ALL = advertisement("all")
WEB, API = service("web"), service("api")
PINNED = service("web", annotations={"loadBalancerIPs": "192.0.2.13"})


def test_the_same_documents_again_change_nothing() -> None:
    live = live_cluster(LAN, ALL, WEB, API)
    plan = change(live, LAN, ALL, WEB, API)
    assert (effects(plan), plan.change.unchanged, plan.exit_code) == ({}, 2, 0)


def test_another_address_asked_for_is_a_move() -> None:
    plan = change(live_cluster(LAN, ALL, WEB, API), PINNED)
    assert effects(plan) == {"web": ("Moves", ["192.0.2.10"], ["192.0.2.13"])}
    assert (plan.change.unchanged, plan.exit_code) == (1, 1)


def test_an_address_no_longer_asked_for_stays() -> None:
    """The annotation goes, which only a three-way merge knows; the address asked for stays, as it does live."""
    plan = change(live_cluster(LAN, ALL, PINNED), WEB)
    assert effects(plan) == {}
    plan = change(live_cluster(LAN, ALL, PINNED), WEB, service("new", annotations={"loadBalancerIPs": "192.0.2.13"}))
    assert effects(plan) == {"new": ("Waits", [], [])}


def test_a_new_service_gains_an_address_or_waits() -> None:
    live = live_cluster(LAN, ALL, *(service(f"s{number}") for number in range(3)))
    plan = change(live, service("a"), service("b"))
    assert effects(plan) == {"b": ("Waits", [], []), "a": ("Gains", [], ["192.0.2.13"])}
    assert plan.exit_code == 1
    assert change(live, service("a")).exit_code == 0


def test_one_that_waited_before_and_waits_still_is_not_the_changes_doing() -> None:
    live = live_cluster(pool("lan", "192.0.2.10"), ALL, WEB, API)
    plan = change(live, WEB, API)
    assert (effects(plan), plan.exit_code) == ({}, 0)
    grown = change(live, pool("lan", "192.0.2.10-192.0.2.11"))
    assert effects(grown) == {"api": ("Gains", [], ["192.0.2.11"])}


def test_a_pool_that_shrinks_is_refused_and_changes_nothing_or_moves_them() -> None:
    live = live_cluster(LAN, ALL, WEB, API)
    refused = change(live, pool("lan", "192.0.2.11-192.0.2.13"))
    assert (effects(refused), refused.exit_code) == ({}, 1)
    assert [answer.verdict.code for answer in refused.given] == [409]
    moved = change(live, pool("lan", "192.0.2.11-192.0.2.13", shrinkPolicy="Reassign"))
    assert effects(moved) == {"web": ("Moves", ["192.0.2.10"], ["192.0.2.12"])}


def test_what_only_the_former_documents_have_is_deleted() -> None:
    live = live_cluster(LAN, OTHER, ALL, WEB, API)
    plan = change(live, LAN, ALL, WEB, former=[LAN, OTHER, ALL, WEB, API])
    assert effects(plan) == {"api": ("Deleted", ["192.0.2.11"], [])}
    assert [pool.name for pool in plan.pools] == ["lan"]
    assert plan.exit_code == 0, "its author wrote that"


@pytest.mark.parametrize("reverse", [False, True])
def test_a_manifest_that_only_dropped_the_default_namespace_is_not_deleted(reverse: bool) -> None:
    here = service("web", namespace="default")
    bare = {**here, "metadata": {key: value for key, value in here["metadata"].items() if key != "namespace"}}
    documents, former = (here, bare) if reverse else (bare, here)
    plan = change(live_cluster(LAN, ALL, here), documents, former=[former])
    assert (effects(plan), plan.exit_code) == ({}, 0)
    elsewhere = change(live_cluster(LAN, ALL, WEB), bare, former=[WEB])
    assert [(one.namespace, str(one.effect)) for one in elsewhere.change.effects] == [
        ("prod", "Deleted"),
        ("default", "Gains"),
    ]


def test_a_pool_in_use_that_is_pruned_is_refused() -> None:
    live = live_cluster(LAN, ALL, WEB)
    plan = change(live, ALL, WEB, former=[LAN, ALL, WEB])
    assert [(answer.kind, answer.verdict.code) for answer in plan.given if not answer.verdict.allowed] == [
        ("IPAddressPool", 409)
    ]
    assert effects(plan) == {}


def test_a_pool_that_is_pruned_with_its_services_is_not_refused() -> None:
    live = live_cluster(LAN, ALL, WEB)
    plan = change(live, ALL, former=[LAN, ALL, WEB])
    assert effects(plan) == {"web": ("Deleted", ["192.0.2.10"], [])}
    assert plan.exit_code == 0


def test_a_document_that_deletes_counts_as_a_deletion() -> None:
    plan = change(live_cluster(LAN, ALL, WEB), deleted(WEB))
    assert effects(plan) == {"web": ("Deleted", ["192.0.2.10"], [])}


def test_another_type_loses_the_address() -> None:
    plan = change(live_cluster(LAN, ALL, WEB), service("web", type="ClusterIP"))
    assert effects(plan) == {"web": ("Loses", ["192.0.2.10"], [])}


def test_an_advertisement_that_goes_leaves_addresses_unannounced() -> None:
    live = live_cluster(LAN, OTHER, ALL, WEB)
    plan = change(live, advertisement("all", ipAddressPools=["other"]))
    assert effects(plan) == {"web": ("Unannounced", ["192.0.2.10"], ["192.0.2.10"])}
    assert plan.exit_code == 1
    back = change(live_cluster(LAN, OTHER, advertisement("all", ipAddressPools=["other"]), WEB), ALL)
    assert effects(back) == {"web": ("Announced", ["192.0.2.10"], ["192.0.2.10"])}


def test_an_address_that_bgp_announces_is_not_unannounced() -> None:
    bgp: Object = {**advertisement("bgp"), "kind": "BGPAdvertisement"}
    plan = change(live_cluster(LAN, ALL, bgp, WEB), deleted(ALL))
    assert effects(plan) == {}


def test_a_pool_that_is_split_changes_the_pool_and_no_address() -> None:
    drained = pool("lan", "192.0.2.11-192.0.2.13", shrinkPolicy="Drain")
    plan = change(live_cluster(LAN, ALL, WEB), drained, pool("first", "192.0.2.10"))
    assert effects(plan) == {"web": ("ChangesPool", ["192.0.2.10"], ["192.0.2.10"])}
    assert plan.exit_code == 0


def test_a_denied_service_is_named() -> None:
    plan = change(live_cluster(LAN, ALL, WEB), service("bad", annotations={"loadBalancerIPs": "nonsense"}))
    assert effects(plan) == {"bad": ("Denied", [], [])}
    assert plan.exit_code == 1


def test_a_request_that_cannot_be_met_waits_and_keeps_the_address() -> None:
    plan = change(live_cluster(LAN, ALL, WEB, API), service("api", annotations={"loadBalancerIPs": "192.0.2.10"}))
    assert effects(plan) == {"api": ("Waits", ["192.0.2.11"], ["192.0.2.11"])}


def test_strict_does_not_deny_what_is_live_and_waits() -> None:
    live = live_cluster(pool("lan", "192.0.2.10"), ALL, WEB, API)
    assert effects(change(live, strict=True)) == {}


def test_a_pool_stored_while_nothing_checked_it_serves_nobody() -> None:
    live = live_cluster(LAN, ALL, WEB)
    overlapping = pool("wrong", "192.0.2.0/24")
    overlapping["metadata"]["creationTimestamp"] = "2026-02-01T00:00:00Z"
    pools = next(documents for kind, documents in live.objects.items() if kind.kind == "IPAddressPool")
    pools.append(overlapping)  # type: ignore[attr-defined]
    assert [one.name for one in change(live, API).pools] == ["lan"]


def test_who_shared_first_stays_whoever_comes_with_the_change() -> None:
    shared = {"allow-shared-ip": "k", "loadBalancerIPs": "192.0.2.10"}
    other_port = [{"port": 443, "protocol": "TCP"}]
    live = live_cluster(LAN, ALL, service("web", annotations=shared))
    plan = change(live, service("tls", annotations=shared, ports=other_port))
    assert effects(plan) == {"tls": ("Gains", [], ["192.0.2.10"])}
    clash = change(live, service("clash", annotations=shared))
    assert effects(clash) == {"clash": ("Waits", [], [])}


def test_a_quota_binds_who_is_new_and_takes_nothing_away() -> None:
    live = live_cluster(LAN, ALL, namespace("prod"), WEB, API)
    plan = change(live, namespace("prod", quota="1"), service("third"))
    assert effects(plan) == {"third": ("Denied", [], [])}


def test_a_policy_that_changes_lets_the_server_choose_the_families_anew() -> None:
    both = (Family.IPV4, Family.IPV6)
    dual = pool("dual", "192.0.2.10-192.0.2.13", "2001:db8::10-2001:db8::13")
    live = live_cluster(dual, ALL, WEB, families=both)
    plan = change(live, service("web", ipFamilyPolicy="PreferDualStack"), families=both)
    assert effects(plan) == {"web": ("Gains", ["192.0.2.10"], ["192.0.2.10", "2001:db8::10"])}


def test_what_cools_longest_is_given_first_whoever_released_it() -> None:
    three = pool("lan", "192.0.2.10-192.0.2.12")
    live = live_cluster(three, ALL, WEB, API)
    old = Claim(
        address=Address.parse("192.0.2.12"),
        pool="lan",
        state=ClaimState.COOLING,
        holders=live.claims[0].holders,
        released_at="2026-01-01T00:00:00.000000Z",
    )
    old = replace(old, holders=tuple(replace(holder, name="gone") for holder in old.holders))
    plan = change(replace(live, claims=[*live.claims, old]), deleted(API), service("new"))
    assert effects(plan)["new"] == ("Gains", [], ["192.0.2.12"])


def test_of_those_that_wait_live_the_oldest_is_served_first() -> None:
    live = live_cluster(pool("lan", "192.0.2.10"), ALL, WEB, service("old"), service("a-young-one"))
    services = next(documents for kind, documents in live.objects.items() if kind.kind == "Service")
    services.reverse()  # type: ignore[attr-defined]
    plan = change(live, pool("lan", "192.0.2.10-192.0.2.11"))
    assert effects(plan) == {"old": ("Gains", [], ["192.0.2.11"])}


def test_another_controllers_service_is_served_once_the_change_takes_it_over() -> None:
    theirs = service("theirs", shows=("203.0.113.9",))
    live = live_cluster(LAN, ALL, namespace("prod"), theirs)
    assert effects(change(live, theirs)) == {}
    taken = namespace("prod")
    taken["metadata"]["annotations"] = {"admitlb.io/take-over": "true"}
    assert effects(change(live, taken)) == {"theirs": ("Gains", [], ["192.0.2.10"])}


@settings(max_examples=examples(40))
@given(
    services=st.lists(
        st.builds(
            service,
            st.sampled_from(("a", "b", "c", "d", "e")),
            annotations=st.sampled_from(
                ({}, {"allow-shared-ip": "k"}, {"loadBalancerIPs": "192.0.2.11"}, {"address-pool": "other"})
            ),
            ports=st.sampled_from(([{"port": 80}], [{"port": 443}])),
        ),
        unique_by=lambda one: one["metadata"]["name"],
    ),
    order=st.randoms(use_true_random=False),
)
def test_a_live_cluster_and_its_own_documents_in_any_order_is_no_change(
    services: list[Object], order: object
) -> None:
    documents = [LAN, OTHER, ALL, *services]
    live = live_cluster(*documents)
    order.shuffle(documents)  # type: ignore[attr-defined]
    plan = change(live, *documents)
    assert effects(plan) == {}
    assert plan.exit_code == 0
    gone = change(live, former=documents)
    assert {name: effect for name, (effect, _, _) in effects(gone).items()} == {
        one["metadata"]["name"]: "Deleted" for one in services
    }
    assert (gone.exit_code, gone.pools) == (0, ())

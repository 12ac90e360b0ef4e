"""`admitlb plan`: documents replayed in order, as a cluster would see them."""

from __future__ import annotations

from typing import Any

import pytest

from tests.unit.commands.manifests import Object, advertisement, deleted, namespace, plan, pool, service

FOUR = pool("four", "192.0.2.10-192.0.2.13")
ONE = pool("one", "192.0.2.10")
CLOSED = pool("closed", "198.51.100.0/28", serviceAllocation={"namespaces": ["finance"]})
DUAL = ("--cluster-families", "IPv4,IPv6")


def test_the_json_has_these_fields_and_no_others() -> None:
    ran = plan(FOUR, service("web"))
    assert ran.code == 0
    assert ran.told == {
        "documents": [
            {
                "index": 0,
                "source": "-",
                "kind": "IPAddressPool",
                "namespace": "metallb-system",
                "name": "four",
                "allowed": True,
                "code": 200,
                "message": "",
                "warnings": [
                    "IPAddressPool four: no L2Advertisement or BGPAdvertisement covers pool four, so that nobody "
                    "announces its addresses; name it in spec.ipAddressPools of one, or create one without pools and "
                    "selectors, which covers all"
                ],
            },
            {
                "index": 1,
                "source": "-",
                "kind": "Service",
                "namespace": "prod",
                "name": "web",
                "allowed": True,
                "code": 200,
                "message": "",
                "warnings": [],
            },
        ],
        "services": [
            {
                "namespace": "prod",
                "name": "web",
                "state": "Assigned",
                "ips": ["192.0.2.10"],
                "pool": "four",
                "message": "",
            }
        ],
        "pools": [{"name": "four", "assignedIPv4": 1, "assignedIPv6": 0, "availableIPv4": 3, "availableIPv6": 0}],
        "bgp": {"nodesKnown": False, "routes": [], "notAnnounced": []},
    }


def test_a_later_document_of_the_same_name_is_an_update() -> None:
    pinned = service("web", annotations={"loadBalancerIPs": "192.0.2.13"})
    ran = plan(FOUR, service("web"), pinned)
    assert ran.ips == {"web": ["192.0.2.13"]}
    assert ran.pools["four"]["assignedIPv4"] == 1


def test_one_with_a_deletion_timestamp_is_a_delete() -> None:
    ran = plan(FOUR, service("web"), service("api"), deleted(service("web")))
    assert ran.ips == {"api": ["192.0.2.11"]}
    assert ran.pools["four"]["availableIPv4"] == 3


def test_the_deletion_of_what_never_was_changes_nothing() -> None:
    ran = plan(FOUR, deleted(service("web")), deleted(pool("other", "192.0.2.99")))
    assert (ran.code, ran.told["services"], list(ran.pools)) == (0, [], ["four"])


def test_what_waits_is_served_when_its_pool_comes() -> None:
    ran = plan(service("web"), FOUR, advertisement("all"))
    assert ran.ips == {"web": ["192.0.2.10"]}
    assert ran.warnings == ["prod/web: there are no pools; create an IPAddressPool"]
    assert ran.code == 0


def test_of_several_that_wait_the_oldest_is_served_first() -> None:
    ran = plan(ONE, service("first"), service("b"), service("a"), deleted(service("first")))
    assert ran.states == {"b": "Assigned", "a": "Pending"}
    assert ran.code == 1


def test_the_age_of_a_service_counts_from_its_last_creation() -> None:
    ran = plan(ONE, service("first"), service("b"), service("a"), deleted(service("b")), service("b"))
    assert ran.states == {"first": "Assigned", "a": "Pending", "b": "Pending"}
    again = plan(
        ONE,
        service("first"),
        service("b"),
        service("a"),
        deleted(service("b")),
        service("b"),
        deleted(service("first")),
    )
    assert again.states == {"a": "Assigned", "b": "Pending"}


def test_what_waits_is_retried_when_a_pool_grows() -> None:
    ran = plan(ONE, service("a"), service("b"), pool("one", "192.0.2.10-192.0.2.11"))
    assert ran.ips == {"a": ["192.0.2.10"], "b": ["192.0.2.11"]}


def test_what_waits_is_retried_when_a_namespace_changes() -> None:
    open_to = pool(
        "tenants", "192.0.2.10", serviceAllocation={"namespaceSelectors": [{"matchLabels": {"lb": "yes"}}]}
    )
    asking = service("web")
    ran = plan(open_to, asking, namespace("prod", lb="yes"))
    assert ran.ips == {"web": ["192.0.2.10"]}


def test_what_waits_is_retried_when_a_quota_is_raised() -> None:
    first = plan(namespace("prod", quota="1"), FOUR, service("a"), service("b"))
    assert first.states == {"a": "Assigned", "b": "Denied"}
    assert first.codes[-1] == 403
    raised = plan(namespace("prod", quota="1"), FOUR, service("a"), namespace("prod", quota="2"), service("b"))
    assert raised.ips == {"a": ["192.0.2.10"], "b": ["192.0.2.11"]}


def test_what_waits_is_retried_when_a_sharing_key_appears() -> None:
    shared = {"allow-shared-ip": "k", "loadBalancerIPs": "192.0.2.10"}
    alone = service("http", annotations={"loadBalancerIPs": "192.0.2.10"})
    tls = service("https", annotations=shared, ports=[{"port": 443, "protocol": "TCP"}])
    assert plan(FOUR, alone, tls).states == {"http": "Assigned", "https": "Pending"}
    ran = plan(FOUR, alone, tls, service("http", annotations=shared))
    assert ran.ips == {"http": ["192.0.2.10"], "https": ["192.0.2.10"]}
    assert ran.pools["four"]["assignedIPv4"] == 1


def test_two_sharers_changed_one_after_the_other_converge() -> None:
    def sharer(name: str, port: int, key: str) -> dict[str, object]:
        request = {"allow-shared-ip": key, "loadBalancerIPs": "192.0.2.10"}
        return service(name, annotations=request, ports=[{"port": port, "protocol": "TCP"}])

    before = (FOUR, sharer("http", 80, "old"), sharer("https", 443, "old"))
    between = plan(*before, sharer("http", 80, "new"))
    assert between.states == {"http": "Assigned", "https": "Pending"}
    assert "prod/https, which joined later, gives up 192.0.2.10" in " ".join(between.warnings)
    after = plan(*before, sharer("http", 80, "new"), sharer("https", 443, "new"))
    assert after.ips == {"http": ["192.0.2.10"], "https": ["192.0.2.10"]}


def test_a_released_address_goes_to_others_only_when_nothing_else_is_free() -> None:
    two = pool("two", "192.0.2.10-192.0.2.11")
    ran = plan(two, service("a"), deleted(service("a")), service("b"), service("c"))
    assert ran.ips == {"b": ["192.0.2.11"], "c": ["192.0.2.10"]}


def test_a_released_address_goes_back_to_the_same_name() -> None:
    ran = plan(FOUR, service("a"), service("b"), deleted(service("b")), service("c"), service("b"))
    assert ran.ips == {"a": ["192.0.2.10"], "c": ["192.0.2.12"], "b": ["192.0.2.11"]}


def test_a_denied_update_leaves_the_old_object() -> None:
    broken = service("web", annotations={"loadBalancerIPs": "nonsense"})
    ran = plan(FOUR, service("web"), broken)
    assert ran.codes == [200, 200, 422]
    assert ran.services["prod/web"]["ips"] == ["192.0.2.10"]
    assert ran.states == {"web": "Assigned"}
    assert ran.code == 1


def test_a_denied_creation_is_a_denied_service_until_it_is_corrected_or_removed() -> None:
    broken = service("web", annotations={"loadBalancerIPs": "nonsense"})
    denied = plan(FOUR, broken).services["prod/web"]
    assert (denied["state"], denied["ips"], denied["pool"]) == ("Denied", [], "")
    assert "not an IP address" in denied["message"]
    assert plan(FOUR, broken, service("web")).states == {"web": "Assigned"}
    assert plan(FOUR, broken, deleted(broken)).states == {}


def test_a_changed_wish_that_cannot_be_met_keeps_the_old_address_and_says_what_is_wanted() -> None:
    ran = plan(FOUR, service("web"), service("web", annotations={"address-pool": "later"}))
    web = ran.services["prod/web"]
    assert (web["state"], web["ips"]) == ("Assigned", ["192.0.2.10"])
    assert "there is no pool later" in web["message"]
    assert ran.code == 0
    met = plan(
        FOUR, service("web"), service("web", annotations={"address-pool": "later"}), pool("later", "192.0.2.99")
    )
    assert met.services["prod/web"] == {
        "namespace": "prod",
        "name": "web",
        "state": "Assigned",
        "ips": ["192.0.2.99"],
        "pool": "later",
        "message": "",
    }


def test_a_change_of_type_gives_the_address_to_one_that_waits() -> None:
    ran = plan(ONE, service("a"), service("b"), service("a", type="ClusterIP"))
    assert ran.states == {"a": "Ignored", "b": "Assigned"}
    assert "ClusterIP" in ran.services["prod/a"]["message"]


@pytest.mark.parametrize(
    ("lb_class", "spec", "state"),
    [
        ("", {}, "Assigned"),
        ("", {"loadBalancerClass": "example.com/x"}, "Ignored"),
        ("example.com/x", {}, "Ignored"),
        ("example.com/x", {"loadBalancerClass": "example.com/x"}, "Assigned"),
        ("", {"type": "NodePort"}, "Ignored"),
    ],
)
def test_services_of_another_class_or_type_are_ignored(lb_class: str, spec: Object, state: str) -> None:
    ran = plan(FOUR, service("web", **spec), options=("--lb-class", lb_class))
    assert ran.states == {"web": state}
    assert ran.code == 0


def test_addresses_in_a_status_are_adopted_before_anything_new_is_assigned() -> None:
    ran = plan(FOUR, service("new"), service("old", shows=("192.0.2.10",)))
    assert ran.ips == {"new": ["192.0.2.11"], "old": ["192.0.2.10"]}
    late_pool = plan(service("new"), service("old", shows=("192.0.2.10",)), FOUR)
    assert late_pool.ips == {"new": ["192.0.2.11"], "old": ["192.0.2.10"]}


@pytest.mark.parametrize("order", [(0, 1, 2), (1, 2, 0), (2, 1, 0)])
def test_what_a_service_of_another_class_shows_is_given_to_nobody(order: tuple[int, ...]) -> None:
    theirs = service("theirs", shows=("192.0.2.10",), loadBalancerClass="example.com/x")
    documents = (FOUR, service("new"), theirs)
    ran = plan(*(documents[at] for at in order))
    assert ran.states == {"new": "Assigned", "theirs": "Ignored"}
    assert ran.ips["new"] == ["192.0.2.11"]
    gone = plan(ONE, theirs, service("new"), deleted(theirs))
    assert gone.states == {"new": "Assigned"}


def test_what_a_service_was_assigned_before_it_changed_its_class_is_taken_back() -> None:
    ran = plan(ONE, service("a"), service("a", loadBalancerClass="example.com/x"), ONE, service("b"))
    assert ran.states == {"a": "Ignored", "b": "Assigned"}


def test_a_service_that_another_controller_serves_is_left_alone_until_a_pool_has_its_address() -> None:
    theirs = service("web", shows=("198.51.100.1",))
    ran = plan(FOUR, theirs)
    assert (ran.code, ran.states, ran.ips) == (0, {"web": "Ignored"}, {"web": []})
    assert "198.51.100.1" in ran.services["prod/web"]["message"]
    assert plan(FOUR, theirs, pool("more", "198.51.100.0/24")).ips == {"web": ["198.51.100.1"]}


def test_an_address_that_was_ours_and_is_in_no_pool_any_more_is_kept() -> None:
    ours = service("web", annotations={"ip-allocated-from-pool": "gone"}, shows=("198.51.100.1",))
    ran = plan(FOUR, ours)
    assert ran.ips == {"web": ["198.51.100.1"]}
    assert ran.services["prod/web"]["pool"] == "gone"


QUOTA_OF_NONE = namespace("prod", quota="0")


@pytest.mark.parametrize(
    ("asks", "before", "says"),
    [
        ({"annotations": {"loadBalancerIPs": "nonsense"}}, (), "'nonsense' is not an IP address"),
        ({"annotations": {"loadBalancerIPs": "192.0.2.10"}, "loadBalancerIP": "192.0.2.10"}, (), "keep only one"),
        ({"annotations": {"address-pool": "closed"}}, (CLOSED,), "pool closed is not open to namespace prod"),
        ({"annotations": {"loadBalancerIPs": "203.0.113.9"}}, (), "is in no pool"),
        ({"annotations": {"loadBalancerIPs": "192.0.2.11"}}, (QUOTA_OF_NONE,), ""),
        ({}, (QUOTA_OF_NONE,), ""),
    ],
)
@pytest.mark.parametrize("strict", [False, True])
def test_what_a_status_shows_is_the_services_own_whatever_it_asks_for(
    asks: dict[str, Any], before: tuple[Object, ...], says: str, strict: bool
) -> None:
    old = service("old", shows=("192.0.2.10",), **asks)
    ran = plan(*before, ONE, service("new"), old, options=("--strict",) if strict else ())
    assert ran.codes[-1] == 200, "the document changes nothing"
    assert ran.ips["old"] == ["192.0.2.10"]
    assert ran.ips.get("new", []) == []
    assert says in ran.services["prod/old"]["message"]


def test_two_statuses_that_show_one_address_leave_it_to_the_first() -> None:
    ran = plan(FOUR, service("a", shows=("192.0.2.12",)), service("b", shows=("192.0.2.12",)))
    assert ran.ips == {"a": ["192.0.2.12"], "b": ["192.0.2.10"]}


def test_the_cluster_is_ipv4_unless_said_otherwise_and_the_first_family_is_the_primary() -> None:
    both = pool("both", "192.0.2.10", "2001:db8::10")
    assert plan(both, service("web")).ips == {"web": ["192.0.2.10"]}
    six = plan(both, service("web"), options=("--cluster-families", "IPv6,IPv4"))
    assert six.ips == {"web": ["2001:db8::10"]}


def test_cluster_ips_win_over_the_clusters_families() -> None:
    both = pool("both", "192.0.2.10", "2001:db8::10")
    assert plan(both, service("web", clusterIPs=["fd00::1"])).ips == {"web": ["2001:db8::10"]}
    assert plan(both, service("web", clusterIPs=["fd00::1"]), service("web")).ips == {"web": ["2001:db8::10"]}


@pytest.mark.parametrize(
    ("policy", "options", "state", "ips"),
    [
        ("PreferDualStack", (), "Assigned", ["192.0.2.10"]),
        ("PreferDualStack", DUAL, "Assigned", ["192.0.2.10", "2001:db8::10"]),
        ("RequireDualStack", (), "Pending", []),
        ("RequireDualStack", DUAL, "Assigned", ["192.0.2.10", "2001:db8::10"]),
    ],
)
def test_dual_stack_needs_a_cluster_of_both_families(
    policy: str, options: tuple[str, ...], state: str, ips: list[str]
) -> None:
    ran = plan(pool("both", "192.0.2.10", "2001:db8::10"), service("web", ipFamilyPolicy=policy), options=options)
    assert (ran.states["web"], ran.ips["web"]) == (state, ips)


def test_two_pools_that_serve_are_joined_by_a_comma() -> None:
    pools = pool("four", "192.0.2.10"), pool("six", "2001:db8::10")
    ran = plan(*pools, service("web", ipFamilyPolicy="RequireDualStack"), options=DUAL)
    assert ran.services["prod/web"]["pool"] == "four,six"


def test_strict_denies_what_would_wait() -> None:
    ran = plan(service("web"), ONE, service("a"), service("b"), options=("--strict",))
    assert ran.states == {"web": "Denied", "a": "Assigned", "b": "Denied"}
    assert ran.codes == [422, 200, 200, 409]


def test_strict_keeps_the_old_object_when_an_update_asks_for_what_is_held() -> None:
    grab = service("b", annotations={"loadBalancerIPs": "192.0.2.10"})
    ran = plan(FOUR, service("a"), service("b"), grab, options=("--strict",))
    assert ran.codes == [200, 200, 200, 409]
    assert ran.ips == {"a": ["192.0.2.10"], "b": ["192.0.2.11"]}


def test_a_pool_in_use_cannot_be_narrowed_or_deleted_unless_its_policy_says_so() -> None:
    narrowed = plan(FOUR, service("web"), pool("four", "192.0.2.13"))
    assert (narrowed.codes[-1], narrowed.ips) == (409, {"web": ["192.0.2.10"]})
    assert "prod/web" in narrowed.messages[-1]
    kept = plan(FOUR, service("web"), deleted(FOUR))
    assert (kept.codes[-1], list(kept.pools)) == (409, ["four"])


def test_drain_keeps_what_is_assigned_and_assigns_nothing_new_there() -> None:
    ran = plan(FOUR, service("a"), pool("four", "192.0.2.13", shrinkPolicy="Drain"), service("b"), service("c"))
    assert ran.ips == {"a": ["192.0.2.10"], "b": ["192.0.2.13"], "c": []}


def test_reassign_moves_at_once_also_when_the_pool_goes() -> None:
    moving = pool("four", "192.0.2.13", shrinkPolicy="Reassign")
    assert plan(FOUR, service("a"), moving).ips == {"a": ["192.0.2.13"]}
    gone = plan(FOUR, service("a"), moving, pool("spare", "198.51.100.9"), deleted(moving))
    assert gone.ips == {"a": ["198.51.100.9"]}
    assert list(gone.pools) == ["spare"]


def test_what_must_move_and_cannot_moves_as_soon_as_it_can() -> None:
    closed = pool("one", "192.0.2.10", excludeAddresses=["192.0.2.10"], shrinkPolicy="Reassign")
    stuck = plan(ONE, service("a"), closed)
    assert stuck.ips == {"a": ["192.0.2.10"]}
    assert "keeps 192.0.2.10 meanwhile" in stuck.services["prod/a"]["message"]
    assert plan(ONE, service("a"), closed, pool("spare", "198.51.100.9")).ips == {"a": ["198.51.100.9"]}


def test_what_prefers_two_families_gets_the_second_when_it_is_there() -> None:
    request = service("web", ipFamilyPolicy="PreferDualStack")
    ran = plan(ONE, request, pool("six", "2001:db8::10"), options=DUAL)
    assert ran.ips == {"web": ["192.0.2.10", "2001:db8::10"]}


def test_every_namespace_has_the_label_with_its_name() -> None:
    selected = {"namespaceSelectors": [{"matchLabels": {"kubernetes.io/metadata.name": "prod"}}]}
    closed = pool("prod-only", "192.0.2.10", serviceAllocation=selected)
    assert plan(closed, service("web")).states == {"web": "Assigned"}
    assert plan(closed, namespace("prod", team="a"), service("web")).states == {"web": "Assigned"}
    assert plan(closed, service("web", namespace="other")).states == {"web": "Pending"}


def test_with_a_namespace_go_its_services() -> None:
    ran = plan(ONE, service("a", namespace="gone"), service("b"), deleted(namespace("gone")))
    assert ran.ips == {"b": ["192.0.2.10"]}


def test_a_service_made_by_generate_name_is_one_of_its_own_each_time() -> None:
    nameless = service("x")
    nameless["metadata"] = {"generateName": "web-", "namespace": "prod"}
    ran = plan(FOUR, nameless, nameless)
    assert [one["ips"] for one in ran.told["services"]] == [["192.0.2.10"], ["192.0.2.11"]]
    assert [one["name"] for one in ran.documents[1:]] == list(ran.ips)


def test_counters_do_not_overflow() -> None:
    ran = plan(pool("huge", "2001:db8::/64", "192.0.2.0/28"))
    assert ran.pools["huge"] == {
        "name": "huge",
        "assignedIPv4": 0,
        "assignedIPv6": 0,
        "availableIPv4": 16,
        "availableIPv6": 2**63 - 1,
    }


TAKER = pool("taker", "192.0.2.12-192.0.2.13", addressesFrom=["four"])
IN_TAKER = {"metallb.io/address-pool": "taker"}
AT_13 = IN_TAKER | {"metallb.io/loadBalancerIPs": "192.0.2.13"}
NARROWED = pool("four", "192.0.2.10-192.0.2.11")


@pytest.mark.parametrize(
    ("annotations", "said"),
    [
        (IN_TAKER, "taker: full, another pool still has 192.0.2.12-192.0.2.13 of it"),
        (
            AT_13,
            "192.0.2.13 of pool taker is still in the pool that it takes it over from; narrow or delete that one",
        ),
    ],
    ids=["any address", "one address"],
)
def test_who_asks_a_pool_for_what_another_still_has_waits_until_it_is_given_up(
    annotations: dict[str, str], said: str
) -> None:
    def outcome(*more: Object) -> Any:
        return plan(FOUR, TAKER, service("web", annotations=annotations), *more).told["services"][0]

    assert (outcome()["state"], said in outcome()["message"]) == ("Pending", True)
    for heals in (NARROWED, deleted(FOUR)):
        assert (outcome(heals)["state"], outcome(heals)["pool"]) == ("Assigned", "taker")


def test_what_the_source_has_is_assigned_from_it_until_then() -> None:
    ran = plan(FOUR, TAKER, service("web", annotations={"loadBalancerIPs": "192.0.2.13"}), deleted(FOUR))
    assert [one["allowed"] for one in ran.told["documents"]] == [True] * 4
    assert [(one["ips"], one["pool"]) for one in ran.told["services"]] == [(["192.0.2.13"], "taker")]
    assert [(one["name"], one["assignedIPv4"], one["availableIPv4"]) for one in ran.told["pools"]] == [
        ("taker", 1, 1)
    ]

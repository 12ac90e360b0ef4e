"""What the review of a pool's change asks of the cluster: no more than the change takes away."""

from __future__ import annotations

from typing import Any

import pytest

from allocator.core.pool_selection import PoolSelection
from allocator.objects.pool import pool_from
from allocator.objects.selectors import selector_from
from allocator.rules.kinds import BY_KIND, Change
from allocator.rules.pool import review_pool, review_pool_deletion
from allocator.rules.verdict import Rules, Verdict
from tests.bench.pool_review import Counted, document

BGP = "BGPAdvertisement"
FREE = {"addresses": ["10.0.0.0/17"]}
USED = {"addresses": ["10.0.128.0/17"]}
GOLD = {"namespaces": ["default"], "serviceSelectors": [{"matchLabels": {"tier": "gold"}}]}


@pytest.fixture(scope="module")
def cluster() -> Counted:
    return Counted()


def review(
    cluster: Counted, changed: dict[str, Any], before: dict[str, Any] | None = None
) -> tuple[Verdict, set[str]]:
    cluster.asked.clear()
    verdict = review_pool(document(changed), document(before or {}), context=cluster, rules=Rules())
    return verdict, set(cluster.asked)


@pytest.mark.parametrize(
    ("changed", "allowed", "asked"),
    [
        ({"labels": {"tier": "public"}}, True, {BGP}),
        ({"autoAssign": False, "reuseDelaySeconds": 5}, True, set()),
        ({"shrinkPolicy": "Drain"}, True, set()),
        ({"serviceAllocation": {"namespaces": ["default"], "priority": 3}}, True, {"pools"}),
        ({"serviceAllocation": {"namespaces": ["default", "more"]}}, True, {"pools"}),
        ({"serviceAllocation": {"namespaces": ["other"]}}, False, set()),
        ({"serviceAllocation": GOLD}, False, {"labels of Services"}),
        (FREE, True, {"pools", BGP, "nodes"}),
        (USED, False, {"pools", BGP}),
        ({"excludeAddresses": ["10.0.200.0/24"]}, True, {"pools", BGP, "nodes"}),
        ({"excludeAddresses": ["10.0.0.7"]}, False, {"pools", BGP}),
        ({"avoidBuggyIPs": True}, False, {"pools"}),
        (USED | {"shrinkPolicy": "Drain"}, True, {"pools", BGP, "nodes"}),
    ],
)
def test_a_change_reads_of_the_cluster_what_it_may_take_away(
    cluster: Counted, changed: dict[str, Any], allowed: bool, asked: set[str]
) -> None:
    verdict, found = review(cluster, changed)
    assert (verdict.allowed, found) == (allowed, asked), verdict


def test_labels_are_not_asked_for_where_the_selectors_stay(cluster: Counted) -> None:
    verdict, asked = review(cluster, {"serviceAllocation": GOLD | {"priority": 2}}, {"serviceAllocation": GOLD})
    assert verdict.allowed
    assert "labels of Services" not in asked


def test_who_drains_already_is_in_the_way_of_no_further_change(cluster: Counted) -> None:
    verdict, _ = review(cluster, USED | {"labels": {"tier": "public"}}, USED)
    assert verdict.allowed


def test_who_drains_is_in_the_way_of_the_deletion(cluster: Counted) -> None:
    verdict = review_pool_deletion(document(USED), context=cluster)
    assert verdict.code == 409
    assert "and 9980 more (kubectl get ipallocations lists all)" in verdict.message


DRAINING = {"shrinkPolicy": "Drain", "labels": {"tier": "public"}}
BY_LABEL = PoolSelection(selectors=(selector_from({"matchLabels": {"tier": "public"}}, ""),))
OTHERS = PoolSelection(names=frozenset({"other"}))


@pytest.mark.parametrize(
    ("advertisements", "warned"),
    [
        ([BY_LABEL], True),
        ([BY_LABEL, OTHERS], True),
        ([BY_LABEL, PoolSelection(names=frozenset({"main"}))], False),
        ([BY_LABEL, PoolSelection()], False),
        ([PoolSelection()], False),
        ([OTHERS], False),
        ([], False),
    ],
    ids=["label", "label, others by name", "label, by name", "label, all", "all", "others by name", "none"],
)
def test_a_deletion_that_takes_the_last_advertisement_from_what_drains_is_warned_of(
    cluster: Counted, monkeypatch: pytest.MonkeyPatch, advertisements: list[PoolSelection], warned: bool
) -> None:
    monkeypatch.setattr(cluster, "advertisements", advertisements)
    monkeypatch.setattr(cluster, "stored", [pool_from(document(DRAINING))])
    verdict = review_pool_deletion(document(DRAINING), context=cluster)
    assert verdict.allowed
    assert bool(verdict.warnings) == warned
    if warned:
        assert "nobody announces 10.0.0.0 (default/web-0), " in verdict.warnings[0]


TWIN = {**document({}), "metadata": {"name": "twin"}}
"""A pool of the same addresses, let in while nothing checked it."""


def test_an_overlapping_pool_can_be_removed_while_the_other_has_the_addresses_too(
    cluster: Counted, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cluster, "stored", [pool_from(document({})), pool_from(TWIN)])
    assert review_pool_deletion(TWIN, context=cluster).allowed
    narrowed = {**TWIN, "spec": {"addresses": ["192.0.2.0/28"]}}
    assert review_pool(narrowed, TWIN, context=cluster, rules=Rules()).allowed
    monkeypatch.setattr(cluster, "stored", [pool_from(TWIN)])
    assert review_pool_deletion(TWIN, context=cluster).code == 409
    assert review_pool(narrowed, TWIN, context=cluster, rules=Rules()).code == 409


RENAMED = {**document({"addressesFrom": ["main"]}), "metadata": {"name": "renamed"}}


def test_a_pool_is_renamed_by_one_that_takes_its_addresses_and_the_refusal_of_its_deletion_says_so(
    cluster: Counted, monkeypatch: pytest.MonkeyPatch
) -> None:
    without = {**RENAMED, "spec": document({})["spec"]}
    refused = review_pool(without, None, context=cluster, rules=Rules())
    assert (refused.code, refused.message.endswith("write spec.addressesFrom: [main]")) == (422, True)
    assert (
        "create the new one with spec.addressesFrom: [main]"
        in review_pool_deletion(document({}), context=cluster).message
    )
    created = review_pool(RENAMED, None, context=cluster, rules=Rules())
    assert created.allowed
    assert created.warnings[-1] == (
        "IPAddressPool renamed: 10.0.0.0/16 overlaps 10.0.0.0/16 of pool main, which has them until it is narrowed "
        "or deleted (spec.addressesFrom)"
    )
    monkeypatch.setattr(cluster, "stored", [pool_from(document({})), pool_from(RENAMED)])
    assert review_pool_deletion(document({}), context=cluster) == Verdict()
    monkeypatch.setattr(cluster, "stored", [pool_from(RENAMED)])
    assert review_pool(without, RENAMED, context=cluster, rules=Rules()) == Verdict()


@pytest.mark.parametrize("names", [{"main"}, {"main", "renamed"}])
def test_a_renamed_pool_whose_new_name_is_announced_by_nobody_is_warned_of(
    cluster: Counted, monkeypatch: pytest.MonkeyPatch, names: set[str]
) -> None:
    labelled = document({"labels": {"tier": "public"}})
    by_label = PoolSelection(selectors=(selector_from({"matchLabels": {"tier": "public"}}, ""),))
    others = [PoolSelection(names=frozenset({"renamed"}))] if "renamed" in names else []
    monkeypatch.setattr(cluster, "advertisements", [by_label, *others])
    monkeypatch.setattr(cluster, "stored", [pool_from(labelled), pool_from(RENAMED)])
    verdict = review_pool_deletion(labelled, context=cluster)
    assert verdict.allowed
    assert bool(verdict.warnings) == ("renamed" not in names)


def test_who_is_shut_out_of_a_pool_that_has_not_the_address_yet_loses_nothing(
    cluster: Counted, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cluster, "stored", [pool_from(document({})), pool_from(RENAMED)])
    closed = {**RENAMED, "spec": {**RENAMED["spec"], "serviceAllocation": {"namespaces": ["elsewhere"]}}}
    assert review_pool(closed, RENAMED, context=cluster, rules=Rules()).allowed


@pytest.mark.parametrize(("namespace", "code"), [("metallb-system", 409), ("elsewhere", 200)])
def test_a_pool_in_a_namespace_that_nobody_reads_takes_nothing_away(
    cluster: Counted, namespace: str, code: int
) -> None:
    kind = BY_KIND["metallb.io", "IPAddressPool"]
    deletion = kind.answer_deletion(document({}), lambda: cluster, namespace=namespace, rules=Rules())
    change = Change(
        new=document(FREE | {"excludeAddresses": ["10.0.0.7"]}),
        old=document({}),
        rules=Rules(),
        context=lambda: cluster,
        pool_names=tuple,
    )
    assert (deletion.code, kind.answer(change, namespace=namespace).code) == (code, code)
    new = Change(new=document({}), old=None, rules=Rules(), context=lambda: cluster, pool_names=tuple)
    assert kind.answer(new, namespace=namespace).code == (200 if code == 409 else 422)


def test_a_pool_that_nobody_uses_asks_for_no_advertisement(cluster: Counted) -> None:
    cluster.asked.clear()
    unused = document(DRAINING | {"addresses": ["192.0.2.0/24"]})
    assert review_pool_deletion({**unused, "metadata": {"name": "unused"}}, context=cluster) == Verdict()
    assert cluster.asked == []

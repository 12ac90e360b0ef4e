"""What is wrong with a configuration that nothing checked, and what advertisements cover."""

from __future__ import annotations

from typing import Any

import pytest

from allocator.core.addresses import Family
from allocator.objects.names import EXCLUDE_FROM_LB_LABEL
from allocator.rules import l2_advertisement_status as advertisement_status
from allocator.rules.configuration import read

POOLS = {"a": {"tier": "gold"}, "b": {}}


def pool(name: str, *addresses: str, created: str = "2026-01-01T00:00:00Z") -> dict[str, Any]:
    return {"metadata": {"name": name, "creationTimestamp": created}, "spec": {"addresses": list(addresses)}}


def ready_message(spec: dict[str, Any], *, nodes: dict[str, dict[str, str]] | None = None) -> str:
    document = {"metadata": {"name": "ad"}, "spec": spec}
    return advertisement_status.conditions(document, None, pools=POOLS, nodes=nodes or {})[0].message


def test_the_older_of_two_overlapping_pools_is_sound_whatever_the_order() -> None:
    older = pool("z", "192.0.2.0/28", created="2026-01-01T00:00:00Z")
    newer = pool("a", "192.0.2.8/29", created="2026-01-02T00:00:00Z")
    for documents in ([older, newer], [newer, older]):
        found = read(documents)
        assert list(found.pool_faults) == ["a"]
        assert found.pool_faults["a"].reason == "Overlap"


def taking(name: str, *addresses: str, source: str, created: str) -> dict[str, Any]:
    document = pool(name, *addresses, created=created)
    document["spec"]["addressesFrom"] = [source]
    return document


def ranges(documents: list[dict[str, Any]]) -> dict[str, list[str]]:
    return {name: [str(owned) for owned in one.ranges] for name, one in read(documents).sound_pools().items()}


@pytest.mark.parametrize("created", ["2025-01-01T00:00:00Z", "2027-01-01T00:00:00Z"], ids=["older", "younger"])
def test_a_pool_has_not_what_the_pool_it_takes_from_still_has(created: str) -> None:
    source = pool("main", "192.0.2.4/30", "2001:db8::4-2001:db8::7")
    new = taking("new", "192.0.2.0/28", "198.51.100.1", "2001:db8::/124", source="main", created=created)
    mine = ["192.0.2.0-192.0.2.3", "192.0.2.8-192.0.2.15", "198.51.100.1", "2001:db8::-2001:db8::3"]
    mine.append("2001:db8::8-2001:db8::f")
    assert ranges([source, new]) == {"main": ["192.0.2.4/30", "2001:db8::4-2001:db8::7"], "new": mine}
    found = read([source, new])
    assert not found.errors()
    assert found.awaited["new"].startswith("192.0.2.0/28 overlaps 192.0.2.4/30 of pool main; 2001:db8::/124 overlaps")
    # The first address of an IPv6 CIDR is not assigned by itself, in what is left of it either.
    assert found.pools["new"].capacity(Family.IPV6) == 11
    narrowed = pool("main", "192.0.2.64/30")
    assert ranges([narrowed, new])["new"] == ["192.0.2.0/28", "198.51.100.1", "2001:db8::/124"]
    assert read([narrowed, new]).awaited == {}


def test_of_two_that_take_from_each_other_the_older_one_has_the_addresses() -> None:
    older = taking("b", "192.0.2.0/28", source="a", created="2026-01-01T00:00:00Z")
    younger = taking("a", "192.0.2.8/28", source="b", created="2026-01-02T00:00:00Z")
    for documents in ([older, younger], [younger, older]):
        assert ranges(documents) == {"b": ["192.0.2.0/28"], "a": []}
        assert list(read(documents).awaited) == ["a"]


def test_what_one_takes_from_another_excuses_no_overlap_with_a_third() -> None:
    new = taking("new", "192.0.2.0/24", source="main", created="2026-01-03T00:00:00Z")
    found = read([pool("main", "192.0.2.0/28"), pool("third", "192.0.2.128/25"), new])
    assert found.pool_faults["new"].message.startswith("spec.addresses[0]: 192.0.2.0/24 overlaps 192.0.2.128/25")


def test_who_overlaps_only_a_faulty_pool_is_sound() -> None:
    documents = [pool("a", "10.0.0.0/24"), pool("b", "10.0.0.128-10.0.1.10"), pool("c", "10.0.1.0/24")]
    assert list(read(documents).pool_faults) == ["b"]


def test_every_problem_of_an_unreadable_pool_is_in_one_line() -> None:
    (error,) = read([pool("odd", "10.0.0.9-10.0.0.1", "nonsense")]).errors()
    assert error.startswith("IPAddressPool odd: spec.addresses[0]")
    assert "spec.addresses[1]" in error


def test_an_advertisement_without_names_and_selectors_means_all_pools() -> None:
    assert ready_message({}) == "announces pools a, b from all nodes"


def test_names_and_selectors_of_pools_add_up() -> None:
    gold = [{"matchLabels": {"tier": "gold"}}]
    assert ready_message({"ipAddressPoolSelectors": gold}) == "announces pool a from all nodes"
    assert ready_message({"ipAddressPoolSelectors": gold, "ipAddressPools": ["b"]}).startswith(
        "announces pools a, b "
    )


def test_of_many_nodes_the_first_are_named_and_one_more_changes_nothing() -> None:
    spec = {"nodeSelectors": [{"matchExpressions": [{"key": "edge", "operator": "Exists"}]}]}
    nodes: dict[str, dict[str, str]] = {f"node-{number}": {"edge": ""} for number in range(1, 8)}
    message = ready_message(spec, nodes=nodes)
    assert message == "announces pools a, b from nodes node-1, node-2, node-3, node-4, node-5 and others"
    assert ready_message(spec, nodes={**nodes, "node-8": {"edge": ""}}) == message
    excluded = {name: {**labels, **EXCLUDED} for name, labels in nodes.items() if name != "node-7"}
    message = ready_message({}, nodes={**nodes, **excluded})
    assert message == (
        "announces pools a, b from all nodes but node-1, node-2, node-3 and others "
        "(has the label node.kubernetes.io/exclude-from-external-load-balancers)"
    )
    assert ready_message({}, nodes={**nodes, **excluded, "node-8": EXCLUDED}) == message


EXCLUDED = {EXCLUDE_FROM_LB_LABEL: ""}


def test_where_all_nodes_are_excluded_by_a_label_nothing_is_announced() -> None:
    document = {"metadata": {"name": "ad"}, "spec": {}}
    for nodes in ({"n": EXCLUDED}, {"n": EXCLUDED, "m": EXCLUDED}):
        (ready, _) = advertisement_status.conditions(document, None, pools=POOLS, nodes=nodes)
        assert (ready.status, ready.reason) == ("False", "NoNode")
    assert ready.message == f"m, n (has the label {EXCLUDE_FROM_LB_LABEL}); nothing is announced"


def test_the_selected_nodes_that_are_excluded_are_named_and_the_others_are_not() -> None:
    edge = {"nodeSelectors": [{"matchLabels": {"edge": "y"}}]}
    nodes = {"a": {"edge": "y"}, "b": {"edge": "y", **EXCLUDED}, "c": {**EXCLUDED}}
    assert ready_message(edge, nodes=nodes) == (
        f"announces pools a, b from node a but b (has the label {EXCLUDE_FROM_LB_LABEL})"
    )
    del nodes["a"]
    assert ready_message(edge, nodes=nodes) == f"b (has the label {EXCLUDE_FROM_LB_LABEL}); nothing is announced"

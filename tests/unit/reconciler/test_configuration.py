"""What is wrong with a configuration that nothing checked, and what advertisements cover."""

from __future__ import annotations

from typing import Any

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


def test_many_nodes_are_counted_instead_of_listed() -> None:
    nodes = {f"node-{number}": {"edge": ""} for number in range(1, 8)}
    message = ready_message(
        {"nodeSelectors": [{"matchExpressions": [{"key": "edge", "operator": "Exists"}]}]}, nodes=nodes
    )
    assert message == "announces pools a, b from nodes node-1, node-2, node-3, node-4, node-5 and 2 more"


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

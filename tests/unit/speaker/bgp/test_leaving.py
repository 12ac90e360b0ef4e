"""When a node leaves, how far it is, and what it announces at each step."""

from __future__ import annotations

import itertools
from typing import Any

import pytest

from allocator.bgp.eligibility import node_reason
from allocator.objects.names import EXCLUDE_FROM_LB_LABEL, OUT_OF_SERVICE_TAINT
from allocator.objects.node import Node, node_from
from speaker.bgp.leaving import Leaving
from speaker.bgp.reports import Leave
from tests.unit.speaker.objects import node

HERE = Node(name="node-a")
EXCLUDED = Node(name="node-a", labels={EXCLUDE_FROM_LB_LABEL: ""})
REASONS: dict[str, dict[str, Any]] = {
    EXCLUDE_FROM_LB_LABEL: {"labels": {EXCLUDE_FROM_LB_LABEL: ""}},
    OUT_OF_SERVICE_TAINT: {"out_of_service": True},
    "is being deleted": {"deleted": True},
    "is shutting down": {"shutting_down": True},
}


def leaving(*, on_cordon: bool = False) -> Leaving:
    found = Leaving("node-a", on_cordon=on_cordon, marked_seconds=2.0)
    found.set_node(HERE)
    found.advance(0.0, announcing=True)
    return found


@pytest.mark.parametrize("sign", REASONS)
def test_node_that_leaves_is_marked_and_announces_until_the_routers_have_moved(sign: str) -> None:
    here = leaving()
    here.set_node(Node(name="node-a", **REASONS[sign]))
    marked = here.advance(10.0, announcing=True)
    assert (here.stage, here.deadline) == (Leave.MARKED, 12.0)
    assert sign in here.reason
    assert node_reason(marked) is None
    assert node_reason(here.advance(11.9, announcing=True)) is None
    left = here.advance(12.0, announcing=True)
    assert here.stage is Leave.LEFT
    assert node_reason(left) is not None


def test_node_whose_object_is_gone_leaves_and_keeps_its_labels_for_the_sessions() -> None:
    here = leaving()
    here.set_node(Node(name="node-a", labels={"rack": "1"}))
    here.advance(9.0, announcing=True)
    here.set_node(None)
    assert here.advance(10.0, announcing=True).labels == {"rack": "1"}
    assert (here.stage, here.reason) == (Leave.MARKED, "its Node is gone")


@pytest.mark.parametrize("on_cordon", [False, True])
def test_cordoned_node_leaves_only_where_that_is_asked_for(on_cordon: bool) -> None:
    here = leaving(on_cordon=on_cordon)
    here.set_node(Node(name="node-a", cordoned=True))
    here.advance(10.0, announcing=True)
    assert here.stage is (Leave.MARKED if on_cordon else Leave.NO)


def test_node_that_is_out_when_the_speaker_starts_announces_nothing_at_any_time() -> None:
    here = Leaving("node-a", marked_seconds=2.0)
    before = here.advance(0.0, announcing=False)
    assert node_reason(before) is not None
    here.set_node(EXCLUDED)
    for now in (0.1, 5.0):
        found = here.advance(now, announcing=now > 1)
        assert node_reason(found) is not None
        assert here.stage is Leave.LEFT


def test_network_unavailable_withdraws_at_once_and_is_no_leave() -> None:
    here = leaving()
    here.set_node(Node(name="node-a", network_unavailable=True))
    found = here.advance(10.0, announcing=True)
    assert here.stage is Leave.NO
    assert node_reason(found) is not None
    here.set_node(Node(name="node-a", network_unavailable=True, deleted=True))
    assert node_reason(here.advance(11.0, announcing=True)) is not None


def test_leave_that_is_taken_back_in_time_changes_nothing() -> None:
    here = leaving()
    here.set_node(EXCLUDED)
    here.advance(10.0, announcing=True)
    here.set_node(HERE)
    here.advance(11.0, announcing=True)
    assert (here.stage, here.deadline) == (Leave.NO, None)


def test_node_that_comes_back_waits_until_it_can_serve() -> None:
    here = leaving()
    here.set_node(EXCLUDED)
    here.advance(10.0, announcing=True)
    here.advance(12.0, announcing=True)
    here.set_node(HERE)
    found = here.advance(20.0, announcing=True, may_return=lambda: False)
    assert node_reason(found) is not None
    found = here.advance(21.0, announcing=True, may_return=lambda: True)
    assert node_reason(found) is None
    assert here.stage is Leave.NO


def test_no_address_is_announced_by_a_node_that_may_not_beyond_the_time_it_is_marked_for() -> None:
    """Every order of signs that come and go: what is announced without a mark is announced by a node that may."""
    steps = (HERE, EXCLUDED, Node(name="node-a", out_of_service=True), None)
    for order in itertools.product(steps, repeat=4):
        here = Leaving("node-a", marked_seconds=2.0)
        excluded_since: float | None = None
        for now, seen in enumerate(order):
            here.set_node(seen)
            found = here.advance(float(now), announcing=now > 0)
            may = seen is HERE
            excluded_since = None if may else now if excluded_since is None else excluded_since
            announces = node_reason(found) is None
            if not may and announces:
                assert found.marked, order
                assert excluded_since is not None
                assert now - excluded_since < 2, order


def test_kubelet_says_beforehand_that_the_machine_shuts_down() -> None:
    document = node("node-a")
    document["status"]["conditions"] = [
        {"type": "Ready", "status": "False", "reason": "KubeletNotReady", "message": "node is shutting down"}
    ]
    assert node_from(document).shutting_down
    document["status"]["conditions"][0]["message"] = "container runtime is down"
    assert not node_from(document).shutting_down

"""What there is to look at after a change: the address and the Service that changed, and nothing else."""

from __future__ import annotations

from dataclasses import replace

import pytest

from allocator.core.addresses import Address
from speaker.status.allocation_status import Told
from speaker.status.backlog import Backlog
from speaker.status.facts import Announced, Asked, Elsewhere, Fact, Subject, Unannounced
from speaker.status.report_state import LEFT_OUT_SECONDS, OTHERS_SECONDS, SETTLE_SECONDS, Item, Order, ReportState
from speaker.status.service_l2_status import Tell
from speaker.status.statement import Contested, Holder, NoHolder

NODES = ("node-a", "node-b", "node-c")
HELD = Announced(uid="u", interfaces=("eth0",))
IDLE = Unannounced(uid="u", reason="NoEndpoint", message="no endpoint serves")


def subject(number: int) -> Subject:
    return Subject("layer2", ("default", f"web-{number}"), Address.parse(f"10.0.{number // 256}.{number % 256}"))


WEB = subject(1)


class Node:
    """One node's state, on a clock of its own."""

    def __init__(self, name: str = "node-a") -> None:
        self.now = 0.0
        self.backlog: Backlog[Item] = Backlog(order=lambda item: item.order, now=lambda: self.now)
        self.state = ReportState(node=name, backlog=self.backlog)

    def report(self, changed: dict[Subject, Fact | None], *heard: str) -> None:
        self.state.report(changed, heard=frozenset(heard or NODES))

    def due(self, after_seconds: float) -> list[Item]:
        """What is to be looked at by then; it is taken."""
        self.now += after_seconds
        return [item for _ in range(self.backlog.due()) if (item := self.backlog.take()) is not None]


def test_one_change_of_ten_thousand_addresses_is_one_address_and_one_service_to_look_at() -> None:
    node = Node()
    node.report({subject(number): HELD for number in range(10_000)})
    assert len(node.due(OTHERS_SECONDS)) == 20_001, "and who speaks for all"
    node.report({WEB: replace(HELD, interfaces=("eth1",))})
    assert node.due(SETTLE_SECONDS) == [Item(Order.ADDRESS, WEB.address), Item(Order.SERVICE, WEB.service)]
    assert node.due(3600.0) == []


def test_of_what_all_nodes_know_one_reports_and_another_once_that_one_is_not_heard() -> None:
    nodes = {name: Node(name) for name in NODES}

    def reporting(*heard: str) -> list[str]:
        return [name for name in heard if nodes[name].state.address_report(WEB.address) is not None]

    for node in nodes.values():
        node.report({WEB: IDLE})
        assert Item(Order.ADDRESS, WEB.address) not in node.due(SETTLE_SECONDS), "who announced it comes first"
        assert Item(Order.ADDRESS, WEB.address) in node.due(OTHERS_SECONDS)
    (first,) = reporting(*NODES)
    others = [name for name in NODES if name != first]
    for name in others:
        nodes[name].report({}, *others)
        assert nodes[name].due(OTHERS_SECONDS) == [Item(Order.HEARD, None)]
        nodes[name].state.doubt_what_was_left()
        assert nodes[name].due(0.0) == [Item(Order.ADDRESS, WEB.address)]
    assert len(reporting(*others)) == 1


def test_what_was_told_is_not_told_again() -> None:
    node = Node()
    node.report({WEB: HELD})
    report = node.state.address_report(WEB.address)
    assert report is not None
    assert isinstance(report.say.announcement, Holder)
    node.state.note_told(WEB.address, report, Told())
    assert node.state.address_report(WEB.address) is None
    node.report({WEB: HELD})
    assert node.state.address_report(WEB.address) is not None, "it is to be compared anew"


def test_a_change_while_it_is_told_is_told_next() -> None:
    node = Node()
    node.report({WEB: HELD})
    report = node.state.address_report(WEB.address)
    assert report is not None
    node.report({WEB: IDLE})
    node.state.note_told(WEB.address, report, Told())
    after = node.state.address_report(WEB.address)
    assert after is not None
    assert isinstance(after.say.announcement, NoHolder)


def test_what_a_node_that_has_gone_has_left_is_deleted_with_the_next_report_and_not_that_of_one_that_is_heard() -> (
    None
):
    node = Node()
    node.report({WEB: HELD})
    report = node.state.address_report(WEB.address)
    assert report is not None
    node.state.note_told(WEB.address, report, Told(replaced="node-b"))
    assert node.state.left_by(WEB.service) == frozenset()
    node.state.note_told(WEB.address, report, Told(replaced="gone"))
    assert node.state.left_by(WEB.service) == {"gone"}
    node.state.note_deleted(WEB.service, "gone")
    assert node.state.left_by(WEB.service) == frozenset()


def test_who_is_left_out_alone_is_no_hurry() -> None:
    node = Node()
    node.report({WEB: HELD})
    node.due(OTHERS_SECONDS)
    node.report({WEB: replace(HELD, left_out=(("node-b", "has the label x"),))})
    assert Item(Order.SERVICE, WEB.service) not in node.due(LEFT_OUT_SECONDS / 2 - 1)
    assert Item(Order.SERVICE, WEB.service) in node.due(LEFT_OUT_SECONDS)
    (step,) = node.state.steps(WEB.service)
    assert isinstance(step, Tell)
    assert step.said["leftOut"] == [{"nodes": "node-b", "reason": "has the label x"}]


@pytest.mark.parametrize("known_before", [True, False])
def test_an_address_that_a_host_has_is_announced_by_nobody_whichever_is_known_first(known_before: bool) -> None:
    node = Node()
    contested = Contested(claimed=True, message="02:00:00:00:00:01 has it")
    if known_before:
        node.report({WEB: Asked(uid="u")})
    node.state.contest(WEB.address, contested)
    if not known_before:
        node.report({WEB: Asked(uid="u")})
    assert node.due(0.0)[0] == Item(Order.CONFLICT, WEB.address)
    report = node.state.address_report(WEB.address)
    assert report is not None
    assert report.say.contested == contested
    assert report.say.announcement == NoHolder(reason="AddressConflict", message=contested.message, own=True)


def test_nothing_is_kept_of_a_service_that_is_gone_before_anything_was_told() -> None:
    node = Node()
    node.report({WEB: IDLE})
    node.report({WEB: None})
    assert node.state.address_report(WEB.address) is None
    assert node.state._addresses == {}


def test_what_may_be_lost_is_made_again() -> None:
    node = Node()
    node.report({WEB: HELD})
    (step,) = node.state.steps(WEB.service)
    assert isinstance(step, Tell)
    labels = {
        "metallb.io/node": "node-a",
        "metallb.io/service-name": "web-1",
        "metallb.io/service-namespace": "default",
    }
    metadata = {"name": step.name, "labels": labels, "resourceVersion": "1"}
    node.state.note_stored(WEB.service, step.name, {"metadata": metadata, "status": step.said})
    assert node.state.steps(WEB.service) == ()
    node.due(OTHERS_SECONDS)
    node.state.doubt_all()
    assert node.state.steps(WEB.service) == (step,)
    assert {item.order for item in node.due(OTHERS_SECONDS)} == {Order.ADDRESS, Order.SERVICE}


def test_who_announces_it_now_is_given_the_time_to_say_so_itself() -> None:
    node = Node()
    node.report({WEB: HELD})
    report = node.state.address_report(WEB.address)
    assert report is not None
    node.state.note_told(WEB.address, report, Told())
    node.due(OTHERS_SECONDS)
    node.report({WEB: Elsewhere(uid="u", node="node-b")})
    assert [item.order for item in node.due(SETTLE_SECONDS)] == [Order.SERVICE]
    assert [item.order for item in node.due(OTHERS_SECONDS)] == [Order.ADDRESS]
    after = node.state.address_report(WEB.address)
    assert after is not None
    assert isinstance(after.say.announcement, Holder)
    assert after.say.announcement.node == "node-b"

"""Of what all nodes know the first by rank of those heard reports, and a lost node concerns few addresses."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from allocator.core.addresses import Address
from speaker.election.election import Ranking, rank
from speaker.status.allocation_status import Told
from speaker.status.backlog import Backlog
from speaker.status.facts import Announced, Elsewhere, Fact, Subject, Unannounced
from speaker.status.predecessors import Predecessors
from speaker.status.report_state import OTHERS_SECONDS, Item, Order, ReportState
from speaker.status.statement import NoHolder, Statement
from tests.unit.effort import examples

NODES = tuple(f"node-{number}" for number in range(6))
OWN = NODES[0]
FACTS: tuple[Fact | None, ...] = (
    Unannounced(uid="u", reason="NoEndpoint", message="no endpoint serves"),
    Unannounced(uid="u", reason="NoNode", message="no node may"),
    Announced(uid="u"),
    Elsewhere(uid="u", node="node-1"),
    None,
)


def subject(number: int) -> Subject:
    return Subject("layer2", ("default", f"web-{number}"), Address.parse(f"10.0.{number // 256}.{number % 256}"))


class Reporting:
    """One node that does at once whatever is due, and what it has reported of each address last."""

    def __init__(self) -> None:
        self.now = 0.0
        self.backlog: Backlog[Item] = Backlog(order=lambda item: item.order, now=lambda: self.now)
        self.state = ReportState(node=OWN, backlog=self.backlog)
        self.heard = frozenset({OWN})
        self.facts: dict[Subject, Fact] = {}
        self.reported: dict[Address, Statement] = {}

    def is_first(self, address: Address) -> bool:
        return rank(address=address, candidates=self.heard)[0] == OWN

    def hear(self, others: frozenset[str]) -> None:
        self.heard = others | {OWN}
        self.state.report({}, heard=self.heard)

    def take(self, number: int, fact: Fact | None) -> None:
        if fact is None:
            self.facts.pop(subject(number), None)
        else:
            self.facts[subject(number)] = fact
        self.state.report({subject(number): fact}, heard=self.heard)

    def wait(self, seconds: float) -> None:
        self.now += seconds
        while self.backlog.due():
            item = self.backlog.take()
            assert item is not None
            if item.order is Order.HEARD:
                self.state.doubt_what_was_left()
            elif isinstance(item.what, Address):
                report = self.state.address_report(item.what)
                if report is not None:
                    if isinstance(report.say.announcement, NoHolder) and not report.entry.named:
                        assert self.is_first(item.what)
                    self.reported[item.what] = report.say
                    self.state.note_told(item.what, report, Told())


steps = st.lists(
    st.one_of(
        st.tuples(st.just("hear"), st.frozensets(st.sampled_from(NODES[1:]))),
        st.tuples(st.just("take"), st.tuples(st.integers(0, 5), st.sampled_from(FACTS))),
        st.tuples(st.just("wait"), st.sampled_from([0.5, OTHERS_SECONDS])),
    ),
    max_size=40,
)


@settings(max_examples=examples(150))
@given(steps)
def test_whoever_comes_and_goes_the_first_by_rank_has_reported_everything_and_no_other_node_does(
    steps: list[tuple[str, Any]],
) -> None:
    node = Reporting()
    for what, value in steps:
        match what:
            case "hear":
                node.hear(value)
            case "take":
                node.take(*value)
            case _:
                node.wait(value)
    node.wait(OTHERS_SECONDS)
    for its, fact in node.facts.items():
        if isinstance(fact, Unannounced) and node.is_first(its.address):
            announcement = node.reported[its.address].announcement
            assert isinstance(announcement, NoHolder)
            assert announcement.message == fact.message


@settings(max_examples=examples(150))
@given(
    st.lists(st.tuples(st.frozensets(st.sampled_from(NODES[1:])), st.booleans()), max_size=12),
    st.frozensets(st.integers(0, 40)),
)
def test_exactly_one_node_is_the_first_and_who_becomes_it_is_to_look_again(
    rounds: list[tuple[frozenset[str], bool]], numbers: frozenset[int]
) -> None:
    addresses = {subject(number).address for number in numbers}
    kept = {node: Predecessors(node=node) for node in NODES}
    left_to_others: set[tuple[str, Address]] = set()
    for others, looks in ((frozenset(NODES[1:]), True), *rounds):
        among = others | {OWN}
        first = {address: rank(address=address, candidates=among)[0] for address in addresses}
        for node in among:
            kept[node].hear(among)
            if looks:
                left = {(node, address) for address in kept[node].take_left()}
                assert left >= left_to_others & {(node, each) for each in addresses if first[each] == node}
                left_to_others -= left
            for address in addresses:
                assert kept[node].is_first(address) == (node == first[address])
                if node != first[address]:
                    left_to_others.add((node, address))


def test_a_node_that_is_lost_has_those_addresses_looked_at_that_were_left_to_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    hashed = 0
    of = Ranking.of

    def counted(self: Ranking, node: str) -> bytes:
        nonlocal hashed
        hashed += 1
        return of(self, node)

    monkeypatch.setattr(Ranking, "of", counted)
    names = frozenset(f"node-{number}" for number in range(100))
    backlog: Backlog[Item] = Backlog(order=lambda item: item.order)
    state = ReportState(node="node-0", backlog=backlog)
    subjects = [subject(number) for number in range(2000)]
    state.report(dict.fromkeys(subjects, FACTS[0]), heard=names)
    first = {its.address for its in subjects if state.address_report(its.address) is not None}
    assert hashed < 2000 * 10, "not every node for every address"
    looked_at = 0
    for lost in ("node-1", "node-50", "node-99"):
        names -= {lost}
        state.report({}, heard=names)
        hashed = 0
        state.doubt_what_was_left()
        items = [backlog.take() for _ in range(backlog.due())]
        assert 5 <= len(items) <= 60, "2000 addresses, 100 nodes: about 20"
        looked_at += len(items)
        for item in items:
            assert item is not None
            assert isinstance(item.what, Address)
            state.address_report(item.what)
        assert hashed < 1000
        state.doubt_what_was_left()
        assert backlog.due() == 0, "each once"
    assert len(first) < looked_at


def test_what_is_over_is_not_looked_at_when_a_node_is_lost() -> None:
    kept = Predecessors(node=OWN)
    kept.hear(frozenset(NODES))
    addresses = [subject(number).address for number in range(100)]
    for address in addresses:
        kept.is_first(address)
    for address in addresses:
        kept.forget(address)
    kept.hear(frozenset({OWN}))
    assert kept.take_left() == []

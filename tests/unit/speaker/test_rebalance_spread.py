"""Rebalancing: as even as single moves make it, only to nodes that may, and nothing moves that need not."""

from __future__ import annotations

from collections import Counter

import hypothesis.strategies as st
from hypothesis import given

from allocator.core.addresses import Address
from speaker.rebalance.spread import Group, Move, all_to, skew, spread_evenly

NODES = ["a", "b", "c", "d"]


@st.composite
def _groups(draw: st.DrawFn) -> list[Group]:
    found = []
    number = 0
    for size in draw(st.lists(st.integers(1, 2), max_size=14)):
        nodes = draw(st.frozensets(st.sampled_from(NODES), max_size=4))
        addresses = tuple(Address.parse(f"10.0.0.{number + one}") for one in range(size))
        found.append(Group(addresses=addresses, holder=draw(st.sampled_from(NODES)), nodes=nodes))
        number += size
    return found


def _counts(groups: list[Group], moves: tuple[Move, ...]) -> Counter[str]:
    target = {move.addresses: move.target for move in moves}
    counts = Counter(dict.fromkeys(NODES, 0))
    for group in groups:
        counts[target.get(group.addresses, group.holder)] += len(group.addresses)
    return counts


@given(_groups())
def test_no_single_move_would_make_it_more_even(groups: list[Group]) -> None:
    moves = spread_evenly(groups, movable=groups)

    counts = _counts(groups, moves)
    target = {move.addresses: move.target for move in moves}
    for group in groups:
        at = target.get(group.addresses, group.holder)
        assert all(counts[at] - counts[node] <= len(group.addresses) for node in group.nodes)


@given(_groups())
def test_only_to_nodes_that_may_and_only_where_it_helps(groups: list[Group]) -> None:
    moves = spread_evenly(groups, movable=groups)

    by_addresses = {group.addresses: group for group in groups}
    for move in moves:
        group = by_addresses[move.addresses]
        assert (move.source, move.target in group.nodes) == (group.holder, True)
        assert move.source != move.target
    before, after = _counts(groups, ()), _counts(groups, moves)
    assert sum(count**2 for count in after.values()) <= sum(count**2 for count in before.values())
    assert not moves or before != after


@given(_groups(), st.data())
def test_what_may_not_be_moved_stays(groups: list[Group], data: st.DataObject) -> None:
    movable = [group for group in groups if data.draw(st.booleans())]

    moved = {move.addresses for move in spread_evenly(groups, movable=movable)}

    assert moved <= {group.addresses for group in movable}


def test_what_is_even_is_left_alone() -> None:
    groups = [
        Group(addresses=(Address.parse(f"10.0.0.{n}"),), holder=NODES[n % 3], nodes=frozenset(NODES[:3]))
        for n in range(10)
    ]
    assert spread_evenly(groups, movable=groups) == ()


def test_to_a_node_goes_what_it_may_announce() -> None:
    may = Group(addresses=(Address.parse("10.0.0.1"),), holder="a", nodes=frozenset("ab"))
    may_not = Group(addresses=(Address.parse("10.0.0.2"),), holder="a", nodes=frozenset("ac"))
    there = Group(addresses=(Address.parse("10.0.0.3"),), holder="b", nodes=frozenset("ab"))

    assert [move.addresses for move in all_to("b", [may, may_not, there])] == [may.addresses]


def test_the_skew_is_what_the_fullest_has_more_than_the_emptiest() -> None:
    assert skew([4, 1, 9]) == 8
    assert skew([]) == 0

"""Who announces: MetalLB's own answers, and what holds for any nodes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from allocator.core.addresses import Address, Family
from speaker.election.election import Contender, elect, rank

node_names = st.from_regex(r"[a-z][a-z0-9-]{0,8}", fullmatch=True)
nodes = st.lists(node_names, min_size=1, max_size=8, unique=True)
addresses = st.one_of(
    st.integers(0, 2**32 - 1).map(lambda value: Address(Family.IPV4, value)),
    st.integers(2**64, 2**128 - 1).map(lambda value: Address(Family.IPV6, value)),
)


@pytest.mark.parametrize(
    ("address", "prefix", "suffixes", "order"),
    [
        ("10.0.0.1", "node-", "abc", "bac"),
        ("10.0.0.2", "node-", "abc", "bca"),
        ("10.20.30.1", "iris", "12", "21"),
        ("10.20.30.2", "iris", "12", "12"),
        ("10.20.30.3", "iris", "12", "12"),
        ("10.20.30.4", "iris", "12", "21"),
        ("10.20.30.1", "node-", "ab", "ba"),
        ("10.20.30.1", "edge-", "ab", "ba"),
        ("10.0.0.1", "edge-", "ab", "ab"),
        ("192.168.1.1", "edge-", "ab", "ab"),
        ("192.168.1.240", "node", "12345", "53412"),
        ("192.168.1.241", "node", "12345", "14325"),
        ("fc00::1", "node", "12345", "43512"),
        ("2001:db8::a", "node", "12345", "34512"),
    ],
)
def test_the_order_is_metallbs(address: str, prefix: str, suffixes: str, order: str) -> None:
    ranking = rank(address=Address.parse(address), candidates=[prefix + suffix for suffix in suffixes])
    assert ranking == tuple(prefix + suffix for suffix in order)


@st.composite
def contenders(draw: st.DrawFn) -> list[Contender]:
    names = draw(nodes)
    small = st.integers(0, 2)
    ranking = rank(address=draw(addresses), candidates=names)
    return [
        Contender(node=name, handicap=draw(small), weight=draw(small), term=draw(st.integers(0, 3)))
        for name in ranking
    ]


def elected(among: Sequence[Contender]) -> str | None:
    winner = elect(among)
    return None if winner is None else winner.node


@given(addresses, nodes, st.randoms(use_true_random=False))
def test_the_order_in_which_nodes_are_learned_does_not_matter(
    address: Address,
    candidates: list[str],
    random: Random,
) -> None:
    shuffled = list(candidates)
    random.shuffle(shuffled)
    assert rank(address=address, candidates=shuffled) == rank(address=address, candidates=candidates)


@given(contenders(), st.data())
def test_a_node_that_was_not_elected_can_go_without_moving_the_address(
    among: list[Contender], data: st.DataObject
) -> None:
    loser = data.draw(st.sampled_from(among))
    remaining = [each for each in among if each is not loser]
    if elected(among) != loser.node:
        assert elected(remaining) == elected(among)


@given(contenders())
def test_who_was_elected_and_claims_with_a_term_above_all_stays_elected(among: list[Contender]) -> None:
    winner = elect(among)
    assert winner is not None
    claimed = replace(winner, term=max(each.term for each in among) + 1)
    assert elect([claimed if each is winner else each for each in among]) == claimed


@given(contenders(), st.data())
def test_a_holder_stays_unless_another_outdoes_it_in_handicap_or_weight(
    among: list[Contender], data: st.DataObject
) -> None:
    holder = data.draw(st.sampled_from(among))
    claimed = replace(holder, term=9)
    winner = elect([claimed if each is holder else each for each in among])
    assert winner is not None
    better = (winner.handicap, -winner.weight) < (holder.handicap, -holder.weight)
    assert winner == claimed or better


@given(contenders())
def test_the_least_handicapped_come_first_then_the_heaviest_then_the_latest_holder_then_the_rank(
    among: list[Contender],
) -> None:
    winner = elect(among)
    assert winner is not None
    best = min((each.handicap, -each.weight, -each.term) for each in among)
    assert winner == next(each for each in among if (each.handicap, -each.weight, -each.term) == best)


def test_without_candidates_nobody_is_elected() -> None:
    assert elect([]) is None


def test_addresses_nobody_holds_yet_spread_over_the_nodes() -> None:
    candidates = [f"node-{index}" for index in range(4)]
    winners = [
        rank(address=Address(Family.IPV4, 0xC0A80000 + value), candidates=candidates)[0] for value in range(1000)
    ]
    assert all(winners.count(node) > 150 for node in candidates)

"""Who announces: MetalLB's own answers, and what holds for any nodes."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from allocator.core.addresses import Address, Family
from speaker.election import elect, first_alive, rank

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


@given(addresses, nodes, st.randoms(use_true_random=False))
def test_the_order_in_which_nodes_are_learned_does_not_matter(
    address: Address,
    candidates: list[str],
    random: object,
) -> None:
    shuffled = list(candidates)
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    assert rank(address=address, candidates=shuffled) == rank(address=address, candidates=candidates)
    assert elect(address=address, candidates=shuffled) == elect(address=address, candidates=candidates)


@given(addresses, nodes, st.data())
def test_a_node_that_was_not_elected_can_leave_without_moving_the_address(
    address: Address, candidates: list[str], data: st.DataObject
) -> None:
    winner = elect(address=address, candidates=candidates)
    loser = data.draw(st.sampled_from(candidates))
    remaining = [node for node in candidates if node != loser]
    after = elect(address=address, candidates=remaining)
    assert after == winner if loser != winner else after != loser


@given(addresses, nodes, node_names)
def test_a_node_that_joins_takes_an_address_or_leaves_it_where_it_is(
    address: Address, candidates: list[str], newcomer: str
) -> None:
    before = elect(address=address, candidates=candidates)
    after = elect(address=address, candidates=[*candidates, newcomer])
    assert after in (before, newcomer)


@given(addresses, nodes, st.data())
def test_a_prepared_ranking_gives_the_same_answer_as_an_election_among_the_living(
    address: Address, candidates: list[str], data: st.DataObject
) -> None:
    alive = data.draw(st.sets(st.sampled_from(candidates)))
    assert first_alive(rank(address=address, candidates=candidates), alive) == elect(
        address=address, candidates=alive
    )


@given(addresses, nodes, st.data())
def test_the_holder_stays_while_nobody_outweighs_it(
    address: Address, candidates: list[str], data: st.DataObject
) -> None:
    weights = data.draw(st.dictionaries(st.sampled_from(candidates), st.integers(0, 3)))
    holder = data.draw(st.sampled_from(candidates))
    elected = elect(address=address, candidates=candidates, weights=weights, holder=holder)
    heaviest = max(weights.get(node, 0) for node in candidates)
    assert elected is not None
    assert weights.get(elected, 0) == heaviest
    if weights.get(holder, 0) == heaviest:
        assert elected == holder
    assert elect(address=address, candidates=candidates, weights=weights, holder="gone") == elect(
        address=address, candidates=candidates, weights=weights
    )


def test_without_candidates_nobody_is_elected() -> None:
    assert elect(address=Address.parse("192.0.2.1"), candidates=[]) is None


def test_addresses_spread_over_the_nodes() -> None:
    candidates = [f"node-{index}" for index in range(4)]
    winners = [
        elect(address=Address(Family.IPV4, 0xC0A80000 + value), candidates=candidates) for value in range(1000)
    ]
    assert all(winners.count(node) > 150 for node in candidates)

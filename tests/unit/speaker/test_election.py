"""Who announces: MetalLB's own answers, and what holds for any nodes."""

from __future__ import annotations

from dataclasses import replace
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from allocator.core.addresses import Address, Family
from speaker.election.election import Precedence, rank

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
    random: Random,
) -> None:
    shuffled = list(candidates)
    random.shuffle(shuffled)
    assert rank(address=address, candidates=shuffled) == rank(address=address, candidates=candidates)


@st.composite
def precedences(draw: st.DrawFn) -> Precedence:
    small = st.integers(0, 2)
    return Precedence(
        handicap=draw(small),
        apart=draw(st.booleans()),
        offered=draw(st.booleans()),
        lesser_side=-draw(small),
        lesser_weight=-draw(small),
        term=draw(small),
        rank=draw(st.binary(min_size=1, max_size=1)),
    )


CLAIM = Precedence(handicap=0, apart=False, offered=False, lesser_side=-2, lesser_weight=0, term=5, rank=b"1")


@given(st.lists(precedences(), min_size=2, max_size=5), st.data())
def test_a_claim_that_does_not_hold_can_go_without_the_holder_changing(
    claims: list[Precedence], data: st.DataObject
) -> None:
    loser = data.draw(st.sampled_from(claims))
    holder = min(claims)
    remaining = [claim for claim in claims if claim is not loser]
    if loser != holder:
        assert min(remaining) == holder


@pytest.mark.parametrize(
    ("holder", "other"),
    [
        (CLAIM, replace(CLAIM, handicap=1, lesser_side=-5, term=1)),
        (replace(CLAIM, offered=True), replace(CLAIM, apart=True, lesser_side=-5, term=1)),
        (CLAIM, replace(CLAIM, offered=True, lesser_side=-5, term=1)),
        (replace(CLAIM, lesser_side=-3), replace(CLAIM, lesser_weight=-10, term=1)),
        (replace(CLAIM, lesser_weight=-10), replace(CLAIM, term=1)),
        (CLAIM, replace(CLAIM, term=6)),
        (CLAIM, replace(CLAIM, rank=b"2")),
    ],
    ids=[
        "less against it",
        "not apart",
        "not offered",
        "the larger side",
        "preferred",
        "the holder before the cut",
        "the rank",
    ],
)
def test_of_two_claims_that_meet(holder: Precedence, other: Precedence) -> None:
    assert holder < other


def test_addresses_nobody_holds_yet_spread_over_the_nodes() -> None:
    candidates = [f"node-{index}" for index in range(4)]
    winners = [
        rank(address=Address(Family.IPV4, 0xC0A80000 + value), candidates=candidates)[0] for value in range(1000)
    ]
    assert all(winners.count(node) > 150 for node in candidates)

"""Reservations: holders that admission wrote and whose Service was not seen. They age, also on shared claims."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from allocator.core import lifecycle
from allocator.core.addresses import Address, Family
from allocator.core.claims import Claim, ClaimState, Holder
from allocator.core.ledger import Ledger

HOLDERS = st.builds(
    Holder,
    namespace=st.sampled_from(["a", "b"]),
    name=st.sampled_from(["", "web", "api"]),
    uid=st.sampled_from([None, "1"]),
    since=st.sampled_from(["2026-01-01T00:00:00.000000Z", "2026-01-01T00:00:10.000000Z"]),
)
LATER = "2026-01-01T00:00:05.000000Z"


def claim_of(*holders: Holder, value: int = 1, state: ClaimState = ClaimState.TENTATIVE) -> Claim:
    return Claim(address=Address(Family.IPV4, value), pool="p", state=state, holders=holders)


@given(st.lists(HOLDERS, min_size=1, max_size=4, unique=True))
def test_what_is_left_without_expired_holders_has_none_and_lost_no_other(holders: list[Holder]) -> None:
    claim = claim_of(*holders)
    gone = lifecycle.expired(claim, before=LATER)
    assert set(gone) == {one for one in holders if one.uid is None and one.since < LATER}
    left = lifecycle.drop(claim, gone)
    rest = tuple(one for one in holders if one not in gone)
    assert (left.holders if left is not None else ()) == rest
    if left is not None:
        bound = any(one.uid for one in rest)
        assert left.state is (ClaimState.BOUND if bound else ClaimState.TENTATIVE)


def test_the_last_holders_of_a_cooling_claim_are_no_reservation() -> None:
    claim = claim_of(Holder(namespace="a", name="web", since="2026"), state=ClaimState.COOLING)
    assert lifecycle.expired(claim, before=LATER) == ()


@given(
    st.lists(
        st.tuples(st.integers(1, 4), st.sampled_from(ClaimState), st.lists(HOLDERS, max_size=3, unique=True)),
        max_size=12,
    )
)
def test_the_index_of_reservations_lists_what_a_search_over_all_claims_finds(
    steps: list[tuple[int, ClaimState, list[Holder]]],
) -> None:
    ledger = Ledger()
    for value, state, holders in steps:
        if holders:
            ledger.put(claim_of(*holders, value=value, state=state))
        else:
            ledger.discard(Address(Family.IPV4, value))
    for namespace in ("a", "b"):
        plain = [
            (holder, claim)
            for claim in ledger
            if claim.in_use
            for holder in claim.holders
            if holder.uid is None and holder.namespace == namespace
        ]
        found = ledger.unbound_in(namespace)
        assert sorted(map(repr, found)) == sorted(map(repr, plain))
        assert ledger.unbound_count(namespace) == len(plain)
    assert {one.address for one in ledger.unbound()} == {
        one.address for one in ledger if one.in_use and any(holder.uid is None for holder in one.holders)
    }

"""The index over claims answers as a plain search over all of them would."""

from hypothesis import given, settings
from hypothesis import strategies as st

from allocator.core.addresses import Address, Family
from allocator.core.claims import Claim, ClaimState, Holder
from allocator.core.ledger import Ledger

VALUES = st.integers(0, 40)


@settings(max_examples=200)
@given(st.lists(st.tuples(st.booleans(), VALUES), max_size=60), VALUES)
def test_next_unclaimed_is_the_first_value_no_claim_stands_on(steps: list[tuple[bool, int]], start: int) -> None:
    book, plain = Ledger(), set()
    for puts, value in steps:
        address = Address(Family.IPV4, value)
        if puts:
            book.put(_claim(address))
            plain.add(value)
        else:
            book.discard(address)
            plain.discard(value)
    assert book.next_unclaimed(Family.IPV4, start) == next(v for v in range(start, 100) if v not in plain)
    assert book.next_unclaimed(Family.IPV6, start) == start
    assert {claim.address.value for claim in book} == plain


def test_a_claim_put_again_replaces_all_that_was_indexed_of_it() -> None:
    book, address = Ledger(), Address.parse("10.0.0.1")
    book.put(_claim(address, name="old", key="k"))
    book.put(_claim(address, name="new"))
    assert book.held_by("ns", "old") == []
    assert book.shared_under("k") == []
    assert [claim.address for claim in book.held_by("ns", "new")] == [address]


def test_an_unnamed_holder_is_nobody_yet() -> None:
    book = Ledger()
    book.put(_claim(Address.parse("10.0.0.1"), name=""))
    assert book.held_by("ns", "") == []


def _claim(address: Address, *, name: str = "svc", key: str = "") -> Claim:
    holder = Holder(namespace="ns", name=name, sharing_key=key)
    return Claim(address=address, pool="a", state=ClaimState.BOUND, holders=(holder,), version="1")

"""Who has to go when too many connections wait."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from allocator.process.connection_limits import PER_KNOWN_PEER, PER_PEER, TOTAL, ConnectionLimits, peer_of


def test_the_oldest_of_a_peer_goes_for_one_too_many_of_its_own() -> None:
    limits = ConnectionLimits()
    assert [limits.add(number, "192.0.2.1") for number in range(PER_PEER)] == [None] * PER_PEER
    assert limits.add("next", "192.0.2.1") == 0
    assert limits.add("another", "192.0.2.1") == 1
    assert limits.add("neighbour", "192.0.2.2") is None


def test_whoever_holds_most_gives_way_to_a_newcomer() -> None:
    limits = ConnectionLimits()
    for number in range(TOTAL):
        limits.add(number, f"192.0.2.{number % 5 + 1}")
    assert limits.add("newcomer", "198.51.100.1") in range(TOTAL)
    assert len(limits) == TOTAL


def test_a_known_address_neither_waits_for_others_nor_makes_them_go() -> None:
    limits = ConnectionLimits()
    limits.know("192.0.2.9")
    for number in range(TOTAL):
        limits.add(number, f"192.0.2.{number % 5 + 1}")
    assert [limits.add(("api", number), "192.0.2.9") for number in range(PER_KNOWN_PEER)] == [None] * PER_KNOWN_PEER
    assert limits.add("api", "192.0.2.9") == ("api", 0)


def test_what_is_removed_makes_room() -> None:
    limits = ConnectionLimits()
    for number in range(PER_PEER):
        limits.add(number, "192.0.2.1")
    limits.remove(3)
    limits.remove(3)
    assert limits.add("next", "192.0.2.1") is None


@pytest.mark.parametrize(
    ("address", "peer"),
    [
        ("192.0.2.1", "192.0.2.1"),
        ("::ffff:192.0.2.1", "192.0.2.1"),
        ("2001:db8::1", "2001:db8::/64"),
        ("2001:db8::ffff:ffff:ffff:ffff", "2001:db8::/64"),
        ("2001:db8:0:1::1", "2001:db8:0:1::/64"),
        ("fe80::1%eth0", "fe80::/64"),
        ("", ""),
    ],
)
def test_a_host_with_many_addresses_is_one_peer(address: str, peer: str) -> None:
    assert peer_of(address) == peer


_STEPS = st.lists(
    st.tuples(st.sampled_from(["add", "remove", "know"]), st.integers(0, 200), st.integers(0, 9)), max_size=300
)


@given(_STEPS)
def test_the_bounds_hold_and_a_newcomer_is_always_let_in(steps: list[tuple[str, int, int]]) -> None:
    limits, held, known = ConnectionLimits(), dict[int, str](), set[str]()
    for step, (what, connection, host) in enumerate(steps):
        address = f"192.0.2.{host}"
        if what == "add":
            evicted = limits.add(step, address)
            assert evicted != step
            held[step] = address
            if evicted is not None:
                assert isinstance(evicted, int)
                del held[evicted]
        elif what == "remove":
            limits.remove(connection)
            held.pop(connection, None)
        else:
            limits.know(address)
            known.add(address)
        assert len(limits) == len(held)
        added_unknown = [one for one in held.values() if one not in known]
        assert len(added_unknown) <= TOTAL
        assert all(added_unknown.count(one) <= PER_PEER for one in added_unknown)

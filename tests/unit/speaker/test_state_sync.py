"""What a speaker advertises of itself, and how it reaches the others: whole, in changes, in pieces."""

from __future__ import annotations

from collections.abc import Sequence
from copy import copy
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from allocator.core.addresses import Address, Family
from speaker.membership.link import Link, Subnet
from speaker.membership.state_sync import (
    CHANGES_KEPT,
    CHUNK_BYTES,
    MAXIMUM_TERM,
    NOTHING,
    AdvertisedState,
    Chunk,
    Claim,
    MalformedState,
    ReceivedState,
    SentState,
)

addresses = st.one_of(
    st.integers(0, 2**32 - 1).map(lambda value: Address(Family.IPV4, value)),
    # IPv4-mapped ones are no IPv6 addresses to us.
    st.integers(0, 2**128 - 1)
    .filter(lambda value: value >> 32 != 0xFFFF)
    .map(lambda value: Address(Family.IPV6, value)),
)
subnets = st.builds(lambda address, length: Subnet.parse(f"{address}/{length}"), addresses, st.integers(0, 32))
links = st.builds(
    Link,
    name=st.text(min_size=1, max_size=15),
    mac=st.binary(min_size=6, max_size=6),
    lost=st.booleans(),
    cut_off=st.booleans(),
    addresses=st.lists(addresses, max_size=2).map(tuple),
    subnets=st.lists(subnets, max_size=2).map(tuple),
    default_route=st.booleans(),
    ipv6=st.booleans(),
)
claims = st.builds(Claim, term=st.integers(1, MAXIMUM_TERM), offered=st.booleans(), apart=st.booleans())
names = st.sampled_from(["node-1", "node-2"])


def state(
    claims: dict[Address, Claim],
    probed: frozenset[Address],
    helped: dict[Address, str],
    links: tuple[Link, ...],
    hears: frozenset[str],
    lans: dict[Subnet, frozenset[str]],
    booting: bool,
    named: dict[Address, str],
    behind: dict[str, frozenset[str]],
) -> AdvertisedState:
    """A state as speakers have them: what is claimed is not probed for."""
    return AdvertisedState(
        claims=claims,
        probed=probed - claims.keys(),
        helped=helped,
        links=links,
        hears=hears,
        lans=lans,
        booting=booting,
        named=named,
        behind=behind,
    )


states = st.builds(
    state,
    claims=st.dictionaries(addresses, claims, max_size=5),
    probed=st.frozensets(addresses, max_size=3),
    helped=st.dictionaries(addresses, names, max_size=3),
    links=st.lists(links, max_size=3).map(tuple),
    hears=st.frozensets(names),
    lans=st.dictionaries(subnets, st.frozensets(names), max_size=2),
    booting=st.booleans(),
    named=st.dictionaries(addresses, names, max_size=3),
    behind=st.dictionaries(names, st.frozensets(names)),
)


def deliver(chunks: Sequence[Chunk], received: ReceivedState) -> bool:
    """Hand over all chunks; tell whether they completed something."""
    return any([received.take(chunk) for chunk in chunks])


@given(st.lists(states, max_size=8), st.data())
def test_a_listener_that_misses_versions_catches_up_from_whichever_it_has(
    advertised: list[AdvertisedState], data: st.DataObject
) -> None:
    """Also from an older one: of a listener that is not heard the sender knows only which it once had."""
    sent, received = SentState(), ReceivedState()
    for each in advertised:
        sent.advertise(each)
        if data.draw(st.booleans()):
            base = data.draw(st.just(received.version) | st.integers(0, received.version))
            deliver(sent.since(base), received)
            assert (received.version, received.state) == (sent.version, sent.state)
    deliver(sent.since(received.version), received)
    assert (received.version, received.state) == (sent.version, sent.state)
    assert sent.since(received.version) == []


@given(st.lists(st.frozensets(st.integers(1, 4)), max_size=12), st.data())
def test_a_claim_that_is_given_up_is_noticed_by_whoever_missed_that_there_was_one(
    claimed: list[frozenset[int]], data: st.DataObject
) -> None:
    sent, received = SentState(), ReceivedState()
    since: set[Address] = set()
    for numbers in claimed:
        current = {Address(Family.IPV4, number): Claim(term=1) for number in numbers}
        sent.advertise(AdvertisedState(claims=current))
        since |= current.keys()
        if data.draw(st.booleans()) and deliver(sent.since(received.version), received):
            assert received.let_go >= since - current.keys()
            assert received.let_go.isdisjoint(current)
            since = set(current)


def test_where_too_much_was_missed_for_that_it_is_known_that_it_was() -> None:
    sent, received = SentState(), ReceivedState()
    sent.advertise(many(3))
    deliver(sent.since(0), received)
    for count in range(CHANGES_KEPT + 1):
        sent.advertise(many(1 + count % 2))
    deliver(sent.since(received.version), received)
    assert received.missed
    assert received.let_go == {Address(Family.IPV4, 1), Address(Family.IPV4, 2)}
    for count in range(CHANGES_KEPT):
        sent.advertise(many(2 - count % 2))
    for known in (received.version, 0):
        again = copy(received)
        deliver(sent.since(known), again)
        assert not again.missed, known
        assert again.let_go == {Address(Family.IPV4, 1)}, "also where the sender takes this node for a new one"


def test_what_was_only_probed_was_never_let_go() -> None:
    """Else each candidate that is about to ask for an address, and need not, has its holder announce it twice."""
    sent, received = SentState(), ReceivedState()
    probing = AdvertisedState(claims=many(1).claims, probed=frozenset({Address(Family.IPV4, 9)}))
    for state in (many(1), probing, many(1)):
        sent.advertise(state)
        deliver(sent.since(received.version), received)
        assert received.let_go == set()
    sent.advertise(AdvertisedState(probed=frozenset({Address(Family.IPV4, 0)})))
    deliver(sent.since(received.version), received)
    assert received.let_go == {Address(Family.IPV4, 0)}


def test_the_same_again_is_no_new_version() -> None:
    sent = SentState()
    each = AdvertisedState(claims={Address.parse("192.0.2.1"): Claim(term=1)})
    assert sent.advertise(each)
    assert not sent.advertise(AdvertisedState(claims=dict(each.claims)))
    assert sent.version == 1


def many(count: int) -> AdvertisedState:
    return AdvertisedState(claims={Address(Family.IPV4, value): Claim(term=1) for value in range(count)})


def test_one_address_more_among_a_thousand_is_one_small_chunk() -> None:
    sent = SentState()
    sent.advertise(many(1000))
    sent.advertise(many(1001))
    (change,) = sent.since(1)
    assert len(change.data) < 30
    assert len(sent.since(0)) > 5
    assert all(len(chunk.data) <= CHUNK_BYTES for chunk in sent.since(0))


def test_changes_long_forgotten_are_replaced_by_the_whole() -> None:
    sent = SentState()
    for count in range(600):
        sent.advertise(many(count))
    assert sent.since(3)[0].base == 0
    received = ReceivedState()
    assert deliver(sent.since(3), received)
    assert received.state == many(599)


def test_whatever_versions_listeners_say_they_have_no_more_is_kept_for_them_than_there_were() -> None:
    sent = SentState()
    for count in range(600):
        sent.advertise(many(count))
    whole = sent.since(0)
    assert all(sent.since(version) is whole for version in (1, 2, 3, sent.version + 1, 2**63))
    assert sent.since(sent.version - 1) is sent.since(sent.version - 1)
    assert sent.since(sent.version - 1) is not whole


def test_pieces_may_come_in_any_order_and_twice() -> None:
    sent, received = SentState(), ReceivedState()
    sent.advertise(many(500))
    pieces = sent.since(0)
    assert len(pieces) > 2
    assert deliver([pieces[0], *reversed(pieces)], received)
    assert received.state == sent.state


def test_pieces_of_different_versions_do_not_mix() -> None:
    sent, received = SentState(), ReceivedState()
    sent.advertise(many(500))
    first = sent.since(0)
    sent.advertise(many(600))
    deliver([*first[:-1], *sent.since(0)], received)
    assert received.state == many(600)


def test_a_change_from_a_version_the_listener_does_not_have_is_passed_over() -> None:
    sent, received = SentState(), ReceivedState()
    sent.advertise(many(1))
    sent.advertise(many(2))
    assert not deliver(sent.since(1), received)
    assert received.state == NOTHING


@given(st.binary(max_size=60))
def test_garbage_is_refused_and_nothing_worse(data: bytes) -> None:
    received = ReceivedState()
    try:
        received.take(Chunk(base=0, version=1, index=0, count=1, data=data))
    except MalformedState:
        assert received.version == 0


def test_a_state_that_ends_too_early_is_malformed() -> None:
    with pytest.raises(MalformedState):
        ReceivedState().take(Chunk(base=0, version=1, index=0, count=1, data=b"\x00\x01"))


def test_a_record_of_an_unknown_type_is_skipped() -> None:
    sent, received = SentState(), ReceivedState()
    sent.advertise(many(2))
    (chunk,) = sent.since(0)
    received.take(replace(chunk, data=b"\xc8\x00\x00\x00\x03new" + chunk.data))
    assert received.state == sent.state


def test_what_did_not_change_is_not_sent_again() -> None:
    sent = SentState()
    names = frozenset(f"node-{number}" for number in range(100))
    sent.advertise(AdvertisedState(hears=names))
    sent.advertise(AdvertisedState(hears=names, claims={Address.parse("192.0.2.1"): Claim(term=1)}))
    (change,) = sent.since(1)
    assert len(change.data) < 30

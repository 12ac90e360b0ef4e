"""What a speaker states about itself, and how it reaches the others: whole, in changes, in pieces."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from allocator.core.addresses import Address, Family
from speaker.membership.state_sync import (
    CHUNK_BYTES,
    NOTHING,
    Chunk,
    Heard,
    Link,
    MalformedStatement,
    Spoken,
    Statement,
)

addresses = st.one_of(
    st.integers(0, 2**32 - 1).map(lambda value: Address(Family.IPV4, value)),
    st.integers(0, 2**128 - 1).map(lambda value: Address(Family.IPV6, value)),
)
links = st.builds(
    Link, name=st.text(min_size=1, max_size=15), mac=st.binary(min_size=6, max_size=6), lost=st.booleans()
)


def statement(
    claims: dict[Address, int], asked: frozenset[Address], lenders: dict[Address, str], links: tuple[Link, ...]
) -> Statement:
    """A statement as speakers make them: what is claimed is not asked for."""
    return Statement(claims=claims, asked=asked - claims.keys(), lenders=lenders, links=links)


statements = st.builds(
    statement,
    claims=st.dictionaries(addresses, st.integers(1, 2**32 - 2), max_size=5),
    asked=st.frozensets(addresses, max_size=3),
    lenders=st.dictionaries(addresses, st.sampled_from(["node-1", "node-2"]), max_size=3),
    links=st.lists(links, max_size=3).map(tuple),
)


def deliver(chunks: Sequence[Chunk], heard: Heard) -> bool:
    """Hand over all chunks; tell whether they completed something."""
    return any([heard.take(chunk) for chunk in chunks])


@given(st.lists(statements, max_size=8), st.data())
def test_a_listener_that_misses_versions_catches_up_from_whichever_it_has(
    told: list[Statement], data: st.DataObject
) -> None:
    spoken, heard = Spoken(), Heard()
    for statement in told:
        spoken.state(statement)
        if data.draw(st.booleans()):
            deliver(spoken.since(heard.version), heard)
            assert heard.statement == spoken.statement
    deliver(spoken.since(heard.version), heard)
    assert (heard.version, heard.statement) == (spoken.version, spoken.statement)
    assert spoken.since(heard.version) == []


def test_saying_the_same_again_is_no_news() -> None:
    spoken = Spoken()
    statement = Statement(claims={Address.parse("192.0.2.1"): 1})
    assert spoken.state(statement)
    assert not spoken.state(Statement(claims=dict(statement.claims)))
    assert spoken.version == 1


def many(count: int) -> Statement:
    return Statement(claims={Address(Family.IPV4, value): 1 for value in range(count)})


def test_one_address_more_among_a_thousand_is_one_small_chunk() -> None:
    spoken = Spoken()
    spoken.state(many(1000))
    spoken.state(many(1001))
    (change,) = spoken.since(1)
    assert len(change.data) < 30
    assert len(spoken.since(0)) > 5
    assert all(len(chunk.data) <= CHUNK_BYTES for chunk in spoken.since(0))


def test_changes_long_forgotten_are_replaced_by_the_whole() -> None:
    spoken = Spoken()
    for count in range(600):
        spoken.state(many(count))
    assert spoken.since(3)[0].base == 0
    heard = Heard()
    assert deliver(spoken.since(3), heard)
    assert heard.statement == many(599)


def test_pieces_may_come_in_any_order_and_twice() -> None:
    spoken, heard = Spoken(), Heard()
    spoken.state(many(500))
    pieces = spoken.since(0)
    assert len(pieces) > 2
    assert deliver([pieces[0], *reversed(pieces)], heard)
    assert heard.statement == spoken.statement


def test_pieces_of_different_versions_do_not_mix() -> None:
    spoken, heard = Spoken(), Heard()
    spoken.state(many(500))
    first = spoken.since(0)
    spoken.state(many(600))
    deliver([*first[:-1], *spoken.since(0)], heard)
    assert heard.statement == many(600)


def test_a_change_from_a_version_the_listener_does_not_have_is_passed_over() -> None:
    spoken, heard = Spoken(), Heard()
    spoken.state(many(1))
    spoken.state(many(2))
    assert not deliver(spoken.since(1), heard)
    assert heard.statement == NOTHING


@given(st.binary(max_size=60))
def test_garbage_is_refused_and_nothing_worse(data: bytes) -> None:
    heard = Heard()
    try:
        heard.take(Chunk(base=0, version=1, index=0, count=1, data=data))
    except MalformedStatement:
        assert heard.version == 0


def test_a_statement_that_ends_too_early_is_malformed() -> None:
    with pytest.raises(MalformedStatement):
        Heard().take(Chunk(base=0, version=1, index=0, count=1, data=b"\x00\x01"))

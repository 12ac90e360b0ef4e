"""Addresses that foreign hosts answer for: never given automatically, marked by the handful, nothing left over."""

from __future__ import annotations

from dataclasses import replace

import hypothesis.strategies as st
from hypothesis import given, settings

from allocator.core import lifecycle
from allocator.core.addresses import Address, Family
from allocator.core.claims import TRANSITIONS, Claim, ClaimState, ForeignHost
from allocator.core.conflicts import (
    ADDRESSES_OF_ONE_HOST,
    MARKED_AT_MOST,
    NEXT_ADDRESSES,
    Judgement,
    judge,
    next_addresses,
    orphaned,
)
from allocator.core.decision import decide
from allocator.core.ledger import Ledger
from allocator.core.pools import Pool
from allocator.core.search import next_free
from allocator.core.usage import usage_of
from allocator.core.verdicts import NoteKind, Outcome
from tests.unit.core.builders import apply, ask, claim, ledger, pool
from tests.unit.core.builders import given as placed
from tests.unit.effort import examples

P = pool("p", "10.0.0.1-10.0.0.40", reuse_delay_seconds=60)


def ip(text: str) -> Address:
    return Address.parse(text)


def host(number: int) -> ForeignHost:
    return ForeignHost(mac=f"02:00:00:00:00:{number:02x}", node="n1", interface="eth0")


def carry_out(book: Ledger, judgement: Judgement) -> None:
    """What the reconciler does with it."""
    for one in judgement.marked:
        book.put(replace(one, version="1"))
    for one in judgement.freed:
        book.discard(one.address)


def reviewed(book: Ledger, answers: dict[str, ForeignHost], one: Pool = P, *, announced: bool = True) -> Judgement:
    heard = {ip(text): who for text, who in answers.items()}
    judgement = judge(one, heard, announced=announced, ledger=book, now="t1")
    carry_out(book, judgement)
    return judgement


def conflicted(book: Ledger) -> list[str]:
    return [str(one.address) for one in book.conflicted()]


def test_an_address_that_a_foreign_host_answers_for_is_marked_and_the_next_one_given() -> None:
    book = Ledger()
    reviewed(book, {"10.0.0.1": host(1)})

    assert conflicted(book) == ["10.0.0.1"]
    assert placed(decide(ask(), pools=[P], ledger=book)) == ["10.0.0.2"]


def test_it_is_given_again_once_nobody_answers_for_it() -> None:
    book = Ledger()
    reviewed(book, {"10.0.0.1": host(1)})
    reviewed(book, {})

    assert conflicted(book) == []
    assert placed(decide(ask(), pools=[P], ledger=book)) == ["10.0.0.1"]


def test_who_asks_for_it_has_it_and_is_warned() -> None:
    book = Ledger()
    reviewed(book, {"10.0.0.1": host(1)})
    request = ask(pins=("10.0.0.1",))
    decision = decide(request, pools=[P], ledger=book)

    assert decision.outcome is Outcome.ASSIGNED
    assert [note.kind for note in decision.notes] == [NoteKind.CONFLICTED]
    assert "02:00:00:00:00:01 (heard by node n1 on eth0)" in decision.warnings[0]
    apply(decision, request, book)
    taken = book.at(ip("10.0.0.1"))
    assert taken is not None
    assert (taken.state, taken.foreign_host, taken.conflicted_at) == (ClaimState.BOUND, None, "")
    assert conflicted(book) == []


def test_what_a_status_shows_is_taken_over_though_a_foreign_host_answers() -> None:
    book = Ledger()
    reviewed(book, {"10.0.0.1": host(1)})

    assert placed(decide(ask(status_addresses=("10.0.0.1",)), pools=[P], ledger=book)) == ["10.0.0.1"]


def test_an_address_in_use_is_never_marked() -> None:
    book = ledger(claim("10.0.0.1", "p"))
    judgement = reviewed(book, {"10.0.0.1": host(1)})

    assert (judgement.marked, judgement.outdated) == ((), (ip("10.0.0.1"),))
    assert lifecycle.mark(book.at(ip("10.0.0.1")), address=ip("10.0.0.1"), pool="p", host=host(1), now="t") is None


def test_a_cooling_address_is_marked_where_it_comes_next_and_its_last_holder_gets_another() -> None:
    small = pool("p", "10.0.0.1-10.0.0.2")
    book = ledger(claim("10.0.0.1", "p", ask(), cooling_since="t0"))
    reviewed(book, {"10.0.0.1": host(1)}, small)

    assert conflicted(book) == ["10.0.0.1"]
    assert placed(decide(ask(), pools=[small], ledger=book)) == ["10.0.0.2"]


def test_a_host_that_answers_for_more_than_three_is_a_router_and_nothing_is_marked() -> None:
    book = Ledger()
    answers = {f"10.0.0.{number}": host(9) for number in range(1, ADDRESSES_OF_ONE_HOST + 1)}
    reviewed(book, answers)
    assert len(conflicted(book)) == ADDRESSES_OF_ONE_HOST

    judgement = reviewed(book, {**answers, "10.0.0.4": host(9), "10.0.0.5": host(5)})

    assert judgement.proxies == (host(9).mac,)
    assert conflicted(book) == ["10.0.0.5"]
    # What it answers for is asked about still, so that it stays known for what it is.
    assert reviewed(book, {**answers, "10.0.0.4": host(9), "10.0.0.5": host(5)}).proxies == (host(9).mac,)


def test_no_report_however_forged_marks_more_than_the_bound() -> None:
    book = Ledger()
    forged = {f"10.0.0.{number}": host(number) for number in range(1, 41)}
    for _ in range(10):
        judgement = reviewed(book, forged)

    assert len(conflicted(book)) == MARKED_AT_MOST
    assert len(judgement.unmarked) == NEXT_ADDRESSES
    assert placed(decide(ask(), pools=[P], ledger=book)) == ["10.0.0.17"]


def test_the_reasons_of_a_full_pool_name_who_has_the_addresses() -> None:
    small = pool("p", "10.0.0.1-10.0.0.2")
    book = ledger(claim("10.0.0.2", "p"))
    reviewed(book, {"10.0.0.1": host(1)}, small)
    refusal = decide(ask(), pools=[small], ledger=book).refusal

    assert refusal is not None
    assert "full, and other hosts answer for 1 of its addresses (10.0.0.1: 02:00:00:00:00:01" in refusal.message


def test_conflicted_addresses_are_not_available() -> None:
    book = ledger(claim("10.0.0.2", "p"))
    reviewed(book, {"10.0.0.1": host(1)})
    usage = usage_of({"p": P}, book)["p"]

    assert (usage.available(P, Family.IPV4), usage.assigned[Family.IPV4]) == (38, 1)


def test_nothing_stays_marked_without_layer_2_or_without_the_pool() -> None:
    book = Ledger()
    reviewed(book, {"10.0.0.1": host(1)})
    assert orphaned(book, {"p": P}) == ()
    assert [str(one.address) for one in orphaned(book, {})] == ["10.0.0.1"]

    reviewed(book, {"10.0.0.1": host(1)}, announced=False)

    assert conflicted(book) == []


@given(st.lists(st.integers(1, 40), unique=True, max_size=39), st.integers(0, 3))
def test_the_next_addresses_are_those_that_one_service_after_the_other_is_given(taken: list[int], cool: int) -> None:
    book = ledger(
        *(
            claim(f"10.0.0.{number}", "p", cooling_since=f"t{place}" if place < cool else "")
            for place, number in enumerate(taken)
        )
    )
    promised = next_addresses(P, book)
    assert len(promised) == min(NEXT_ADDRESSES, 40 - len(taken) + min(cool, len(taken)))
    for number, address in enumerate(promised):
        request = ask(f"new-{number}")
        decision = decide(request, pools=[P], ledger=book)
        assert placed(decision) == [str(address)]
        apply(decision, request, book)


def test_the_next_addresses_of_a_large_pool_cost_no_enumeration() -> None:
    wide = pool("wide", "2001:db8::/32", "10.0.0.0/8", avoid_buggy_ips=True)

    assert [str(one) for one in next_free(wide, Ledger(), Family.IPV6, count=2)] == ["2001:db8::1", "2001:db8::2"]
    assert [str(one) for one in next_free(wide, Ledger(), Family.IPV4, count=1)] == ["10.0.0.1"]


ADDRESSES = st.integers(1, 60).map(lambda number: ip(f"10.0.0.{number}"))
REPORTS = st.dictionaries(ADDRESSES, st.integers(0, 30).map(host), max_size=60)


@settings(max_examples=examples(200))
@given(st.lists(st.tuples(REPORTS, st.booleans(), st.booleans()), max_size=12))
def test_whatever_is_reported_no_marked_address_is_given_and_no_more_than_the_bound_marked(
    steps: list[tuple[dict[Address, ForeignHost], bool, bool]],
) -> None:
    book = Ledger()
    for step, (answers, announced, create) in enumerate(steps):
        may_be_marked = set(next_addresses(P, book)) | {one.address for one in book.conflicted()}
        before = {one.address: one for one in book if one.in_use}
        judgement = judge(P, answers, announced=announced, ledger=book, now=f"t{step}")
        carry_out(book, judgement)

        marked = {one.address for one in book.conflicted()}
        assert marked <= may_be_marked
        assert marked <= answers.keys()
        assert len(marked) <= MARKED_AT_MOST
        assert len(marked - {one.address for one in judgement.freed}) <= MARKED_AT_MOST
        assert announced or not marked
        assert {one.address: one for one in book if one.in_use} == before
        again = judge(P, answers, announced=announced, ledger=book, now="later")
        assert not marked or (again.freed == () or again.proxies)
        if create:
            request = ask(f"s{step}")
            decision = decide(request, pools=[P], ledger=book)
            assert not marked.intersection(place.address for place in decision.placements)
            assert decision.outcome is Outcome.ASSIGNED
            apply(decision, request, book)
    carry_out(book, judge(P, {}, announced=True, ledger=book, now="end"))
    assert book.conflicted() == []


def test_every_state_may_become_what_the_lifecycle_makes_of_it() -> None:
    seen: dict[ClaimState | None, set[ClaimState | None]] = {ClaimState.CONFLICTED: {None}}
    marked = lifecycle.mark(None, address=ip("10.0.0.1"), pool="p", host=host(1), now="t")
    assert marked is not None
    seen.setdefault(None, set()).add(marked.state)
    again = lifecycle.mark(marked, address=marked.address, pool="p", host=host(2), now="later")
    assert again is not None
    assert (again.conflicted_at, again.foreign_host) == ("t", host(2))
    seen[ClaimState.CONFLICTED].add(again.state)
    book = ledger(marked)
    (place,) = decide(ask(pins=("10.0.0.1",)), pools=[P], ledger=book).placements
    become: list[Claim] = [
        lifecycle.reserve(place, ask(), now="t2", renew_before="t1"),
        lifecycle.bind(place, ask(uid="u"), now="t2"),
    ]
    seen[ClaimState.CONFLICTED] |= {one.state for one in become}

    assert all(after <= TRANSITIONS[before] for before, after in seen.items())
    assert [one.foreign_host for one in become] == [None, None]


def test_the_subnet_router_anycast_address_is_none_of_the_next_when_it_cools() -> None:
    six = pool("six", "2001:db8::/126")
    book = ledger(*(claim(f"2001:db8::{last or ''}", "six", cooling_since=f"t{last}") for last in range(4)))
    assert [str(one) for one in next_addresses(six, book)] == ["2001:db8::1", "2001:db8::2", "2001:db8::3"]

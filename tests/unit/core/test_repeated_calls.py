"""A repeated admission of one request takes what the first one reserved, and nothing else."""

from __future__ import annotations

from dataclasses import replace

import pytest

from allocator.core import lifecycle
from allocator.core.claims import Claim, ClaimState
from allocator.core.decision import decide
from allocator.core.ledger import Ledger
from allocator.core.requests import ServiceRequest
from allocator.core.verdicts import How, Outcome
from tests.unit.core.builders import ask, given, ledger, pool

POOLS = [pool("main", "10.0.0.0/29"), pool("other", "10.0.1.0/29", auto_assign=False)]


def generated(**fields: object) -> ServiceRequest:
    return ask("", generate_name="web-", **fields)  # type: ignore[arg-type]


def with_quota(request: ServiceRequest, quota: int) -> ServiceRequest:
    return replace(request, applicant=replace(request.applicant, quota=quota))


def reserved(request: ServiceRequest, *claims: Claim) -> Ledger:
    """The ledger after the request was admitted once."""
    book = ledger(*claims)
    for place in decide(request, pools=POOLS, ledger=book).placements:
        book.put(lifecycle.reserve(place, request, now="t1", renew_before="t0"))
    return book


@pytest.mark.parametrize("sharing", ["", "key"])
def test_a_repeated_call_for_a_generated_name_takes_the_first_ones_reservation(sharing: str) -> None:
    first = with_quota(generated(sharing_key=sharing), 1)
    book = reserved(first)
    again = replace(first, annotated_addresses=tuple(claim.address for claim in book))

    decision = decide(again, pools=POOLS, ledger=book)

    assert given(decision) == ["10.0.0.0"]
    assert decision.placements[0].how is How.KEPT
    assert lifecycle.reserve(decision.placements[0], again, now="t2", renew_before="t1") == next(iter(book))


def test_what_another_webhook_changed_between_two_calls_is_reserved_for() -> None:
    book = reserved(generated())
    [claim] = book
    again = generated(ports=ask(ports=frozenset()).ports, annotated_addresses=["10.0.0.0"], sharing_key="k")
    [place] = decide(again, pools=POOLS, ledger=book).placements
    after = lifecycle.reserve(place, again, now="t2", renew_before="t1")
    assert place.address == claim.address
    assert len(after.holders) == 1
    assert after.holders[0].ports >= claim.holders[0].ports


def test_the_service_gets_its_name_and_uid_on_its_reservation_in_one_write() -> None:
    book = reserved(generated())
    seen = ask("web-x1", generate_name="web-", uid="u", annotated_addresses=["10.0.0.0"])
    [place] = decide(seen, pools=POOLS, ledger=book).placements
    [holder] = lifecycle.bind(place, seen, now="t2").holders
    assert (holder.name, holder.uid, holder.generate_name, holder.since) == ("web-x1", "u", "", "t1")


@pytest.mark.parametrize(
    "forger",
    [
        generated(namespace="dev", annotated_addresses=["10.0.0.0"]),
        replace(generated(annotated_addresses=["10.0.0.0"]), generate_name="api-"),
        ask("web-x1", annotated_addresses=["10.0.0.0"]),
    ],
    ids=["another namespace", "another prefix", "no prefix"],
)
def test_a_value_written_by_hand_takes_no_reservation_of_somebody_else(forger: ServiceRequest) -> None:
    decision = decide(forger, pools=POOLS, ledger=reserved(generated()))
    assert given(decision) == ["10.0.0.1"]


@pytest.mark.parametrize(("name", "uid"), [("", "u"), ("web-x1", None)])
def test_a_value_written_by_hand_takes_nothing_that_a_service_has(name: str, uid: str | None) -> None:
    [claim] = reserved(generated())
    bound = replace(claim, state=ClaimState.BOUND, holders=(replace(claim.holders[0], name=name, uid=uid),))
    decision = decide(generated(annotated_addresses=["10.0.0.0"]), pools=POOLS, ledger=ledger(bound))
    assert given(decision) == ["10.0.0.1"]


def test_a_change_of_pool_that_is_admitted_twice_and_then_seen_takes_one_address() -> None:
    before = ask("web", uid="u")
    [place] = decide(before, pools=POOLS, ledger=ledger()).placements
    book = ledger(replace(lifecycle.bind(place, before, now="t0"), version="1"))
    change = ask("web", uid="u", pool_name="other", status_addresses=["10.0.0.0"], annotated_addresses=["10.0.0.0"])
    [place] = decide(change, pools=POOLS, ledger=book).placements
    book.put(replace(lifecycle.renew(place, change, now="t1", renew_before="t0"), version="2"))

    for again in (change, replace(change, annotated_addresses=())):
        decision = decide(again, pools=POOLS, ledger=book)
        assert decision.outcome is Outcome.ASSIGNED
        assert given(decision) == ["10.0.1.0"]
        assert decision.placements[0].how is How.KEPT

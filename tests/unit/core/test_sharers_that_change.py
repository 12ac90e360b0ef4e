"""Sharers that change, or are recreated under their name: it costs nobody who shared an address before."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from allocator.core import lifecycle
from allocator.core.addresses import Address
from allocator.core.claims import Claim
from allocator.core.decision import decide
from allocator.core.ledger import Ledger
from allocator.core.requests import ServiceRequest
from allocator.core.verdicts import Decision
from tests.unit.core.builders import HTTP, HTTPS, ask, claim, given, ledger, pool

POOL = pool("p", "10.0.0.7-10.0.0.9")
ADDRESS = "10.0.0.7"
SHARER = ask("sharer", uid="s", sharing_key="k", ports=HTTPS)

FORMER = ask("again", uid="1", sharing_key="k", ports=HTTP)

NEEDS: dict[str, tuple[dict[str, Any], bool]] = {
    "the same": ({}, True),
    "no key": ({"sharing_key": ""}, False),
    "another key": ({"sharing_key": "other"}, False),
    "the sharer's port": ({"ports": HTTPS}, False),
    "policy Local": ({"local_traffic": True, "backend_key": "app=again"}, False),
}


def shared(*holders: ServiceRequest) -> Claim:
    return claim(ADDRESS, "p", *holders, key="k")


def decided(request: ServiceRequest, book: Ledger) -> Decision:
    return decide(request, pools=[POOL], ledger=book)


@pytest.mark.parametrize("uid", [None, "2"], ids=["admission", "repair"])
@pytest.mark.parametrize(("changed", "stays"), NEEDS.values(), ids=NEEDS)
def test_it_keeps_the_address_only_beside_all_that_share_it(
    changed: dict[str, Any], stays: bool, uid: str | None
) -> None:
    again = replace(FORMER, uid=uid, **changed)
    book = ledger(shared(FORMER, SHARER))

    assert given(decided(again, book)) == ([ADDRESS] if stays else ["10.0.0.8"])
    assert given(decided(SHARER, book)) == [ADDRESS], "who shares with it stays"


@pytest.mark.parametrize("uid", [None, "2"], ids=["admission", "repair"])
def test_it_joins_last(uid: str | None) -> None:
    again = replace(FORMER, uid=uid)
    (place,) = decided(again, ledger(shared(FORMER, SHARER))).placements

    written = (
        lifecycle.bind(place, again, now="2") if uid else lifecycle.reserve(place, again, now="2", renew_before="0")
    )

    assert [(holder.name, holder.uid) for holder in written.holders] == [("sharer", "s"), ("again", uid)]


def test_a_reservation_that_is_bound_keeps_its_place() -> None:
    reserved = shared(replace(FORMER, uid=None), SHARER)
    (place,) = decided(FORMER, ledger(reserved)).placements

    assert [holder.name for holder in lifecycle.bind(place, FORMER, now="2").holders] == ["again", "sharer"]


@pytest.mark.parametrize("uid", [None, "2"], ids=["admission", "repair"])
def test_alone_it_takes_the_address_over_whatever_it_needs(uid: str | None) -> None:
    again = replace(FORMER, uid=uid, sharing_key="", ports=HTTPS)

    assert given(decided(again, ledger(shared(FORMER)))) == [ADDRESS]


def test_nobody_joins_beside_a_sharer_that_is_about_to_give_way() -> None:
    first = replace(FORMER, sharing_key="new")
    leaving = shared(FORMER, SHARER)
    changed = replace(leaving, holders=(first.as_holder(), *leaving.holders[1:]))
    third = ask("third", uid="t", sharing_key="new", ports=frozenset())

    assert given(decided(third, ledger(changed))) == ["10.0.0.8"]


@pytest.mark.parametrize(("changed", "stays"), NEEDS.values(), ids=NEEDS)
@pytest.mark.parametrize("uid", [None, "2"], ids=["admission", "repair"])
def test_a_reservation_keeps_its_place_only_for_what_it_was_made_for(
    changed: dict[str, Any], stays: bool, uid: str | None
) -> None:
    reserved = shared(replace(FORMER, uid=None), SHARER)
    other_needs = replace(FORMER, uid=uid, **changed)

    assert given(decided(other_needs, ledger(reserved))) == ([ADDRESS] if stays else ["10.0.0.8"])
    assert given(decided(SHARER, ledger(reserved))) == [ADDRESS], "who shares with it stays"


def test_who_is_bound_and_changes_keeps_its_place() -> None:
    changed = replace(FORMER, ports=HTTPS)

    assert given(decided(changed, ledger(shared(FORMER, SHARER)))) == [ADDRESS]


@pytest.mark.parametrize(("changed", "stays"), NEEDS.values(), ids=NEEDS)
@pytest.mark.parametrize("shows", [True, False])
def test_who_does_not_show_the_address_does_not_come_to_beside_a_younger_one_at_odds(
    changed: dict[str, Any], stays: bool, shows: bool
) -> None:
    older = replace(FORMER, **changed, status_addresses=(Address.parse(ADDRESS),) if shows else ())
    yields_to = frozenset() if shows else frozenset({(Address.parse(ADDRESS), *SHARER.key)})

    decision = decided(replace(older, yields_to=yields_to), ledger(shared(FORMER, SHARER)))

    assert given(decision) == ([ADDRESS] if stays or shows else ["10.0.0.8"])

"""Two replicas that choose different addresses at one moment overrun a quota with reservations, never with more."""

from __future__ import annotations

from dataclasses import replace
from itertools import permutations, product

import pytest

from allocator.core import lifecycle
from allocator.core.addresses import Family
from allocator.core.decision import decide
from allocator.core.ledger import Ledger
from allocator.core.requests import FamilyPolicy, ServiceRequest
from allocator.core.verdicts import Outcome, RefusalKind
from tests.unit.core.builders import DUAL, ask, given, ledger, pool

POOLS = [pool("main", "10.0.0.0/28", "2001:db8::10-2001:db8::1f")]


def limited(request: ServiceRequest, quota: int) -> ServiceRequest:
    return replace(request, applicant=replace(request.applicant, quota=quota))


def reserve_apart(requests: list[ServiceRequest], times: list[str]) -> Ledger:
    """What is reserved when each request is decided by a replica that knows of no other yet."""
    book = ledger()
    for index, (request, now) in enumerate(zip(requests, times, strict=True)):
        for place in decide(request, pools=POOLS, ledger=ledger(), pass_over=index).placements:
            book.put(lifecycle.reserve(place, request, now=now, renew_before=""))
    return book


def bind(book: Ledger, request: ServiceRequest) -> bool:
    """Bind what the Service is given, as the reconciler does; tell whether it was given anything."""
    decision = decide(replace(request, uid=f"uid-{request.name}"), pools=POOLS, ledger=book)
    for place in decision.placements:
        book.put(replace(lifecycle.bind(place, replace(request, uid=f"uid-{request.name}"), now="t9"), version="2"))
    return bool(decision.placements)


@pytest.mark.parametrize("quota", [1, 2, 3])
@pytest.mark.parametrize("times", list(product(["t1", "t2"], repeat=3)), ids="-".join)
@pytest.mark.parametrize("order", list(permutations(range(3))), ids=str)
def test_bound_addresses_never_exceed_the_quota_and_the_oldest_are_bound(
    quota: int, times: tuple[str, ...], order: tuple[int, ...]
) -> None:
    requests = [limited(ask(name), quota) for name in ("a", "b", "c")]
    book = reserve_apart(requests, list(times))
    assert len(book) == 3

    served = {requests[index].name for index in order if bind(book, requests[index])}

    oldest = sorted(range(3), key=lambda index: (times[index], index))[:quota]
    assert served == {requests[index].name for index in oldest}


def test_one_that_is_bound_already_comes_before_an_older_reservation_that_is_seen_late() -> None:
    late, early = (limited(ask(name), 1) for name in ("late", "early"))
    both = list(reserve_apart([late, early], ["t1", "t2"]))
    book = ledger(both[1])
    assert bind(book, early)
    book.put(both[0])
    decision = decide(replace(late, uid="u"), pools=POOLS, ledger=book)
    assert decision.outcome is Outcome.DENIED
    assert decision.refusal is not None
    assert decision.refusal.kind is RefusalKind.QUOTA
    assert decision.placements == ()


@pytest.mark.parametrize("policy", [FamilyPolicy.PREFER_DUAL, FamilyPolicy.REQUIRE_DUAL])
def test_a_dual_stack_reservation_that_is_over_the_quota_by_one_is_not_bound_whole(policy: FamilyPolicy) -> None:
    request = ask("web", policy=policy, families=DUAL)
    book = reserve_apart([request], ["t1"])
    bind(book, limited(request, 1))
    assert sum(any(holder.uid for holder in claim.holders) for claim in book) <= 1


@pytest.mark.parametrize("pinned", [False, True])
@pytest.mark.parametrize("refused_for", ["quota alone", "another family"])
def test_no_way_of_refusing_binds_a_reservation_over_the_quota(pinned: bool, refused_for: str) -> None:
    first, second = limited(ask("a"), 1), limited(ask("b"), 1)
    if refused_for == "another family":
        second = replace(second, policy=FamilyPolicy.REQUIRE_DUAL, families=DUAL)
    book = reserve_apart([first, replace(second, policy=FamilyPolicy.SINGLE)], ["t1", "t2"])
    if pinned:
        second = replace(second, pins=tuple(one.address for one in book if one.holders[0].name == "b"))
    only_ipv4 = [pool("main", "10.0.0.0/28")]
    decision = decide(replace(second, uid="u"), pools=only_ipv4, ledger=book)
    assert decision.placements == ()


def test_what_a_status_shows_or_is_bound_stays_when_the_quota_is_lowered() -> None:
    book = reserve_apart([ask("shown"), ask("bound")], ["t1", "t2"])
    shown = limited(ask("shown", uid="u1", status_addresses=["10.0.0.0"]), 0)
    bound = limited(ask("bound", uid="u2"), 0)
    claim = next(one for one in book if one.holders[0].name == "bound")
    book.put(replace(claim, holders=(replace(claim.holders[0], uid="u2"),)))
    assert given(decide(shown, pools=POOLS, ledger=book)) == ["10.0.0.0"]
    assert given(decide(bound, pools=POOLS, ledger=book)) == ["10.0.0.1"]


def test_an_address_shared_within_the_namespace_counts_once_for_a_reservation() -> None:
    first = limited(ask("a", sharing_key="k"), 1)
    second = limited(ask("b", sharing_key="k", ports=frozenset()), 1)
    book = reserve_apart([first], ["t1"])
    [place] = decide(second, pools=POOLS, ledger=book).placements
    book.put(lifecycle.reserve(place, second, now="t2", renew_before=""))
    assert bind(book, second)
    assert bind(book, first)
    assert {claim.address.family for claim in book} == {Family.IPV4}
    assert len(book) == 1

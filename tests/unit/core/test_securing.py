"""What a Service's status shows is claimed for it, whatever it asks for."""

from dataclasses import replace

import pytest

from allocator.core.claims import Claim, ClaimState, Holder
from allocator.core.ledger import Ledger
from allocator.core.pools import Pool, ServiceAllocation
from allocator.core.securing import secured
from allocator.core.verdicts import How
from tests.unit.core.builders import HTTP, HTTPS, ask, claim, ledger, pool

ADDRESS = "192.0.2.10"
RANGE = "192.0.2.0/24"

POOLS = {
    "open": pool("p", RANGE),
    "closed to the namespace": pool("p", RANGE, allocation=ServiceAllocation(namespaces=frozenset({"other"}))),
    "not autoAssign": pool("p", RANGE, auto_assign=False),
    "address excluded": pool("p", RANGE, excluded=pool("x", ADDRESS).ranges),
}


def found(book: Ledger, *pools: Pool, **fields: object) -> list[tuple[str, str, How]]:
    request = replace(ask(uid="1", status_addresses=(ADDRESS,)), **fields)  # type: ignore[arg-type]
    return [(str(place.address), place.pool, place.how) for place in secured(request, pools=pools, ledger=book)]


@pytest.mark.parametrize("which", POOLS)
def test_what_status_shows_is_claimed_whatever_its_pool_says(which: str) -> None:
    assert found(ledger(), POOLS[which]) == [(ADDRESS, "p", How.FREE)]


def test_an_address_kept_out_by_avoid_buggy_ips_is_claimed() -> None:
    request = ask(status_addresses=("192.0.2.255",))
    (place,) = secured(request, pools=[pool("p", RANGE, avoid_buggy_ips=True)], ledger=ledger())
    assert (str(place.address), place.pool) == ("192.0.2.255", "p")


@pytest.mark.parametrize(
    "asks",
    [
        {"malformed": "two of one family"},
        {"pool_name": "unknown"},
        {"pins": ask(pins=("198.51.100.1",)).pins},
        {"applicant": replace(ask().applicant, quota=0)},
        {"families": ()},
    ],
)
def test_what_it_asks_for_is_not_read(asks: dict[str, object]) -> None:
    assert found(ledger(), POOLS["open"], **asks) == [(ADDRESS, "p", How.FREE)]


def test_of_no_pool_it_is_claimed_in_the_one_recorded_and_else_left_alone() -> None:
    assert found(ledger()) == []
    assert found(ledger(), recorded_pools=("gone",)) == [(ADDRESS, "gone", How.FREE)]


def test_an_address_of_no_pool_that_somebody_wrote_over_ours_is_left_alone() -> None:
    ours = ask(annotated_addresses=("192.0.2.99",)).annotated_addresses
    assert found(ledger(), recorded_pools=("p",), annotated_addresses=ours) == []
    assert found(ledger(), recorded_pools=("p",), annotated_addresses=ask(pins=(ADDRESS,)).pins) == [
        (ADDRESS, "p", How.FREE)
    ]


def test_each_address_has_the_pool_recorded_at_its_place() -> None:
    request = replace(ask(status_addresses=(ADDRESS, "2001:db8::1")), recorded_pools=("four", "six"))
    assert [place.pool for place in secured(request, pools=(), ledger=ledger())] == ["four", "six"]
    both = replace(request, recorded_pools=("dual",))
    assert [place.pool for place in secured(both, pools=(), ledger=ledger())] == ["dual", "dual"]


def test_a_cooling_address_is_claimed_whoever_it_cools_for() -> None:
    book = ledger(claim(ADDRESS, "p", ask("late"), cooling_since="1"))
    assert found(book, POOLS["open"]) == [(ADDRESS, "p", How.COOLING)]


def test_its_own_reservation_is_bound_and_its_own_claim_needs_nothing() -> None:
    reserved = Claim(
        address=ask(pins=(ADDRESS,)).pins[0],
        pool="p",
        state=ClaimState.TENTATIVE,
        holders=(Holder(namespace="prod", name="web", ports=HTTP),),
    )
    assert found(ledger(reserved), POOLS["open"]) == [(ADDRESS, "p", How.KEPT)]
    assert found(ledger(claim(ADDRESS, "p", ask(uid="1"))), POOLS["open"]) == []


def test_what_another_service_holds_is_not_taken_from_it() -> None:
    assert found(ledger(claim(ADDRESS, "p", ask("other", uid="2"))), POOLS["open"]) == []


def test_what_another_service_shares_with_it_is_joined() -> None:
    book = ledger(claim(ADDRESS, "p", ask("other", uid="2", sharing_key="k"), key="k"))
    assert found(book, POOLS["open"], sharing_key="k", ports=HTTPS) == [(ADDRESS, "p", How.SHARED)]
    assert found(book, POOLS["open"], sharing_key="k", ports=HTTP) == []


@pytest.mark.parametrize(
    "needs",
    [
        {"ports": HTTPS},
        {"sharing_key": "k"},
        {"local_traffic": True},
        {"backend_key": "app=web"},
        {"sharing_namespaces": frozenset({"*"})},
    ],
    ids=lambda needs: next(iter(needs)),
)
def test_what_it_brings_to_a_sharing_now_is_claimed_too(needs: dict[str, object]) -> None:
    held = ledger(claim(ADDRESS, "p", ask(uid="1", ports=HTTP)))

    assert found(held, POOLS["open"], ports=HTTP) == []
    assert found(held, POOLS["open"], **needs) == [(ADDRESS, "p", How.KEPT)]

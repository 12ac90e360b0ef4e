"""Which changes of IPAllocations are moves, and what is said of them."""

from __future__ import annotations

from allocator.kube.reflector import Change
from allocator.objects import names
from allocator.status_page.moves import KEPT, Moves
from tests.unit.status_page.claims import Object, allocation, pool

IP = "192.0.2.10"


def said(*changes: tuple[Object | None, Object | None]) -> list[str]:
    """What the moves say, oldest first."""
    moves = Moves()
    moves.begin()
    for old, new in changes:
        moves.note(Change(names.IP_ALLOCATIONS, ("", IP), old, new, "1"))
    return [move.what for move in reversed(moves.latest())]


def test_what_was_there_before_the_page_is_no_move() -> None:
    moves = Moves()
    moves.note(Change(names.IP_ALLOCATIONS, ("", IP), None, allocation(IP, "prod/web"), "1"))
    assert moves.latest() == ()


def test_a_life_of_an_address_is_told_from_its_claim_to_its_end() -> None:
    tentative = allocation(IP, "prod/web", state="Tentative")
    bound, cooling = allocation(IP, "prod/web"), allocation(IP, "prod/web", state="Cooling")
    assert said((None, tentative), (tentative, bound), (bound, cooling), (cooling, None)) == [
        "held by prod/web",
        "given up by prod/web; it cools",
        "free again",
    ]


def test_a_new_holder_is_told_with_the_one_before() -> None:
    assert said((allocation(IP, "prod/web"), allocation(IP, "prod/api"))) == ["held by prod/api, before by prod/web"]


def test_a_change_of_the_announcing_node_is_told_with_the_time_it_began() -> None:
    moves = Moves()
    moves.begin()
    old, new = allocation(IP, "prod/web", node="node-1"), allocation(IP, "prod/web", node="node-2")
    moves.note(Change(names.IP_ALLOCATIONS, ("", IP), old, new, "1"))
    (move,) = moves.latest()
    assert (move.ip, move.what) == (IP, "announced by node-2, before by node-1")
    assert move.at.isoformat() == "2026-01-01T00:00:00+00:00"


def test_an_address_nobody_answers_for_any_more_is_told() -> None:
    old = allocation(IP, "prod/web", node="node-1")
    assert said((old, allocation(IP, "prod/web"))) == ["no longer announced by node-1"]


def test_changes_that_move_nothing_are_not_told() -> None:
    same = allocation(IP, "prod/web", node="node-1")
    assert said((same, allocation(IP, "prod/web", node="node-1"))) == []
    moves = Moves()
    moves.begin()
    moves.note(Change(names.IP_ADDRESS_POOLS, ("", "lan"), None, pool("lan", "192.0.2.0/28"), "1"))
    assert moves.latest() == ()


def test_a_claim_that_cannot_be_read_is_passed_over() -> None:
    broken = allocation(IP, "prod/web")
    del broken["spec"]["holders"]
    assert said((None, broken)) == []


def test_only_the_latest_are_kept() -> None:
    one, two = allocation(IP, "prod/web", node="node-1"), allocation(IP, "prod/web", node="node-2")
    assert len(said(*[(one, two), (two, one)] * KEPT)) == KEPT

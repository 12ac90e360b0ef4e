"""What one node claims, step by step, and what it remembers."""

from __future__ import annotations

import pickle
from collections.abc import Iterable

import pytest

from allocator.core.addresses import Address, Family
from speaker.election.claim_term import FRESH_SECONDS, PROVISIONAL
from speaker.election.election import rank
from speaker.election.holder import SETTLING_SECONDS, Surroundings, Tenancy, Tenure
from speaker.membership.state_sync import Statement
from tests.unit.speaker.simulated import LINKS, contest

VIP = Address.parse("192.0.2.1")
FIRST, SECOND, THIRD = rank(address=VIP, candidates=["node-1", "node-2", "node-3"])
NODES = (FIRST, SECOND, THIRD)


def around(
    *alive: str, answered: Iterable[Address] = (), holding: str = "", leaving: Iterable[str] = ()
) -> Surroundings:
    """These are alive (or said good-bye), and one of the peers announces the address."""
    statements = {
        name: Statement(claims={VIP: 7} if name == holding else {}, links=LINKS) for name in (*alive, *leaving)
    }
    return Surroundings(
        frozenset(alive),
        statements=statements,
        links=LINKS,
        answered=frozenset(answered),
        leaving=frozenset(leaving),
    )


def decide(tenure: Tenure, surroundings: Surroundings, now: float = 0.0) -> Tenancy:
    return tenure.decide([contest(VIP, NODES)], surroundings, now)


def test_what_is_still_asked_for_is_not_claimed_and_what_is_answered_is() -> None:
    tenure = Tenure(FIRST)
    asking = decide(tenure, around(*NODES))
    assert (set(asking.scopes), set(asking.unheld), dict(asking.claims)) == ({VIP}, {VIP}, {})
    assert decide(tenure, around(*NODES), 1000.0).claims == {}, "however long another host has it"
    answered = decide(tenure, around(*NODES, answered=[VIP]), 1001.0)
    assert (answered.unheld, set(answered.claims)) == (frozenset(), {VIP})
    assert decide(tenure, around(*NODES, answered=[VIP]), 1002.0).claims == answered.claims


def test_what_is_still_asked_for_is_let_go_at_once_when_another_node_wins() -> None:
    tenure = Tenure(SECOND)
    assert set(decide(tenure, around(SECOND, THIRD)).scopes) == {VIP}
    assert decide(tenure, around(*NODES)).scopes == {}


def test_what_a_node_announced_until_it_died_is_taken_without_a_question() -> None:
    tenure = Tenure(SECOND)
    assert decide(tenure, around(*NODES, holding=FIRST)).scopes == {}
    # Nothing happened for hours; then it dies.
    taken = decide(tenure, around(SECOND, THIRD), 10_000.0)
    assert (taken.unheld, taken.claims) == (frozenset(), {VIP: 8})


def test_so_is_what_a_node_announced_that_came_and_went_between_two_looks() -> None:
    tenure = Tenure(SECOND)
    decide(tenure, around(SECOND, THIRD))
    tenure = Tenure(SECOND)
    taken = decide(tenure, around(SECOND, THIRD, holding=FIRST, leaving=[FIRST]))
    assert (taken.unheld, set(taken.claims)) == (frozenset(), {VIP})
    assert set(taken.loans) == {VIP}


def test_a_loan_that_is_over_is_over_for_a_successor_too() -> None:
    tenure = Tenure(SECOND)
    left = around(SECOND, THIRD, holding=FIRST, leaving=[FIRST])
    begun = decide(tenure, left)
    (loan,) = begun.loans.values()

    def prefer_the_third(now: float) -> Tenancy:
        return tenure.decide([contest(VIP, NODES, {THIRD: 10})], left, now)

    kept = prefer_the_third(loan.until - 0.3)
    assert (set(kept.leaving), set(kept.loans)) == ({VIP}, {VIP})
    for now in (loan.until, loan.until + 0.3):
        kept = prefer_the_third(now)
        assert (set(kept.leaving), set(kept.loans)) == ({VIP}, set())
        assert kept.deadline is not None
        assert kept.deadline > now, "or it would be decided over and over"


def test_what_nobody_announced_for_a_while_is_asked_for() -> None:
    tenure = Tenure(SECOND)
    decide(tenure, around(*NODES, holding=FIRST))
    gone = around(SECOND, THIRD, holding=FIRST, leaving=[FIRST])
    nobody = tenure.decide([contest(VIP, [FIRST])], gone, 1.0)
    assert nobody.scopes == {}
    late = decide(tenure, gone, 1.0 + FRESH_SECONDS + 1.0)
    assert (set(late.unheld), dict(late.claims), dict(late.loans)) == ({VIP}, {}, {})


@pytest.mark.parametrize("holding", [FIRST, ""])
def test_what_no_service_had_meanwhile_is_asked_for_again(holding: str) -> None:
    tenure = Tenure(SECOND)
    alive = NODES if holding else (SECOND, THIRD)
    decide(tenure, around(*alive, holding=holding))
    decide(tenure, around(*alive, holding=holding, answered=[VIP]))
    gone = around(SECOND, THIRD, holding=holding, leaving=[holding] if holding else [])
    assert tenure.decide([], gone, 1.0).scopes == {}
    assert decide(tenure, gone, 1.1).unheld == {VIP}


def test_what_is_taken_for_want_of_a_better_node_is_claimed_for_good_only_when_the_time_is_over() -> None:
    tenure = Tenure(SECOND)
    decide(tenure, around(SECOND))
    early = decide(tenure, around(SECOND, answered=[VIP]), 1.0)
    assert (early.claims, early.deadline) == ({VIP: PROVISIONAL}, SETTLING_SECONDS)
    later = decide(tenure, around(SECOND, answered=[VIP]), SETTLING_SECONDS)
    assert later.claims[VIP] > PROVISIONAL
    assert set(decide(tenure, around(*NODES, answered=[VIP]), SETTLING_SECONDS + 1).scopes) == {VIP}


def test_a_hand_over_that_outlasts_the_settling_time_is_not_decided_over_and_over() -> None:
    tenure = Tenure(SECOND)
    decide(tenure, around(SECOND))
    decide(tenure, around(SECOND, answered=[VIP]), 1.0)
    for now in (SETTLING_SECONDS - 0.4, SETTLING_SECONDS + 0.4):
        kept = decide(tenure, around(*NODES, answered=[VIP]), now)
        assert (set(kept.leaving), dict(kept.claims)) == ({VIP}, {VIP: PROVISIONAL})
        assert kept.deadline is not None
        assert kept.deadline > now


def test_the_best_node_and_one_that_takes_over_claim_for_good_at_once() -> None:
    best = Tenure(FIRST)
    decide(best, around(FIRST))
    assert decide(best, around(FIRST, answered=[VIP])).claims[VIP] > PROVISIONAL
    heir = Tenure(SECOND)
    decide(heir, around(*NODES, holding=FIRST))
    assert decide(heir, around(SECOND)).claims == {VIP: 8}


def test_addresses_that_come_and_go_leave_nothing_behind() -> None:
    tenure = Tenure(FIRST)
    sizes = []
    for number in range(2000):
        address = Address(Family.IPV4, 0x0A000000 + number)
        contests = [contest(address, [FIRST])]
        tenure.decide(contests, around(FIRST), float(number))
        assert tenure.decide(contests, around(FIRST, answered=[address]), number + 0.1).claims
        tenure.decide([], around(FIRST), number + 0.2)
        sizes.append(len(pickle.dumps(tenure)))
    assert max(sizes[1000:]) <= max(sizes[:1000]) + 8

"""The lowest free address first; and what replicas that choose at the same time do not lose by it."""

from __future__ import annotations

import random
from contextlib import suppress

import pytest

from allocator.allocation.claim_writer import LostRace
from allocator.allocation.proposal import Occasion
from allocator.allocation.races import ATTEMPTS, REMEMBERED_SECONDS, Races
from tests.unit.allocation.stored_claims import Replica, StoredClaims, pool
from tests.unit.core.builders import ask

POOL = pool("main", "10.0.0.0/16")
BETWEEN_SECONDS = 0.135
"""Seven creates a second, as a storm of them has."""


class Seconds:
    """A clock."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def admit(replica: Replica, name: str) -> None:
    request = ask(name)
    for pass_over in replica.claims.attempts():
        with (
            replica.claims.propose(request, Occasion.CREATION, pass_over=pass_over) as proposal,
            suppress(LostRace),
        ):
            replica.claims.commit(proposal)
            return
    raise AssertionError(f"{name} lost every race")


def last_byte(stored: StoredClaims) -> int:
    return int(list(stored.allocations)[-1].rpartition(".")[2])


class Pair:
    """Two replicas, either of which sees what the other does one create late."""

    def __init__(self) -> None:
        self.stored, self.seconds = StoredClaims(), Seconds()
        self.replicas = [
            Replica(self.stored, POOL, max_unbound=10_000, races=Races(now=self.seconds)) for _ in range(2)
        ]
        self._number = 0

    def admit(self, replica: Replica, *, behind: int) -> None:
        """Admit the next Service at this replica, which has not seen the last `behind` events yet."""
        self._number += 1
        self.seconds.now += BETWEEN_SECONDS
        unseen = len(self.stored.events) - behind - replica._seen
        if unseen > 0:
            replica.see(unseen)
        admit(replica, f"web-{self._number}")

    def refused(self) -> int:
        return self.stored.calls.count("create ipallocations") - len(self.stored.allocations)


@pytest.fixture
def pair() -> Pair:
    random.seed(1)
    return Pair()


def test_while_nobody_is_in_the_way_the_lowest_free_address_goes_first(pair: Pair) -> None:
    for number in range(50):
        pair.admit(pair.replicas[number % 2], behind=0)
        assert last_byte(pair.stored) == number
    assert pair.refused() == 0


def test_one_lost_race_is_chance_and_changes_nothing_afterwards(pair: Pair) -> None:
    first, second = pair.replicas
    pair.admit(first, behind=0)
    pair.admit(second, behind=1)
    assert pair.refused() == 1
    free = min(set(range(20)) - {int(name.rpartition(".")[2]) for name in pair.stored.allocations})
    pair.admit(second, behind=0)
    assert last_byte(pair.stored) == free


def test_replicas_that_choose_at_the_same_time_seldom_choose_the_same(pair: Pair) -> None:
    for _ in range(400):
        pair.admit(random.choice(pair.replicas), behind=1)
    assert pair.refused() < 60, "half of them are where each begins at the lowest"
    assert len(pair.stored.allocations) == 400
    highest = max(int(name.split(".")[2]) * 256 + int(name.split(".")[3]) for name in pair.stored.allocations)
    assert highest < 400 + 64, "gaps are filled by those that come later"


def test_after_a_while_without_lost_races_the_lowest_goes_first_again(pair: Pair) -> None:
    for _ in range(100):
        pair.admit(random.choice(pair.replicas), behind=1)
    pair.seconds.now += REMEMBERED_SECONDS + 1
    taken = {int(name.rpartition(".")[2]) for name in pair.stored.allocations}
    for free in sorted(set(range(256)) - taken)[:5]:
        pair.admit(pair.replicas[0], behind=0)
        assert last_byte(pair.stored) == free


def test_after_a_lost_race_ever_more_addresses_may_be_passed_over() -> None:
    steps = [list(Races().attempts()) for _ in range(50)]
    assert all(one[0] == 0 and len(one) == ATTEMPTS for one in steps)
    assert max(max(one) for one in steps) > 100

"""Leadership in simulated time: never two that may write, and one soon after whatever happened is over."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from typing import Any, cast

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from allocator.kube import lease as lease_module
from allocator.kube.client import ApiError, Cluster
from allocator.kube.lease import FOLLOW_SECONDS, LEASE_SECONDS, REQUEST_SECONDS, Leadership, NotCurrent, NotLeading
from tests.unit.allocator.simulated_lease import ApiServer, Replica, Simulation
from tests.unit.effort import examples

REPLICAS = 3


class WallClock(datetime):
    """Everybody's wall clock, which only the test sets."""

    moment = datetime(2026, 1, 1, tzinfo=UTC)

    @classmethod
    def now(cls, _zone: Any = None) -> Any:
        """What the wall clock shows."""
        return cls.moment


class Group:
    """Replicas, their API server and what may go wrong."""

    def __init__(self, seed: int, replicas: int = REPLICAS) -> None:
        self.simulation = Simulation(seed)
        self.server = ApiServer()
        self.replicas = [Replica(self.simulation, self.server, f"replica-{number}") for number in range(replicas)]
        self._born = replicas
        self.simulation.after_step = self._check

    def leaders(self) -> list[Replica]:
        return [replica for replica in self.replicas if replica.leadership.holds]

    def _check(self) -> None:
        leaders = self.leaders()
        assert len(leaders) <= 1, f"{[leader.identity for leader in leaders]} may write at {self.simulation.now}"

    def run(self, seconds: float) -> None:
        self.simulation.run(seconds)

    def revive(self) -> None:
        """Start anew whoever lost leadership, as a Pod's containers are."""
        for index, replica in enumerate(self.replicas):
            if replica.leadership._ended.is_set():
                self.replicas[index] = self.newcomer()

    def newcomer(self) -> Replica:
        self._born += 1
        return Replica(self.simulation, self.server, f"replica-{self._born}")


@contextmanager
def group(seed: int, replicas: int = REPLICAS) -> Iterator[Group]:
    there = Group(seed, replicas)
    try:
        yield there
    finally:
        there.simulation.end()


@pytest.fixture(autouse=True)
def wall_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lease_module, "datetime", WallClock)


def misfortune(there: Group) -> None:
    """Make one thing go wrong, or right again."""
    chance = there.simulation.chance
    replica = chance.choice(there.replicas)
    match chance.choice(("cut", "heal", "trouble", "pauses", "wall clock", "mark", "resign", "calm")):
        case "cut":
            replica.connection.cut = True
        case "heal":
            replica.connection.cut = False
        case "trouble":
            replica.connection.trouble = chance.choice((0.1, 0.5, 0.9))
        case "pauses":
            replica.connection.pauses = chance.choice((0.05, 0.3))
        case "wall clock":
            WallClock.moment += timedelta(seconds=chance.choice((-86_400, -5, 0, 5, 86_400)))
        case "mark":
            there.server.mark()
        case "resign":
            there.simulation.spawn(replica.leadership.resign)
        case "calm":
            replica.connection.trouble = replica.connection.pauses = 0.0
    there.revive()


def calm(there: Group) -> None:
    for replica in there.replicas:
        replica.connection.cut = False
        replica.connection.trouble = replica.connection.pauses = 0.0


@settings(max_examples=examples(60), deadline=None)
@given(st.integers(0, 2**32))
def test_there_are_never_two_that_may_write_and_in_the_end_there_is_one(seed: int) -> None:
    with group(seed) as there:
        for _ in range(40):
            there.run(there.simulation.chance.uniform(0, 4))
            misfortune(there)
        calm(there)
        # Longest: a replica that stands still, then whoever died is started anew, then a full lease.
        for _ in range(20):
            there.run(2.0)
            there.revive()
        assert len(there.leaders()) == 1


@settings(max_examples=examples(25), deadline=None)
@given(st.integers(0, 2**32))
def test_a_lease_that_is_deleted_while_it_is_held_does_not_make_two_leaders(seed: int) -> None:
    with group(seed) as there:
        there.run(5.0)
        for _ in range(5):
            misfortune(there)
            there.run(there.simulation.chance.uniform(0, 3))
        # A replica that has never read the Lease takes one that is not there at once, as in a new cluster.
        there.run(2.0)
        there.server.lease = None
        there.run(3 * LEASE_SECONDS)


@pytest.mark.parametrize("seed", range(10))
def test_one_stalled_request_does_not_lose_leadership(seed: int) -> None:
    with group(seed) as there:
        there.run(5.0)
        [leader] = there.leaders()
        for _ in range(5):
            leader.connection.cut = True
            there.run(REQUEST_SECONDS)
            leader.connection.cut = False
            there.run(3.0)
            assert there.leaders() == [leader]


@pytest.mark.parametrize("seed", range(10))
def test_a_leader_that_resigns_is_followed_at_once(seed: int) -> None:
    with group(seed) as there:
        there.run(5.0)
        [leader] = there.leaders()
        there.simulation.spawn(leader.leadership.resign)
        there.run(FOLLOW_SECONDS + 0.4)
        [successor] = there.leaders()
        assert successor is not leader


def test_a_leader_that_is_cut_off_is_followed_after_its_lease() -> None:
    with group(1) as there:
        there.run(5.0)
        [leader] = there.leaders()
        leader.connection.cut = True
        there.run(LEASE_SECONDS + FOLLOW_SECONDS + 1.2)
        [successor] = there.leaders()
        assert successor is not leader
        assert leader.leadership.ended


def test_a_follower_believes_no_wall_clock() -> None:
    """The leader's clock is a day behind: its renewals look long over, and are not."""
    with group(3, replicas=1) as there:
        there.run(5.0)
        WallClock.moment -= timedelta(days=1)
        there.run(5.0)
        WallClock.moment += timedelta(days=1)
        there.replicas.append(there.newcomer())
        there.run(30.0)
        assert [leader.identity for leader in there.leaders()] == ["replica-0"]


def test_a_wall_clock_that_stands_still_does_not_hide_renewals() -> None:
    with group(4) as there:
        there.run(5.0)
        [leader] = there.leaders()
        seen = there.server.get()["spec"]["renewTime"]
        there.run(3.0)
        assert there.server.get()["spec"]["renewTime"] != seen
        there.run(30.0)
        assert there.leaders() == [leader]


@pytest.mark.parametrize("written_since", [0, 1000])
def test_a_restored_snapshot_ends_the_leader_however_much_was_written_since(written_since: int) -> None:
    with group(1) as there:
        there.run(20)
        (leader,) = there.leaders()
        snapshot = there.server.back_up()
        there.run(30)
        there.server.restore(snapshot, written_since=written_since)
        there.run(3)
        assert "older snapshot" in leader.leadership.rewound
        assert not leader.leadership.holds


def test_a_restored_snapshot_ends_the_followers_too() -> None:
    with group(2) as there:
        there.run(20)
        snapshot = there.server.back_up()
        there.run(30)
        there.server.restore(snapshot)
        there.run(3)
        assert all(replica.leadership.rewound for replica in there.replicas)


@pytest.mark.parametrize("seed", range(10))
def test_after_an_outage_nothing_is_written_before_the_lease_was_renewed(seed: int) -> None:
    """What was decided before the outage is of a state that a restore may have ended."""
    with group(seed) as there:
        there.run(20)
        (leader,) = there.leaders()
        snapshot = there.server.back_up()
        there.run(30)
        for replica in there.replicas:
            replica.connection.refused = True
        there.run(2.0)
        assert leader.leadership.holds
        there.server.restore(snapshot, written_since=1000)
        for replica in there.replicas:
            replica.connection.refused = False
        written = []

        def write() -> None:
            with suppress(NotLeading):
                leader.leadership.require()
                written.append(there.simulation.now)

        there.simulation.after_step = write
        there.run(3)
        assert leader.leadership.rewound
        assert written == []


def test_after_an_outage_that_changed_nothing_the_leader_goes_on() -> None:
    with group(1) as there:
        there.run(20)
        (leader,) = there.leaders()
        leader.connection.refused = True
        there.run(2.0)
        with pytest.raises(NotCurrent, match="away"):
            leader.leadership.require()
        leader.connection.refused = False
        there.run(2)
        leader.leadership.require()


class Refusing:
    """An API server that lets a Lease be read and not be written, as one with a role too few does."""

    def within(self, _seconds: float) -> Refusing:
        return self

    def get(self, *_: object) -> dict[str, Any]:
        return {"metadata": {"name": "lease", "resourceVersion": "7"}, "spec": {"holderIdentity": ""}}

    def replace(self, *_: object) -> dict[str, Any]:
        raise ApiError(403, "Forbidden", "no")


def test_a_follower_that_may_not_write_the_lease_remembers_no_more_and_more() -> None:
    tries = 1000

    def wait(_seconds: float) -> None:
        nonlocal tries
        tries -= 1
        if not tries:
            leadership._stopping.set()

    leadership = Leadership(
        cast(Cluster, Refusing()), namespace="n", lease="lease", identity="me", on_started=lambda: None, wait=wait
    )
    leadership.run()
    assert not leadership.holds
    assert len(leadership._sent) < 100

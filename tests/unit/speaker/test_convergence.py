"""Speakers that come, go, freeze, part and meet again: who answers for an address, and that it is one.

Every walk runs the real membership, advertised states and holder of each node over a simulated network.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from allocator.core.addresses import Address
from speaker.election.election import rank
from speaker.election.graceful_restart import RESTART_SECONDS
from speaker.election.holder import SKEW_SECONDS
from speaker.layer2.probing import RETRY_SECONDS
from speaker.membership.boot import BOOT_SECONDS
from speaker.membership.link import Link
from speaker.membership.membership import STEADY_SECONDS
from speaker.membership.ring import Ring
from tests.unit.effort import examples
from tests.unit.speaker.simulated import Cluster, candidates

NODES = ("node-1", "node-2", "node-3", "node-4")
ADDRESSES = tuple(Address.parse(f"192.0.2.{number}") for number in range(1, 6))
BOUND_SECONDS = 2.5
"""From the last disturbance until every address has one holder again: a start may take a second to settle, a loss
half a second to notice and a quarter to confirm."""


def holders(cluster: Cluster) -> dict[str, set[str]]:
    return {str(address): cluster.holders(address) for address in ADDRESSES}


def assert_one_holder_on_every_side(cluster: Cluster) -> None:
    for side in cluster.sides():
        for address in ADDRESSES:
            answering = cluster.holders(address) & side
            assert len(answering) == 1, f"{address}: {sorted(answering)} of {sorted(side)}"


@dataclass
class Watched:
    """Looks at every address after every event of the simulation."""

    cluster: Cluster
    least: dict[Address, int] = field(default_factory=dict)
    longest_double_seconds: float = 0.0

    def __post_init__(self) -> None:
        self._double_since: dict[Address, float] = {}
        self.cluster.watch = self.look
        self.look()

    @property
    def fewest(self) -> int:
        """How many answered for an address when the fewest did."""
        return self.fewest_of(ADDRESSES)

    def fewest_of(self, addresses: Iterable[Address]) -> int:
        """The same of these addresses."""
        return min(self.least[address] for address in addresses)

    def look(self) -> None:
        for address in ADDRESSES:
            count = len(self.cluster.holders(address))
            self.least[address] = min(self.least.get(address, count), count)
            if count < 2:
                self._double_since.pop(address, None)
                continue
            since = self._double_since.setdefault(address, self.cluster.now)
            self.longest_double_seconds = max(self.longest_double_seconds, self.cluster.now - since)


@pytest.fixture
def cluster() -> Cluster:
    """One in which every node counts for all others, and has been heard for long enough to be preferred."""
    cluster = Cluster(NODES, ADDRESSES)
    cluster.run(STEADY_SECONDS)
    return cluster


def test_after_the_start_every_address_has_one_holder(cluster: Cluster) -> None:
    assert_one_holder_on_every_side(cluster)


def test_a_lost_node_moves_only_what_it_held_and_takes_nothing_back(cluster: Cluster) -> None:
    before = holders(cluster)
    (victim,) = before[str(ADDRESSES[0])]
    cluster.kill(victim)
    cluster.run(0.8)
    assert_one_holder_on_every_side(cluster)
    after = holders(cluster)
    for address, held_by in before.items():
        assert after[address] == held_by or held_by == {victim}
    cluster.start(victim)
    watched = Watched(cluster)
    cluster.run(BOUND_SECONDS)
    assert holders(cluster) == after
    assert (watched.fewest, watched.longest_double_seconds) == (1, 0.0)


def test_a_planned_leave_never_leaves_an_address_without_answer(cluster: Cluster) -> None:
    watched = Watched(cluster)
    for name in NODES:
        cluster.leave(name)
        cluster.run(1.0)
        cluster.start(name)
        cluster.run(1.5)
    assert watched.fewest == 1
    # A datagram that is overtaken by another is said again with the next heartbeat.
    assert watched.longest_double_seconds < 0.12
    assert_one_holder_on_every_side(cluster)


def test_restarting_all_speakers_one_after_another_moves_no_traffic_at_all(cluster: Cluster) -> None:
    def led_to() -> list[set[str]]:
        return [
            {cluster.members[name].leads_to(address) for name in cluster.holders(address)} for address in ADDRESSES
        ]

    before = led_to()
    seen = []
    cluster.watch = lambda: seen.append(led_to())
    for name in NODES:
        cluster.leave(name)
        cluster.run(1.0)
        cluster.start(name)
        cluster.run(2.5)
    assert seen == [before] * len(seen)
    assert all(not member.state.help for member in cluster.members.values()), "everybody is back"


def test_a_speaker_that_does_not_come_back_loses_the_traffic_in_the_end(cluster: Cluster) -> None:
    (gone,) = cluster.holders(ADDRESSES[0])
    cluster.leave(gone)
    cluster.run(RESTART_SECONDS + 1)
    (successor,) = cluster.holders(ADDRESSES[0])
    assert cluster.members[successor].leads_to(ADDRESSES[0]) == successor
    cluster.start(gone)
    cluster.run(BOUND_SECONDS)
    assert cluster.holders(ADDRESSES[0]) == {successor}


def test_a_heavier_node_is_given_the_address_without_a_gap(cluster: Cluster) -> None:
    watched = Watched(cluster)
    for name in NODES:
        cluster.see(name, [candidates(address, NODES, {"node-3": 10}) for address in ADDRESSES])
        cluster.run(0.3)
    cluster.run(1.0)
    assert set.union(*holders(cluster).values()) == {"node-3"}
    assert watched.fewest == 1


def test_a_lost_carrier_gives_the_address_away_at_once(cluster: Cluster) -> None:
    (victim,) = cluster.holders(ADDRESSES[0])
    cluster.links(victim, (Link(name="eth0", mac=bytes(6), lost=True),))
    cluster.run(0.02)
    assert_one_holder_on_every_side_but(cluster, victim)
    after = holders(cluster)
    cluster.links(victim, (Link(name="eth0", mac=bytes(6)),))
    cluster.run(1.0)
    assert holders(cluster) == after


def assert_one_holder_on_every_side_but(cluster: Cluster, without: str) -> None:
    assert_one_holder_on_every_side(cluster)
    assert all(without not in answering for answering in holders(cluster).values())


def test_a_frozen_node_answers_for_nothing_it_has_lost_when_it_wakes(cluster: Cluster) -> None:
    (victim,) = cluster.holders(ADDRESSES[0])
    cluster.stop(victim)
    cluster.run(5.0)
    after = holders(cluster)
    assert all(len(answering) == 1 for answering in after.values())
    watched = Watched(cluster)
    cluster.resume(victim)
    cluster.run(1.0)
    assert watched.longest_double_seconds == 0.0
    assert holders(cluster) == after


def test_a_healed_partition_leaves_the_address_with_the_larger_side(cluster: Cluster) -> None:
    (isolated,) = cluster.holders(ADDRESSES[0])
    cluster.cut(isolated)
    cluster.run(1.5)
    assert_one_holder_on_every_side(cluster)
    (taker,) = cluster.holders(ADDRESSES[0]) - {isolated}
    cluster.heal()
    cluster.run(0.5)
    assert_one_holder_on_every_side(cluster)
    assert cluster.holders(ADDRESSES[0]) == {taker}


def test_nodes_cut_off_from_one_another_but_not_from_a_third_agree(cluster: Cluster) -> None:
    before = holders(cluster)
    cluster.cut_way("node-1", "node-2")
    cluster.cut_way("node-2", "node-1")
    watched = Watched(cluster)
    cluster.run(5.0)
    assert holders(cluster) == before
    assert (watched.fewest, watched.longest_double_seconds) == (1, 0.0)


def test_an_address_left_to_a_foreign_host_stays_left_when_the_node_that_left_it_dies() -> None:
    cluster = Cluster(NODES, joined=False)
    cluster.squatted = {ADDRESSES[0]}
    for name in NODES:
        cluster.start(name)
    cluster.run(3.0)
    for name in NODES:
        cluster.see(name, [candidates(address, NODES) for address in ADDRESSES])
    cluster.run(1.0)
    watched = Watched(cluster)
    for _ in NODES[1:]:
        (yielding,) = (name for name, member in cluster.members.items() if ADDRESSES[0] in member.asking)
        assert cluster.holders(ADDRESSES[0]) == set()
        cluster.kill(yielding)
        cluster.run(2.0)
    assert watched.fewest == 0
    assert cluster.holders(ADDRESSES[0]) == set(), "nobody ever took it from the host that has it"
    cluster.squatted.clear()
    cluster.run(RETRY_SECONDS + 1.0)
    assert_one_holder_on_every_side(cluster)


def test_an_address_that_another_service_gets_later_is_asked_for_anew(cluster: Cluster) -> None:
    def everybody_sees(*addresses: Address) -> None:
        for name in cluster.members:
            cluster.see(name, [candidates(address, NODES) for address in addresses])
        cluster.run(1.0)

    everybody_sees(*ADDRESSES[1:])
    # A host settles there that nobody notices: the address is not watched any more.
    cluster.squatted = {ADDRESSES[0]}
    (victim,) = cluster.holders(ADDRESSES[1])
    cluster.kill(victim)
    cluster.run(1.0)
    everybody_sees(*ADDRESSES)
    assert cluster.holders(ADDRESSES[0]) == set()
    assert len(cluster.holders(ADDRESSES[1])) == 1


@pytest.mark.parametrize("unaware", [1, 2])
def test_an_address_that_its_best_nodes_know_nothing_of_is_taken_by_the_next(unaware: int) -> None:
    cluster = Cluster(NODES)
    address = ADDRESSES[0]
    ranked = rank(address=address, candidates=NODES)
    for name in ranked[unaware:]:
        cluster.see(name, [candidates(address, NODES)])
    cluster.run(unaware * SKEW_SECONDS + 0.5)
    assert cluster.holders(address) == {ranked[unaware]}
    watched = Watched(cluster)
    cluster.run(5.0)
    for name in ranked[:unaware]:
        cluster.see(name, [candidates(address, NODES)])
    cluster.run(1.0)
    assert cluster.holders(address) == {ranked[unaware]}, "who learns of it late takes nothing"
    assert watched.longest_double_seconds == 0.0


def test_in_a_crowd_a_winner_that_knows_nothing_of_its_address_delays_it_for_a_moment() -> None:
    nodes = tuple(f"node-{number}" for number in range(30))
    cluster = Cluster(nodes)
    # Until those that met at the start no longer owe each other frequent heartbeats.
    cluster.run(12.0)
    ring = Ring(nodes)
    # One whose two best nodes hear each other rarely.
    address, ranked = next(
        (address, ranked)
        for address in (Address.parse(f"192.0.2.{number}") for number in range(1, 255))
        for ranked in [rank(address=address, candidates=nodes)]
        if ranked[0] not in ring.neighbours_of(ranked[1])
    )
    for name in ranked[1:]:
        cluster.see(name, [candidates(address, nodes)])
    # Time for its turn, for two in which it says so, for its probes, and little more.
    cluster.run(3 * SKEW_SECONDS + 0.1)
    assert cluster.holders(address) == {ranked[1]}


def test_an_address_stays_where_it_is_while_a_heavier_node_does_not_know_that_it_is_one(cluster: Cluster) -> None:
    before = holders(cluster)
    heavier = [candidates(address, NODES, {"node-3": 10}) for address in ADDRESSES]
    watched = Watched(cluster)
    for name in NODES:
        cluster.see(name, heavier if name != "node-3" else [])
    cluster.run(6.0)
    after = holders(cluster)
    assert all(after[address] == held for address, held in before.items() if held != {"node-3"})
    cluster.see("node-3", heavier)
    cluster.run(1.0)
    assert set.union(*holders(cluster).values()) == {"node-3"}
    kept = [address for address in ADDRESSES if before[str(address)] != {"node-3"}]
    assert kept
    assert watched.fewest_of(kept) == 1, "each moved without a gap"


def test_two_that_do_not_hear_each_other_leave_a_new_address_to_the_one_that_hears_both() -> None:
    cluster = Cluster(NODES)
    address = ADDRESSES[0]
    first, second, third, _ = rank(address=address, candidates=NODES)
    cluster.cut_way(first, second)
    cluster.cut_way(second, first)
    cluster.run(2.0)
    watched = Watched(cluster)
    for name in NODES:
        cluster.see(name, [candidates(address, NODES)])
    cluster.run(6.0)
    assert cluster.holders(address) == {third}
    assert watched.longest_double_seconds == 0.0


def test_a_node_that_asks_for_its_address_is_waited_for() -> None:
    cluster = Cluster(NODES)
    cluster.squatted = {ADDRESSES[0]}
    for name in NODES:
        cluster.see(name, [candidates(ADDRESSES[0], NODES)])
    cluster.run(10.0)
    asking = [name for name, member in cluster.members.items() if ADDRESSES[0] in member.asking]
    assert asking == [rank(address=ADDRESSES[0], candidates=NODES)[0]]


def test_when_all_start_within_a_minute_nothing_stays_with_the_first_for_that_alone() -> None:
    cluster = Cluster(NODES, ADDRESSES, joined=False)
    cluster.start(NODES[0])
    cluster.run(2.0)
    assert set.union(*holders(cluster).values()) == {NODES[0]}, "nothing waits for the others"
    watched = Watched(cluster)
    for name in NODES[1:]:
        cluster.start(name)
        cluster.run(15.0)
    for address in ADDRESSES:
        assert cluster.holders(address) == {rank(address=address, candidates=NODES)[0]}
    assert watched.fewest == 1, "each moved without a gap"


def test_who_comes_later_than_that_takes_nothing() -> None:
    cluster = Cluster(NODES, ADDRESSES, joined=False)
    for name in NODES[:2]:
        cluster.start(name)
    cluster.run(BOOT_SECONDS + 2.0)
    before = holders(cluster)
    for name in NODES[2:]:
        cluster.start(name)
    cluster.run(3.0)
    assert holders(cluster) == before


@dataclass(frozen=True)
class Step:
    """Something that happens to one node, and how long until the next thing does."""

    what: str
    node: str
    seconds: float

    def __repr__(self) -> str:
        return f"{self.what}({self.node}) {self.seconds:.3f}s"


ACTIONS: dict[str, Callable[[Cluster, str], None]] = {
    "kill": lambda cluster, node: cluster.kill(node),
    "leave": lambda cluster, node: cluster.leave(node),
    "stop": lambda cluster, node: cluster.stop(node),
    "cut": lambda cluster, node: cluster.cut(node),
    "heal": lambda cluster, _: cluster.heal(),
    "see": lambda cluster, node: cluster.see(node, [candidates(address, NODES[:2]) for address in ADDRESSES]),
    "prefer": lambda cluster, node: cluster.see(
        node, [candidates(address, NODES, {"node-2": 5}) for address in ADDRESSES]
    ),
}
steps = st.builds(
    Step,
    what=st.sampled_from([*ACTIONS, "start", "resume"]),
    node=st.sampled_from(NODES),
    seconds=st.sampled_from([0.0, 0.003, 0.05, 0.3, 0.55, 0.8, 2.0]),
)


def apply(cluster: Cluster, step: Step) -> None:
    member = cluster.members.get(step.node)
    if step.what == "start" and member is None:
        cluster.start(step.node)
    elif step.what == "resume" and member is not None and member.stopped:
        cluster.resume(step.node)
    elif step.what in ACTIONS and (step.what == "heal" or (member is not None and not member.stopped)):
        ACTIONS[step.what](cluster, step.node)


@settings(max_examples=examples(60), deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(walk=st.lists(steps, max_size=14), seed=st.integers(0, 2**16), loss=st.sampled_from([0.0, 0.01, 0.1]))
def test_whatever_happened_one_node_answers_once_it_is_over(walk: list[Step], seed: int, loss: float) -> None:
    cluster = Cluster(NODES, ADDRESSES, seed=seed, loss=loss)
    for step in walk:
        apply(cluster, step)
        cluster.run(step.seconds)
    # It is over: everyone runs, hears everyone and knows the same.
    cluster.loss = min(loss, 0.01)
    cluster.heal()
    for name in NODES:
        apply(cluster, Step("resume", name, 0.0))
    cluster.run(1.1)
    for name in NODES:
        apply(cluster, Step("start", name, 0.0))
        cluster.see(name, [candidates(address, NODES) for address in ADDRESSES])
    cluster.run(BOUND_SECONDS)
    assert_one_holder_on_every_side(cluster)


@settings(max_examples=examples(20), deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(walk=st.lists(st.sampled_from(NODES), max_size=8), seed=st.integers(0, 2**16))
def test_however_nodes_come_and_leave_there_is_always_an_answer(walk: list[str], seed: int) -> None:
    cluster = Cluster(NODES, ADDRESSES, seed=seed)
    watched = Watched(cluster)
    for name in walk:
        if name not in cluster.members:
            cluster.start(name)
        elif len(cluster.members) > 1:
            cluster.leave(name)
        cluster.run(2.2)
    assert watched.fewest >= 1
    # A datagram that is overtaken by another is said again with the next heartbeat.
    assert watched.longest_double_seconds < 0.12
    assert_one_holder_on_every_side(cluster)

"""Many speakers: each has a few neighbours, and all soon know what those saw, however many datagrams are lost."""

from __future__ import annotations

from dataclasses import replace

import pytest

from speaker.membership.heartbeat import Phase
from speaker.membership.ring import EVERYONE_UP_TO, NEIGHBOURS_EACH_WAY, Ring
from tests.unit.speaker.simulated import Cluster
from tests.unit.speaker.test_membership import beat, membership

MANY = tuple(f"node-{number}" for number in range(30))


@pytest.fixture(scope="module")
def crowd() -> Cluster:
    """Thirty speakers that lose one datagram in a hundred, and the ten seconds they need to become calm."""
    cluster = Cluster(MANY, loss=0.01)
    cluster.run(12.0)
    return cluster


def given_up(cluster: Cluster, node: str) -> list[float | None]:
    """When each other speaker gave the node up, None where one did not."""
    found = []
    for name, member in cluster.members.items():
        times = [at for at, change in member.changes if change.node == node and not change.alive]
        found += [times[-1] if times else None] if name != node else []
    return found


def test_every_node_has_its_neighbours_and_they_have_it() -> None:
    ring = Ring(MANY)
    for node in MANY:
        neighbours = ring.neighbours_of(node)
        assert len(neighbours - {node}) == 2 * NEIGHBOURS_EACH_WAY
        assert all(node in ring.neighbours_of(neighbour) for neighbour in neighbours)


def test_in_a_small_cluster_all_are_neighbours() -> None:
    few = MANY[: EVERYONE_UP_TO + 1]
    ring = Ring(few)
    assert all(ring.neighbours_of(node) == set(few) - {node} for node in few)


def test_a_stranger_to_the_ring_has_no_neighbours() -> None:
    assert Ring(MANY).neighbours_of("stranger") == frozenset()


def test_nobody_is_given_up_for_lost_datagrams_alone_and_few_are_sent(crowd: Cluster) -> None:
    began, sent = crowd.now, crowd.sent
    crowd.run(10.0)
    assert all(crowd.members[name].membership.liveness(crowd.now).alive == set(MANY) for name in MANY)
    assert not [change for member in crowd.members.values() for at, change in member.changes if at > began]
    per_node_and_second = (crowd.sent - sent) / 10.0 / len(MANY)
    assert per_node_and_second < 20 * NEIGHBOURS_EACH_WAY + 20


def test_everybody_knows_of_a_loss_within_a_second(crowd: Cluster) -> None:
    died_at = crowd.now
    crowd.kill("node-7")
    crowd.run(1.0)
    for at in given_up(crowd, "node-7"):
        assert at is not None
        # Of the half second some were over when it died: up to a tenth, and a tenth for each heartbeat lost before.
        assert 0.15 < at - died_at < 1.0
    crowd.start("node-7")
    crowd.run(12.0)
    assert all(len(member.membership.liveness(crowd.now).alive) == len(MANY) for member in crowd.members.values())


def test_a_node_and_all_of_its_neighbours_may_die_at_once(crowd: Cluster) -> None:
    died_at = crowd.now
    gone = ("node-3", *sorted(Ring(MANY).neighbours_of("node-3")))
    for name in gone:
        crowd.kill(name)
    crowd.run(3.0)
    for name in gone:
        assert all(at is not None and at > died_at for at in given_up(crowd, name))


def test_of_a_thousand_nodes_each_sends_a_hundred_heartbeats_a_second_at_most() -> None:
    """One of them, which hears all others; what it is sent is what each of those sends."""
    names = [f"node-{number}" for number in range(999)]
    members = membership(*names)
    members.enter(Phase.SERVING, 0.0)
    neighbours = Ring({"me", *names}).neighbours_of("me")
    sent = 0
    for turn in range(1, 201):
        now = turn * 0.1
        for name in names if turn <= SEEN_TURNS else neighbours:
            heartbeat = beat(members, name, turn)
            members.heard(replace(heartbeat, have=members.heartbeat_to(name).version), now)
        members.tick(now)
        due = len(members.outgoing(now))
        sent += due if turn > CALM_TURNS else 0
    assert 0.0 < sent / ((200 - CALM_TURNS) * 0.1) <= 100.0


SEEN_TURNS = 5
CALM_TURNS = 150

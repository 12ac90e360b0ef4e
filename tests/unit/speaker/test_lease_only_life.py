"""Heartbeats blocked everywhere: nodes go by Leases, which all list, the less often the more nodes there are."""

from __future__ import annotations

import pytest

from allocator.core.addresses import Address
from speaker.membership import lease_list
from speaker.membership.lease_evidence import (
    LEASE_COUNTS_ALONE_SECONDS,
    LONGEST_UNSEEN_SECONDS,
    RENEW_ALONE_SECONDS,
)
from speaker.membership.lease_list import ALONE_SECONDS, LISTS_PER_SECOND, LONGEST_ALONE_SECONDS
from tests.unit.speaker.judge import LEASE_BOUND_SECONDS
from tests.unit.speaker.moves import changes_of, holders_of
from tests.unit.speaker.simulated import Cluster
from tests.unit.speaker.test_lease_list import ALONE, Speaker
from tests.unit.speaker.walker import CALM_SECONDS

ADDRESSES = tuple(Address.parse(f"192.0.2.{number}") for number in range(1, 13))


@pytest.mark.parametrize("nodes", [1, 10, 75, 100, 187, 200, 1000])
def test_lists_of_all_nodes_together_are_bounded_as_far_as_time_permits(nodes: int) -> None:
    speaker = Speaker()
    for number in range(nodes):
        speaker.put(f"node-{number}")
    speaker.list.look(0.0)
    assert speaker.list.pause_seconds == ALONE_SECONDS, "while it hears others it lists as rarely as ever"
    speaker.doubt = ALONE
    pause_seconds = speaker.list.pause_seconds
    assert ALONE_SECONDS <= pause_seconds <= LONGEST_ALONE_SECONDS
    if pause_seconds < LONGEST_ALONE_SECONDS:
        assert nodes / pause_seconds <= LISTS_PER_SECOND


def test_a_renewal_is_seen_in_time_however_many_there_are() -> None:
    longest = LONGEST_ALONE_SECONDS * 1.2
    assert longest < LONGEST_UNSEEN_SECONDS, "an API server that answers is not taken for one that is away"
    assert 2 * RENEW_ALONE_SECONDS + longest <= LEASE_COUNTS_ALONE_SECONDS, "one renewal may fail"
    assert longest + LEASE_COUNTS_ALONE_SECONDS < LEASE_BOUND_SECONDS


def blocked_everywhere(seed: int, nodes: int = 4) -> Cluster:
    """Nodes that live by their Leases, one holder for each address."""
    cluster = Cluster([f"node-{number}" for number in range(1, nodes + 1)], ADDRESSES, seed=seed)
    cluster.run(CALM_SECONDS)
    for name in cluster.names:
        cluster.block(name)
    cluster.run(LEASE_BOUND_SECONDS + CALM_SECONDS)
    assert all(len(names) == 1 for names in holders_of(cluster, ADDRESSES).values())
    return cluster


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("refused", ["everything", "writes"])
@pytest.mark.parametrize("outage_seconds", [8.0, 90.0])
def test_while_no_lease_can_be_renewed_and_seen_all_addresses_stay(
    seed: int, refused: str, outage_seconds: float
) -> None:
    cluster = blocked_everywhere(seed)
    refusing = cluster.without_api if refused == "everything" else cluster.without_writes
    # One after the other, as their own API servers go.
    for name in cluster.names:
        refusing.add(name)
        assert not changes_of(cluster, ADDRESSES, seed * 1.0)
    assert not changes_of(cluster, ADDRESSES, outage_seconds)
    for name in cluster.names:
        refusing.discard(name)
        assert not changes_of(cluster, ADDRESSES, seed * 1.0)
    assert not changes_of(cluster, ADDRESSES, 60.0), "each has the whole time of a renewal to renew in"


@pytest.mark.parametrize("seed", range(3))
def test_a_speaker_that_ends_in_an_outage_is_given_up_when_leases_are_renewed_again_and_a_machine_at_once(
    seed: int,
) -> None:
    cluster = blocked_everywhere(seed)
    cluster.without_api |= set(cluster.names)
    cluster.run(20.0)
    cluster.power_off("node-1")
    cluster.run(1.5)
    assert all(len(names) == 1 for names in holders_of(cluster, ADDRESSES).values()), "its kernel answers no more"
    cluster.kill("node-2")
    assert not changes_of(cluster, ADDRESSES, 40.0), "it could be one that cannot renew"
    assert not all(holders_of(cluster, ADDRESSES).values())
    cluster.without_api.clear()
    cluster.run(LONGEST_UNSEEN_SECONDS + LEASE_BOUND_SECONDS)
    assert all(len(names) == 1 for names in holders_of(cluster, ADDRESSES).values())


@pytest.mark.parametrize(("seed", "crowded"), [(0, False), *((seed, True) for seed in range(4))])
def test_a_dead_speaker_is_given_up_in_time_and_no_other_one(
    seed: int, crowded: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its machine lives: only its Lease says that it does not."""
    if crowded:
        monkeypatch.setattr(lease_list, "LISTS_PER_SECOND", 0.1)
    cluster = blocked_everywhere(seed)
    leases = cluster.members["node-1"].leases
    assert leases is not None
    assert leases.pause_seconds == (LONGEST_ALONE_SECONDS if crowded else ALONE_SECONDS)
    assert not changes_of(cluster, ADDRESSES, 60.0), "while all live, nothing moves"
    # At whatever moment between two renewals and two lists it dies.
    cluster.run(seed * 1.3)
    cluster.kill("node-2")
    cluster.run(LEASE_BOUND_SECONDS)
    for address in ADDRESSES:
        assert len(cluster.holders(address)) == 1
        assert "node-2" not in cluster.holders(address)

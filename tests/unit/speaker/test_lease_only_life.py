"""Heartbeats blocked everywhere: nodes go by Leases, which all list, the less often the more nodes there are."""

from __future__ import annotations

import pytest

from allocator.core.addresses import Address
from speaker.membership import lease_list
from speaker.membership.lease_evidence import LEASE_COUNTS_ALONE_SECONDS, RENEW_ALONE_SECONDS
from speaker.membership.lease_list import ALONE_SECONDS, LISTS_PER_SECOND, LONGEST_ALONE_SECONDS
from tests.unit.speaker.simulated import Cluster
from tests.unit.speaker.test_lease_list import ALONE, Speaker
from tests.unit.speaker.walker import CALM_SECONDS, LEASE_BOUND_SECONDS

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
    assert 2 * RENEW_ALONE_SECONDS + longest <= LEASE_COUNTS_ALONE_SECONDS, "one renewal may fail"
    assert longest + LEASE_COUNTS_ALONE_SECONDS < LEASE_BOUND_SECONDS


@pytest.mark.parametrize(("seed", "crowded"), [(0, False), *((seed, True) for seed in range(4))])
def test_a_dead_speaker_is_given_up_in_time_and_no_other_one(
    seed: int, crowded: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its machine lives: only its Lease says that it does not."""
    if crowded:
        monkeypatch.setattr(lease_list, "LISTS_PER_SECOND", 0.1)
    cluster = Cluster([f"node-{number}" for number in range(1, 5)], ADDRESSES, seed=seed)
    cluster.run(CALM_SECONDS)
    for name in cluster.names:
        cluster.block(name)
    cluster.run(LEASE_BOUND_SECONDS + CALM_SECONDS)
    leases = cluster.members["node-1"].leases
    assert leases is not None
    assert leases.pause_seconds == (LONGEST_ALONE_SECONDS if crowded else ALONE_SECONDS)
    before = {address: cluster.holders(address) for address in ADDRESSES}
    assert all(len(names) == 1 for names in before.values())
    wrong: list[float] = []

    def look() -> None:
        if {address: cluster.holders(address) for address in ADDRESSES} != before:
            wrong.append(cluster.now)

    cluster.watch = look
    cluster.run(60.0)
    assert not wrong, "while all live, nothing moves"
    cluster.watch = lambda: None
    # At whatever moment between two renewals and two lists it dies.
    cluster.run(seed * 1.3)
    cluster.kill("node-2")
    cluster.run(LEASE_BOUND_SECONDS)
    for address in ADDRESSES:
        assert len(cluster.holders(address)) == 1
        assert "node-2" not in cluster.holders(address)

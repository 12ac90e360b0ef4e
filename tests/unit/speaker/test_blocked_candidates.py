"""Heartbeats blocked on some nodes: for every set of candidates one of them answers, whatever the others hear."""

from __future__ import annotations

from itertools import chain, combinations

import pytest

from allocator.core.addresses import Address
from tests.unit.speaker.judge import ALONE_BOUND_SECONDS, LEASE_BOUND_SECONDS
from tests.unit.speaker.moves import changes_of, holders_of
from tests.unit.speaker.simulated import Cluster, candidates
from tests.unit.speaker.walker import CALM_SECONDS

NAMES = tuple(f"node-{number}" for number in range(1, 6))
CANDIDATES = {
    Address.parse(f"192.0.2.{number}"): frozenset(names)
    for number, names in enumerate(chain.from_iterable(combinations(NAMES, size) for size in range(1, 6)), 1)
}
"""An address for every set of candidates there is."""


@pytest.mark.parametrize(("count", "pause_seconds"), [(1, 0.0), (2, 7.0), (3, 0.0), (3, 7.0), (4, 0.0), (5, 7.0)])
def test_every_address_has_one_holder_and_it_stays(count: int, pause_seconds: float) -> None:
    """As a firewall on the workers, where the control plane's nodes are no candidates."""
    cluster = Cluster(NAMES, seed=count)
    for name in NAMES:
        cluster.see(name, [candidates(address, nodes) for address, nodes in CANDIDATES.items()])
    cluster.run(CALM_SECONDS)
    assert all(len(names) == 1 for names in holders_of(cluster, CANDIDATES).values())
    blocked = set(NAMES[-count:])
    for name in sorted(blocked):
        cluster.block(name)
        cluster.run(pause_seconds)
    cluster.run(ALONE_BOUND_SECONDS)
    hearing = set(NAMES) - blocked if count < len(NAMES) - 1 else set()
    for address, names in holders_of(cluster, CANDIDATES).items():
        assert len(names) == 1, f"{sorted(names)} of {sorted(CANDIDATES[address])}"
        assert names <= CANDIDATES[address] & hearing or not CANDIDATES[address] & hearing
    assert not changes_of(cluster, CANDIDATES, 15.0)
    cluster.without_api |= set(NAMES)
    assert not changes_of(cluster, CANDIDATES, 40.0), "the API server is away"
    cluster.without_api.clear()
    assert not changes_of(cluster, CANDIDATES, 20.0)


def test_who_hears_somebody_holds_although_it_is_the_only_candidate_that_does() -> None:
    cluster = Cluster(NAMES)
    address = next(iter(CANDIDATES))
    for name in NAMES:
        cluster.see(name, [candidates(address, NAMES[2:])])
    cluster.run(CALM_SECONDS)
    for name in NAMES[3:]:
        cluster.block(name)
    cluster.run(LEASE_BOUND_SECONDS)
    assert cluster.holders(address) == {NAMES[2]}


@pytest.mark.parametrize("seed", range(3))
def test_a_blocked_candidate_that_ends_or_whose_machine_dies_is_replaced_by_another(seed: int) -> None:
    cluster = Cluster(NAMES, seed=seed)
    addresses = [address for address, nodes in CANDIDATES.items() if nodes >= set(NAMES[2:])]
    for name in NAMES:
        cluster.see(name, [candidates(address, NAMES[2:]) for address in addresses])
    for name in NAMES[2:]:
        cluster.block(name)
    cluster.run(LEASE_BOUND_SECONDS + CALM_SECONDS + seed)
    (first,) = cluster.holders(addresses[0])
    cluster.kill(first)
    cluster.run(LEASE_BOUND_SECONDS)
    assert all(len(cluster.holders(address)) == 1 for address in addresses)
    (second,) = cluster.holders(addresses[0])
    cluster.power_off(second)
    cluster.run(2.0)
    assert all(len(cluster.holders(address)) == 1 for address in addresses)

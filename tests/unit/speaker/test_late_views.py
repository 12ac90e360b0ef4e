"""New Services that nodes learn of at different moments: an address has one holder from its first answer on."""

from __future__ import annotations

from random import Random

import pytest

from allocator.core.addresses import Address
from tests.unit.speaker.simulated import Cluster, candidates

SERVICES = 40
LATEST_SECONDS = 1.0
"""How much later than others a node sees a Service: watches come late where every processor is busy."""
SLOWEST_SECONDS = 0.2
"""How long it takes there until what a speaker has decided counts in another's decision."""
EVERY_SECONDS = 0.05


@pytest.mark.parametrize("seed", range(3))
def test_whoever_is_late_takes_nothing_from_whoever_was_not(seed: int) -> None:
    random = Random(seed)
    names = [f"node-{number}" for number in range(1, random.choice([3, 3, 4, 5]) + 1)]
    addresses = [Address.parse(f"192.0.2.{number}") for number in range(1, SERVICES + 1)]
    cluster = Cluster(names, seed=seed)
    cluster.slowest = SLOWEST_SECONDS
    held: dict[Address, set[str]] = {}

    def look() -> None:
        for address in addresses:
            holders = cluster.holders(address)
            before = held.setdefault(address, holders) or holders
            assert holders == before, f"seed {seed}, {cluster.now:.3f} s: {address} {before} -> {holders}"
            held[address] = before

    cluster.watch = look
    began = cluster.now
    for name in names:
        late = random.uniform(0.0, LATEST_SECONDS)
        seen_at = began
        for number in range(1, SERVICES + 1):
            late = min(LATEST_SECONDS, max(0.0, late + random.uniform(-0.3, 0.3)))
            seen_at = max(seen_at, began + number * EVERY_SECONDS + late)
            seen = [candidates(address, names) for address in addresses[:number]]
            cluster.at(seen_at, lambda name=name, seen=seen: cluster.see(name, seen))  # type: ignore[misc]
    cluster.run(SERVICES * EVERY_SECONDS + 2 * LATEST_SECONDS)
    assert all(len(held[address]) == 1 for address in addresses)

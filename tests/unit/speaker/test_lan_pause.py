"""A switch that reboots, carriers up, and whose ports forward again one after the other."""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial

import pytest

from allocator.core.addresses import Address
from tests.unit.speaker.judge import ALONE_BOUND_SECONDS, BOUND_SECONDS
from tests.unit.speaker.moves import holders_of
from tests.unit.speaker.simulated import Cluster, WholeHolder
from tests.unit.speaker.walker import CALM_SECONDS

ADDRESSES = tuple(Address.parse(f"192.0.2.{number}") for number in range(1, 25))


class Clients:
    """Those behind the ports that forward: how long an address was answered by nobody there, or by several."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self._since: dict[tuple[Address, str], float] = {}
        self.longest: dict[str, float] = {"nobody": 0.0, "several": 0.0}

    def look(self) -> None:
        cluster = self._cluster
        forwarding = set(cluster.names) - cluster.out
        wrong = set()
        for address, holders in holders_of(cluster, ADDRESSES).items():
            count = len(holders & forwarding)
            if forwarding and count != 1:
                wrong.add((address, "several" if count else "nobody"))
        for key in self._since.keys() - wrong:
            del self._since[key]
        for key in wrong:
            passed = cluster.now - self._since.setdefault(key, cluster.now)
            self.longest[key[1]] = max(self.longest[key[1]], passed)


def paused(nodes: int, returning: Iterable[int], *, seed: int, api: bool) -> tuple[Clients, set[Address]]:
    """Pause the LAN for two seconds, have these ports return a second apart, and return what moved for good."""
    names = [f"node-{number}" for number in range(1, nodes + 1)]
    cluster = Cluster(names, ADDRESSES, seed=seed, new_holder=partial(WholeHolder, checked=False))
    cluster.run(CALM_SECONDS)
    before = holders_of(cluster, ADDRESSES)
    if not api:
        cluster.without_api |= set(names)
    clients = Clients(cluster)
    cluster.watch = clients.look
    cluster.pause()
    cluster.run(2.0)
    for number in returning:
        cluster.rejoin(names[number])
        cluster.run(1.0)
    cluster.run(ALONE_BOUND_SECONDS)
    after = holders_of(cluster, ADDRESSES)
    assert all(len(holders - cluster.out) == 1 for holders in after.values())
    return clients, {address for address in ADDRESSES if after[address] != before[address]}


@pytest.mark.parametrize("api", [True, False], ids=["with the API", "without"])
@pytest.mark.parametrize(("nodes", "seed"), [(3, 0), (5, 0), (5, 1), (6, 0), (6, 1)])
def test_nothing_moves_while_no_two_have_met_for_as_long_as_counts(nodes: int, seed: int, *, api: bool) -> None:
    clients, moved = paused(nodes, range(nodes), seed=seed, api=api)
    assert not moved
    assert max(clients.longest.values()) <= BOUND_SECONDS


def test_who_is_blocked_for_longer_than_that_loses_what_it_had_and_the_others_nothing() -> None:
    """The first two have heard each other for five seconds when the port of the last returns, and that before."""
    clients, moved = paused(8, range(8), seed=0, api=True)
    assert len(moved) < len(ADDRESSES) / 4
    assert max(clients.longest.values()) <= BOUND_SECONDS


def test_whose_port_does_not_return_gives_everything_away() -> None:
    clients, moved = paused(4, range(3), seed=0, api=True)
    assert 0 < len(moved) < len(ADDRESSES) / 2
    assert max(clients.longest.values()) <= BOUND_SECONDS

"""Two candidates that do not hear each other hold one address; a third that hears both has one of them keep it."""

from __future__ import annotations

import pytest

from allocator.core.addresses import Address
from speaker.cluster.eligibility import NOT_READY_HANDICAP
from speaker.layer2.gratuitous import BURST_SECONDS
from speaker.membership.membership import STEADY_SECONDS
from tests.unit.speaker.judge import BOUND_SECONDS
from tests.unit.speaker.simulated import Cluster, candidates

ADDRESSES = tuple(Address.parse(f"192.0.2.{number}") for number in range(1, 6))
ONE_WAY, OTHER_WAY, BOTH = ((1, 2),), ((2, 1),), ((1, 2), (2, 1))
WAYS = pytest.mark.parametrize("ways", [ONE_WAY, OTHER_WAY, BOTH], ids=["one way", "the other", "both"])


def calm(nodes: int, *, of_service: int = 1) -> Cluster:
    names = [f"node-{number}" for number in range(1, nodes + 1)]
    cluster = Cluster(names, ADDRESSES, of_service=of_service)
    cluster.run(STEADY_SECONDS + 2.0)
    return cluster


def deafen(cluster: Cluster, ways: tuple[tuple[int, int], ...]) -> None:
    for sender, receiver in ways:
        cluster.cut_way(f"node-{sender}", f"node-{receiver}")


def holders(cluster: Cluster) -> dict[Address, set[str]]:
    return {address: cluster.holders(address) for address in cluster.addresses}


def doubled(cluster: Cluster) -> set[Address]:
    return {address for address, names in holders(cluster).items() if len(names) > 1}


@WAYS
@pytest.mark.parametrize("of_service", [1, 2])
@pytest.mark.parametrize("heard_by", [1, 2])
def test_what_two_took_while_the_third_was_away_one_of_them_keeps_once_it_is_back(
    ways: tuple[tuple[int, int], ...], of_service: int, heard_by: int
) -> None:
    cluster = calm(2 + heard_by, of_service=of_service)
    others = cluster.names[2:]
    deafen(cluster, BOTH)
    cluster.run(5.0)
    for name in others:
        cluster.kill(name)
    cluster.run(10.0)
    during = holders(cluster)
    assert doubled(cluster)
    cluster.heal()
    deafen(cluster, ways)
    for name in others:
        cluster.start(name)
    cluster.run(BOUND_SECONDS)
    after = holders(cluster)
    assert all(len(names) == 1 and names <= during[address] for address, names in after.items()), after
    seen: list[dict[Address, set[str]]] = []
    cluster.watch = lambda: seen.append(holders(cluster))
    cluster.run(15.0)
    cluster.heal()
    cluster.run(STEADY_SECONDS + 2.0)
    assert [each for each in seen if each != after] == []


@pytest.mark.parametrize("weights", [{}, {"node-2": 5}, {"node-1": 5}], ids=["equal", "the other", "the first"])
def test_it_is_told_by_a_node_that_may_not_hold_it(weights: dict[str, int]) -> None:
    cluster = calm(3)
    cluster.elect([candidates(address, ["node-1", "node-2"], weights) for address in ADDRESSES])
    cluster.run(STEADY_SECONDS + 2.0)
    before = holders(cluster)
    cluster.kill("node-3")
    deafen(cluster, BOTH)
    cluster.run(10.0)
    assert doubled(cluster) == set(ADDRESSES)
    cluster.start("node-3")
    cluster.run(BOUND_SECONDS)
    assert holders(cluster) == before, "the holder before it all, and where one is preferred, that"
    assert all(names == {next(iter(weights), *names)} for names in before.values() if weights)


def test_where_nobody_hears_all_others_one_of_two_keeps_it() -> None:
    """Each of four is deaf to one; no node is there whose word on what is vacant the others could wait for."""
    cluster = calm(4)
    cluster.cut("node-1", "node-3")
    cluster.run(10.0)
    assert doubled(cluster) == set(ADDRESSES)
    cluster.heal()
    deafen(cluster, BOTH)
    cluster.cut_way("node-3", "node-4")
    cluster.cut_way("node-4", "node-3")
    cluster.run(BOUND_SECONDS)
    after = holders(cluster)
    assert doubled(cluster) == set()
    assert all(after.values())
    cluster.run(15.0)
    assert holders(cluster) == after


def test_the_lan_hears_again_who_keeps_it() -> None:
    cluster = calm(3)
    cluster.kill("node-3")
    deafen(cluster, BOTH)
    cluster.run(5.0)
    taken = doubled(cluster)
    both: dict[Address, float] = {}
    cluster.watch = lambda: both.update(dict.fromkeys(doubled(cluster), cluster.now))
    cluster.start("node-3")
    cluster.run(BOUND_SECONDS)
    for address in taken:
        (holder,) = cluster.holders(address)
        again = [at for at, which in cluster.members[holder].announced_again if which == address]
        assert max(again, default=0.0) + BURST_SECONDS[-1] >= both[address], f"{holder} has not announced {address}"


def test_hosts_beside_a_node_that_is_heard_again_are_told_who_holds_what() -> None:
    """What moved while nothing passed between two ports, the hosts at one of them have not heard from the other."""
    cluster = calm(3)
    moving = {address for address, names in holders(cluster).items() if names == {"node-3"}}
    deafen(cluster, BOTH)
    cluster.run(5.0)
    cluster.kill("node-3")
    cluster.run(0.1)
    cluster.start("node-3")
    cluster.run(5.0)
    cluster.heal()
    healed = cluster.now
    cluster.run(BOUND_SECONDS)
    for name in ("node-1", "node-2"):
        told = {address for at, address in cluster.members[name].announced_again if at >= healed}
        assert told >= {address for address, names in holders(cluster).items() if names == {name}}
    assert moving


def test_one_that_has_less_against_it_takes_over_from_a_holder_that_it_does_not_hear() -> None:
    cluster = calm(3)
    cluster.kill("node-3")
    deafen(cluster, BOTH)
    cluster.run(5.0)
    cluster.elect([candidates(address, ["node-1", "node-2"]) for address in ADDRESSES])
    cluster.start("node-3")
    cluster.run(STEADY_SECONDS)
    kept = {address for address, names in holders(cluster).items() if names == {"node-1"}}
    assert kept
    handicaps = {"node-1": NOT_READY_HANDICAP}
    cluster.elect([candidates(address, ["node-1", "node-2"], handicaps=handicaps) for address in ADDRESSES])
    cluster.run(BOUND_SECONDS)
    assert holders(cluster) == {address: {"node-2"} for address in ADDRESSES}

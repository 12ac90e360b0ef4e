"""Heartbeats that pass one way only, in every way that they can: somebody answers for each address all the same."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from functools import cache, partial
from itertools import combinations, permutations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from allocator.core.addresses import Address
from speaker.election.claim_index import ClaimIndex
from speaker.election.elected_group import ElectedGroup
from speaker.election.inputs import Inputs
from speaker.election.live_candidates import LiveCandidates
from speaker.election.standings import Standings
from speaker.membership.liveness import Liveness
from speaker.membership.one_way import Ahead, Ways, ahead_of, pass_on
from tests.unit.effort import examples
from tests.unit.speaker.judge import ALONE_BOUND_SECONDS, BOUND_SECONDS, LEASE_BOUND_SECONDS
from tests.unit.speaker.moves import changes_of, holders_of
from tests.unit.speaker.simulated import Cluster, WholeHolder, candidates

Hearing = frozenset[tuple[str, str]]
"""From whom heartbeats pass to whom."""

NAMES = tuple(f"node-{number}" for number in range(1, 7))


def addresses_for(names: Collection[str]) -> dict[Address, tuple[str, ...]]:
    """An address for every set of candidates there is."""
    sets = [found for size in range(1, len(names) + 1) for found in combinations(names, size)]
    return {Address.parse(f"192.0.2.{number}"): found for number, found in enumerate(sets, 1)}


def graphs(count: int) -> Iterator[Hearing]:
    """Yield who may hear whom among so many nodes, one of those that differ by names alone."""
    names = NAMES[:count]
    ways = list(permutations(names, 2))
    known: set[Hearing] = set()
    for bits in range(2 ** len(ways)):
        graph = frozenset(way for index, way in enumerate(ways) if bits >> index & 1)
        if graph in known:
            continue
        for names_now in permutations(names):
            renamed = dict(zip(names, names_now, strict=True))
            known.add(frozenset((renamed[sender], renamed[receiver]) for sender, receiver in graph))
        yield graph


@cache
def four() -> list[Hearing]:
    return list(graphs(4))


def ring(*names: str) -> Hearing:
    return frozenset(zip(names, (*names[1:], names[0]), strict=True))


def settle(names: Collection[str], graph: Hearing) -> dict[str, Ahead]:
    """Who is ahead of each node once all have said so for long, and what each sees as its side does not tell."""
    linked = {node: {other for other in names if {(node, other), (other, node)} <= graph} for node in names}
    sides: dict[str, set[str]] = {}
    for node in names:
        side = sides[node] = {node, *linked[node]}
        pending = list(linked[node])
        while pending:
            through = pending.pop()
            if (through, node) in graph:
                pending += linked[through] - side
                side |= linked[through]
    behind = {
        node: frozenset(
            other
            for other in names
            if (other, node) in graph
            and (node, other) not in graph
            and other not in sides[node]
            and len(sides[other]) >= len(sides[node])
        )
        for node in names
    }
    said: dict[str, Ways] = {}
    for _ in range(len(names) + 1):
        said = {node: pass_on(node, behind[node], said) for node in names}
    found = {node: ahead_of(node, behind[node], said[node]) for node in names}
    return {node: Ahead(each.ahead - sides[node], each.in_cycle - sides[node]) for node, each in found.items()}


def cut_off(node: str, ahead: Ahead, address: Address, nodes: Collection[str]) -> bool:
    group = candidates(address, nodes)
    liveness = Liveness(alive=frozenset({node}), cut_off_from=ahead.ahead, in_cycle=ahead.in_cycle)
    return Standings(
        ElectedGroup(group, LiveCandidates(group.eligible, group.addresses, None, node=node)),
        node=node,
        inputs=Inputs(liveness=liveness),
        alive=liveness.alive,
        claims=ClaimIndex(node),
        own={},
    ).isolated


def not_cut_off(names: Collection[str], graph: Hearing) -> Mapping[Address, set[str]]:
    found = settle(names, graph)
    return {
        address: {node for node in nodes if not cut_off(node, found[node], address, nodes)}
        for address, nodes in addresses_for(names).items()
    }


@pytest.mark.parametrize("count", [2, 3, 4])
def test_however_heartbeats_pass_not_all_candidates_count_as_cut_off(count: int) -> None:
    for graph in graphs(count):
        assert all(not_cut_off(NAMES[:count], graph).values()), sorted(graph)


@given(st.frozensets(st.sampled_from(list(permutations(NAMES, 2)))))
def test_nor_do_they_among_more(graph: Hearing) -> None:
    assert all(not_cut_off(NAMES, graph).values())


def test_who_hears_one_way_those_that_others_are_ahead_of_gives_way_to_these() -> None:
    first, second, third = NAMES[:3]
    found = settle(NAMES[:3], frozenset({(first, second), (second, third)}))
    assert found == {first: Ahead(), second: Ahead(frozenset({first})), third: Ahead(frozenset({first, second}))}


def test_of_a_ring_one_is_not_cut_off_and_who_it_leads_to_is() -> None:
    names = NAMES[:4]
    graph = ring(*names[:3]) | {(names[2], names[3])}
    found = not_cut_off(names, graph)
    for address, nodes in addresses_for(names).items():
        inside = set(nodes) & set(names[:3])
        assert len(found[address]) == 1
        assert found[address] <= (inside or {names[3]})


def test_what_went_round_a_ring_is_forgotten_with_its_origin() -> None:
    """One that all of a ring are behind, through the first, dies: nobody says any more that it is ahead."""
    first, second, third, source = NAMES[:4]
    behind = {first: {third, source}, second: {first}, third: {second}, source: set[str]()}
    said: dict[str, Ways] = {}
    for _ in range(5):
        said = {node: pass_on(node, behind[node], said) for node in behind}
    assert ahead_of(third, behind[third], said[third]).ahead == {source}
    behind[first] = {third}
    del behind[source]
    for _ in range(4):
        said = {node: pass_on(node, behind[node], said) for node in behind}
    assert ahead_of(third, behind[third], said[third]) == Ahead(frozenset(), frozenset({first, second}))


def hearing(names: Collection[str], graph: Hearing, *, seed: int = 0, seconds: float = 0.0, udp: bool) -> Cluster:
    """A cluster that was whole, in which heartbeats pass in these ways alone from now on, or nothing else does."""
    cluster = Cluster(list(names), seed=seed)
    for name in names:
        cluster.see(name, [candidates(address, nodes) for address, nodes in addresses_for(names).items()])
    cluster.run(3.0 + seconds)
    for sender, receiver in permutations(names, 2):
        if (sender, receiver) not in graph:
            (cluster.block_way if udp else cluster.cut_way)(sender, receiver)
    return cluster


def assert_answered(cluster: Cluster, names: Collection[str], graph: Hearing) -> None:
    addresses = addresses_for(names)
    for address, holders in holders_of(cluster, addresses).items():
        assert holders, f"{addresses[address]} of {sorted(graph)}"
        for one, other in combinations(holders, 2):
            assert not {(one, other), (other, one)} <= graph, f"{holders} of {addresses[address]} of {sorted(graph)}"


@pytest.mark.parametrize("names", [NAMES[:3], NAMES[:4], NAMES[:5], NAMES, tuple(reversed(NAMES[:4]))], ids="-".join)
@pytest.mark.parametrize("api", [True, False], ids=["with the API", "without"])
def test_in_a_ring_of_heartbeats_that_pass_one_way_one_answers_and_stays(
    names: tuple[str, ...], *, api: bool
) -> None:
    graph = ring(*names)
    names = NAMES[: len(names)]
    cluster = hearing(names, graph, udp=False)
    if not api:
        cluster.without_api |= set(names)
    cluster.run(2 * BOUND_SECONDS)
    before = holders_of(cluster, addresses_for(names))
    assert all(len(holders) == 1 for holders in before.values())
    assert not changes_of(cluster, before, 20.0)
    cluster.heal()
    cluster.run(BOUND_SECONDS)
    assert holders_of(cluster, before) == before


@pytest.mark.parametrize("udp", [True, False], ids=["a firewall", "a switch"])
def test_however_heartbeats_pass_among_three_each_address_is_answered(*, udp: bool) -> None:
    for graph in graphs(3):
        cluster = hearing(NAMES[:3], graph, udp=udp)
        cluster.run(BOUND_SECONDS)
        assert_answered(cluster, NAMES[:3], graph)
        cluster.run(LEASE_BOUND_SECONDS)
        assert_answered(cluster, NAMES[:3], graph)


@pytest.mark.parametrize("seed", range(examples(20)))
def test_however_heartbeats_pass_among_four_each_address_is_answered(seed: int) -> None:
    """All of them were walked once; here a few each time."""
    every = four()
    graph = every[seed * 11 % len(every)]
    cluster = hearing(NAMES[:4], graph, seed=seed, udp=seed % 2 == 0)
    cluster.run(LEASE_BOUND_SECONDS)
    assert_answered(cluster, NAMES[:4], graph)


def test_one_that_is_heard_and_hears_nobody_is_known_as_it_is_now() -> None:
    """The deaf cannot be told that it lacks something: what it says goes out all the same, piece by piece."""
    addresses = [Address.parse(f"192.0.2.{number}") for number in range(1, 201)]
    cluster = Cluster(list(NAMES[:3]), addresses, new_holder=partial(WholeHolder, checked=False))
    deaf = cluster.members[NAMES[0]]
    cluster.block(NAMES[0], outbound=False)
    cluster.run(3.0)
    assert deaf.state.claims
    for name in NAMES[1:3]:
        liveness = cluster.members[name].membership.liveness(cluster.now)
        assert NAMES[0] not in liveness.heard
        assert dict(liveness.states[NAMES[0]].claims) == dict(deaf.state.claims)


def test_whom_one_that_is_heard_one_way_hears_no_more_is_not_taken_for_alive_by_its_word() -> None:
    first, second, third, fourth = names = NAMES[:4]
    whole = {(first, second), (second, first), (first, third), (third, first), (second, third)}
    cluster = hearing(names, frozenset(whole), udp=False)
    cluster.run(ALONE_BOUND_SECONDS)
    assert fourth not in cluster.members[third].membership.liveness(cluster.now).alive
    address = next(address for address, nodes in addresses_for(names).items() if nodes == (third, fourth))
    assert cluster.holders(address) == {third}

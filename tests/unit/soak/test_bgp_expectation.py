"""What the soak of BGP takes for wrong: what lasts too long, and what moves though nobody has changed it."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass, replace

import pytest

from tests.soak.bgp.expectation import CHANGE_SECONDS, RETURN_SECONDS, Expectation, Hop, Scope
from tests.soak.bgp.objects import ClusterState, PoolState, ServiceState

ONE, TWO = Hop("r1", "a", "192.0.2.1"), Hop("r1", "b", "192.0.2.1")
OTHER = Hop("r2", "a", "192.0.2.1")
OF_A = Scope(frozenset({"r1", "r2"}), frozenset({"a"}))


@dataclass
class Clock:
    now: float = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def expectation(clock: Clock) -> Expectation:
    found = Expectation(clock)
    with found.changing(lambda: [ONE, TWO, OTHER]):
        pass
    clock.now += CHANGE_SECONDS
    return found


def test_what_is_there_and_what_is_missing_is_wrong_once_its_time_is_over(
    expectation: Expectation, clock: Clock
) -> None:
    with expectation.changing(lambda: [TWO, OTHER]):
        clock.now += 1000
        assert expectation.wrong("r1", {ONE}, clock.now) == {TWO}, "what does not change has to stay"
    assert expectation.wrong("r1", {ONE, TWO}, clock.now + CHANGE_SECONDS - 1) == set()
    assert expectation.wrong("r1", {ONE, TWO}, clock.now + CHANGE_SECONDS) == {ONE}
    assert expectation.wrong("r1", {TWO}, clock.now + CHANGE_SECONDS) == set()
    assert expectation.wrong("r2", set(), clock.now + CHANGE_SECONDS) == {OTHER}


def test_what_comes_to_be_wanted_of_a_session_that_may_be_down_has_its_time(
    expectation: Expectation, clock: Clock
) -> None:
    with expectation.changing(lambda: [TWO, OTHER]):
        pass
    clock.now += 2 * CHANGE_SECONDS
    with expectation.befalling(OF_A):
        pass
    back = clock.now + RETURN_SECONDS
    with expectation.changing(lambda: [ONE, TWO, OTHER]):
        pass
    assert expectation.wrong("r1", {TWO}, back - 1) == set()
    assert expectation.may_move("r1", ONE.address, back - 1)
    assert expectation.wrong("r1", {TWO}, back) == {ONE}
    assert not expectation.may_move("r1", ONE.address, back)


def test_a_finding_says_which_nodes_were_to_have_it_and_until_when_each_was_excused(
    expectation: Expectation, clock: Clock
) -> None:
    with expectation.changing(lambda: [TWO, OTHER]):
        pass
    said = expectation.story("r1", ONE.address, clock.now)
    assert said == "a not wanted, anything until +8.00 s of it; b wanted, anything until +0.00 s of it"
    assert expectation.story("r1", "192.0.2.9", clock.now) == "no node is or was to have it"


def test_what_befalls_a_node_excuses_its_sessions_alone(expectation: Expectation, clock: Clock) -> None:
    with expectation.befalling(OF_A):
        assert expectation.wrong("r1", set(), clock.now) == {TWO}
        assert expectation.may_reset("r1", "a", clock.now)
        assert not expectation.may_reset("r1", "b", clock.now)
        assert expectation.settled_at() > clock.now + 1e9
    later = clock.now + RETURN_SECONDS
    assert expectation.wrong("r1", {TWO}, later - 1) == set()
    assert expectation.wrong("r1", {TWO}, later) == {ONE}
    assert not expectation.may_reset("r1", "a", later)
    assert expectation.settled_at() == later


def test_slow_node_keeps_what_it_has_and_changes_late(expectation: Expectation, clock: Clock) -> None:
    with expectation.slow(OF_A):
        with expectation.changing(lambda: [TWO, OTHER]):
            pass
        clock.now += 1000
        assert expectation.wrong("r1", {ONE, TWO}, clock.now) == set()
        assert expectation.wrong("r2", set(), clock.now) == {OTHER}
        assert not expectation.may_reset("r1", "a", clock.now)
    assert expectation.wrong("r1", {ONE, TWO}, clock.now + RETURN_SECONDS) == {ONE}


def test_change_shortens_no_bound(expectation: Expectation, clock: Clock) -> None:
    with expectation.befalling(OF_A):
        pass
    with expectation.changing(lambda: [ONE, TWO, OTHER], touched=[ONE]):
        pass
    assert expectation.wrong("r1", {TWO}, clock.now + RETURN_SECONDS - 1) == set()
    assert expectation.wrong("r1", {TWO}, clock.now + RETURN_SECONDS) == {ONE}


@pytest.mark.parametrize("lasts", [Expectation.befalling, Expectation.slow])
@pytest.mark.parametrize("first", ["the change", "what keeps a node from following it"])
def test_router_may_prefer_a_node_that_follows_late(
    expectation: Expectation, clock: Clock, lasts: Callable[..., AbstractContextManager[None]], first: str
) -> None:
    with ExitStack() as running:
        if first != "the change":
            running.enter_context(lasts(expectation, OF_A))
        with expectation.changing(lambda: [ONE, TWO, OTHER], touched=[ONE, TWO]):
            pass
        if first == "the change":
            running.enter_context(lasts(expectation, OF_A))
        clock.now += 1000
        assert expectation.wrong("r1", {ONE}, clock.now) == set()
    assert expectation.wrong("r1", {ONE}, clock.now + RETURN_SECONDS - 1) == set()
    assert expectation.wrong("r1", {ONE}, clock.now + RETURN_SECONDS) == {TWO}


def test_node_is_late_for_what_routers_choose_by_alone(expectation: Expectation, clock: Clock) -> None:
    with expectation.befalling(OF_A), expectation.changing(lambda: [OTHER]):
        pass
    assert expectation.wrong("r1", {TWO}, clock.now + CHANGE_SECONDS) == {TWO}


def test_route_moves_without_a_reason_unless_one_of_its_hops_changes(expectation: Expectation, clock: Clock) -> None:
    assert not expectation.may_move("r1", "192.0.2.1", clock.now)
    with expectation.changing(lambda: [ONE, OTHER]):
        assert expectation.may_move("r1", "192.0.2.1", clock.now)
        assert not expectation.may_move("r2", "192.0.2.1", clock.now)


def test_address_that_nobody_has_is_wrong_at_once(expectation: Expectation, clock: Clock) -> None:
    stray = Hop("r1", "a", "192.0.2.9")
    assert expectation.wrong("r1", {ONE, TWO, stray}, clock.now) == {stray}


def test_who_has_to_have_what() -> None:
    every = frozenset({"a", "b", "c"})
    state = ClusterState(every, {"p1": "r1", "p2": "r2"}).with_pool("pool", PoolState())
    cluster = ServiceState(("192.0.2.1",), frozenset({"b"}))
    state = state.with_service("pool", "web", cluster)
    assert nodes(state, "r1") == nodes(state, "r2") == every
    assert nodes(state.with_service("pool", "web", replace(cluster, local=True)), "r1") == {"b"}
    assert nodes(state.with_service("pool", "web", replace(cluster, endpoints=frozenset())), "r1") == set()
    assert nodes(replace(state, leaving=frozenset({"b"})), "r1") == {"a", "c"}
    chosen = replace(state.pools["pool"], nodes=frozenset({"a"}), peers=frozenset({"p2"}))
    assert nodes(state.with_pool("pool", chosen), "r1") == set()
    assert nodes(state.with_pool("pool", chosen), "r2") == {"a"}
    assert nodes(state.with_service("pool", "web", None), "r1") == set()
    six = state.with_service("pool", "web", replace(cluster, addresses=("2001:db8::1",)))
    assert nodes(replace(six, ipv4_only=frozenset({"r1"})), "r1") == set()
    assert nodes(replace(six, ipv4_only=frozenset({"r1"})), "r2") == every


def nodes(state: ClusterState, router: str) -> set[str]:
    return {hop.node for hop in state.hops() if hop.router == router}

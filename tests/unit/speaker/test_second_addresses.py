"""Addresses that a Service gets later: one has a holder though the node that has the first does not know of it."""

from __future__ import annotations

from collections.abc import Callable
from random import Random

import pytest

from allocator.core.addresses import Address
from tests.unit.effort import examples
from tests.unit.speaker.judge import BOUND_SECONDS
from tests.unit.speaker.simulated import Cluster, together
from tests.unit.speaker.walker import CALM_SECONDS

FIRST, SECOND = Address.parse("192.0.2.1"), Address.parse("2001:db8::1")
PAIR = (FIRST, SECOND)


class Services:
    """A cluster with one Service whose first address has a holder; nodes learn of the second when a test says so."""

    def __init__(self, nodes: int, *, seed: int = 0, known: tuple[Address, ...] = (FIRST,)) -> None:
        names = [f"node-{number}" for number in range(1, nodes + 1)]
        self.cluster = Cluster(names, seed=seed)
        self.before, self.after = together(known, names), together(PAIR, names)
        self.see(names, self.before)
        self.cluster.run(CALM_SECONDS)
        (self.holder,) = self.cluster.holders(known[0])
        self.others = [name for name in names if name != self.holder]

    def see(self, names: list[str], group: object) -> None:
        for name in names:
            if name in self.cluster.members:
                self.cluster.see(name, [group])  # type: ignore[list-item]

    def holders(self) -> tuple[set[str], set[str]]:
        return self.cluster.holders(FIRST), self.cluster.holders(SECOND)


@pytest.mark.parametrize("known", [(FIRST,), (SECOND,)], ids=["IPv4 was first", "IPv6 was first"])
@pytest.mark.parametrize("nodes", [2, 3, 5])
def test_what_the_announcing_node_does_not_know_of_another_announces_until_it_does(
    nodes: int, known: tuple[Address, ...]
) -> None:
    services = Services(nodes, known=known)
    cluster = services.cluster
    services.see(services.others, services.after)
    cluster.run(BOUND_SECONDS)
    (new,) = set(PAIR) - set(known)
    (meanwhile,) = cluster.holders(new)
    assert meanwhile in services.others
    seen: set[str] = set()
    cluster.watch = lambda: seen.update(cluster.holders(new))
    cluster.run(30.0)
    assert seen == {meanwhile}, "it stays there meanwhile"
    services.see([services.holder], services.after)
    cluster.run(BOUND_SECONDS)
    assert services.holders() == ({services.holder}, {services.holder})
    assert seen == {meanwhile, services.holder}
    cluster.run(CALM_SECONDS)
    assert services.holders() == ({services.holder}, {services.holder})


def test_of_a_node_that_learns_of_it_first_it_is_at_once() -> None:
    services = Services(3)
    taken: list[set[str]] = []
    services.cluster.watch = lambda: taken.append(services.cluster.holders(SECOND))
    services.see([services.holder], services.after)
    services.cluster.run(0.1)
    services.see(services.others, services.after)
    services.cluster.run(BOUND_SECONDS)
    assert set(map(frozenset, taken)) == {frozenset(), frozenset({services.holder})}


@pytest.mark.parametrize("end", [Cluster.kill, Cluster.leave, Cluster.power_off], ids=["killed", "leaves", "off"])
def test_who_announces_what_was_left_out_takes_the_rest_over_when_its_holder_ends(
    end: Callable[[Cluster, str], None],
) -> None:
    services = Services(3)
    cluster = services.cluster
    services.see(services.others, services.after)
    cluster.run(BOUND_SECONDS)
    (meanwhile,) = cluster.holders(SECOND)
    end(cluster, services.holder)
    cluster.run(BOUND_SECONDS)
    assert services.holders() == ({meanwhile}, {meanwhile})
    assert not any(claim.apart for claim in cluster.members[meanwhile].state.claims.values())


def test_what_was_left_out_is_taken_over_when_its_own_holder_dies() -> None:
    services = Services(3)
    cluster = services.cluster
    services.see(services.others, services.after)
    cluster.run(BOUND_SECONDS)
    (meanwhile,) = cluster.holders(SECOND)
    cluster.kill(meanwhile)
    cluster.run(BOUND_SECONDS)
    (third,) = set(services.others) - {meanwhile}
    assert services.holders() == ({services.holder}, {third})


@pytest.mark.parametrize("seed", range(examples(12)))
def test_whoever_knows_how_much_when_the_bounds_hold(seed: int) -> None:
    """Nodes learn of the second address at random times, some die, restart or are cut off meanwhile."""
    random = Random(seed)
    services = Services(random.choice([2, 3, 3, 4, 5]), seed=seed)
    cluster, names = services.cluster, list(services.cluster.names)
    informed: dict[str, float] = {}
    changed_at = [cluster.now]
    wrong: dict[str, float] = {}

    def inform(name: str) -> None:
        services.see([name], services.after)
        informed[name] = cluster.now

    def look() -> None:
        first, second = services.holders()
        expecting = {name for name, at in informed.items() if name in cluster.members}
        found = {
            "the first has no holder": not first,
            "the second has no holder": bool(expecting) and not second,
            "the first has two": len(first) > 1,
            "the second has two": len(second) > 1,
        }
        for what, is_so in found.items():
            since = wrong.setdefault(what, cluster.now) if is_so else wrong.pop(what, cluster.now)
            assert not is_so or cluster.now - max(since, changed_at[0]) <= BOUND_SECONDS, f"{what} at {cluster.now}"

    cluster.watch = look
    for name in random.sample(names, len(names)):
        if name not in informed and name in cluster.members:
            inform(name)
            changed_at[0] = cluster.now
        cluster.run(random.choice([0.0, 0.05, 0.3, 1.0, 3.0, 8.0]))
        if random.random() < 0.3 and len(cluster.members) > 1:
            random.choice([cluster.kill, cluster.power_off])(random.choice(list(cluster.members)))
            changed_at[0] = cluster.now
            cluster.run(random.choice([0.1, 1.0, 2.0]))
    cluster.run(BOUND_SECONDS)
    first, second = services.holders()
    assert (len(first), len(second)) == (1, 1)
    assert first == second or not first <= informed.keys()

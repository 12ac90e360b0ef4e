"""Random interleavings of what goes wrong among speakers, and what must hold whatever does.

`python -m tests.unit.speaker.walker FIRST COUNT` walks more seeds than the unit tests do.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from functools import partial
from random import Random

from allocator.core.addresses import Address
from speaker.cluster.eligibility import NOT_READY_HANDICAP
from speaker.membership.link import Link, Subnet
from speaker.membership.membership import STEADY_SECONDS
from tests.unit.speaker.hosts import Hosts
from tests.unit.speaker.judge import LEASE_BOUND_SECONDS, Judge
from tests.unit.speaker.simulated import Cluster, candidates, lan_links

ADDRESSES = tuple(Address.parse(f"192.0.2.{number}") for number in range(1, 5))
DEAD_PORT = "a dead port to the LAN"
TWO_LANS_SHARE = 0.4
CALM_SECONDS = STEADY_SECONDS + 2.0
UNEQUAL_SHARE = 0.5
ELSEWHERE = Link(name="eth1", mac=bytes(6), subnets=(Subnet.parse("198.51.100.0/24"),))


class Violation(AssertionError):
    """Something that must hold does not; the message has what happened before."""


@dataclass
class Walk:
    """One cluster, the faults that were done to it, and what was seen of the addresses."""

    seed: int
    unequal: bool = False
    done: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.random = Random(self.seed)
        count = self.random.choice([2, 3, 3, 3, 4, 5])
        self.cluster = Cluster(
            [f"node-{number}" for number in range(1, count + 1)],
            ADDRESSES,
            seed=self.seed,
            of_service=1 + self.seed % 2,
        )
        self.two_lans = self.random.random() < TWO_LANS_SHARE
        if self.two_lans:
            for number, name in enumerate(self.cluster.names, 1):
                self.cluster.links(name, lan_links(number))
        self._weights: dict[Address, dict[str, int]] = {}
        """Of each candidate of each address, where they are not all equal."""
        self._unready: set[str] = set()
        eligible = {address: frozenset(self.cluster.names) for address in ADDRESSES}
        if self.unequal:
            eligible = self._be_unequal()
        self.candidates = eligible
        self._judge = Judge(self.cluster, eligible)
        self._hosts = Hosts(self.cluster, ADDRESSES)
        self._lasting: list[Callable[[], None]] = []
        self.cluster.watch = self._look
        self.cluster.run(CALM_SECONDS)

    def faults(self) -> dict[str, Callable[[], None]]:
        """What can go wrong, each with random victims."""
        cluster, pick = self.cluster, self.random.choice
        names = cluster.names
        one = pick(names)
        other = pick([name for name in names if name != one])
        side = self.random.sample(names, self.random.randint(1, len(names) - 1))
        return {
            f"isolate {one}": lambda: cluster.cut(one),
            f"cut off {sorted(side)}": lambda: cluster.cut(*side),
            "pause the LAN": cluster.pause,
            f"pull the cables of {one}": lambda: cluster.pull(one),
            f"nothing passes from {one} to {other}": lambda: cluster.cut_way(one, other),
            f"half is lost from {one} to {other}": lambda: cluster.lose(one, other, 0.5),
            f"block heartbeats to {one}": lambda: cluster.block(one, outbound=False),
            f"block heartbeats from {one}": lambda: cluster.block(one, inbound=False),
            f"block heartbeats of {one}": lambda: cluster.block(one),
            f"no API for {one}": lambda: cluster.without_api.add(one),
            f"kill the speaker of {one}": lambda: self._end(one, cluster.kill),
            f"power off {one}": lambda: self._end(one, cluster.power_off),
            f"restart {one}": lambda: self._end(one, cluster.leave),
            f"freeze {one}": lambda: self._end(one, cluster.stop),
            "delete all Leases": cluster.delete_leases,
            **({f"{one} is not Ready": lambda: self._elect({*self._unready, one})} if self.unequal else {}),
            **({f"{DEAD_PORT} of {one}": lambda: cluster.lan_out.add(one)} if self.two_lans else {}),
        }

    def do(self, what: str, act: Callable[[], None], seconds: float) -> None:
        """Have something happen, and let time pass."""
        self.done.append(f"{self.cluster.now:.2f} {what}, then {seconds:.2f} s")
        self._judge.changed()
        self._hosts.rewire()
        act()
        self.cluster.run(seconds)

    def fail_somehow(self, seconds: float) -> str:
        """Do something random."""
        what, act = self.random.choice(list(self.faults().items()))
        self.do(what, act, seconds)
        return what

    def begin_to_last(self) -> None:
        """Have something go wrong that lasts, whatever else is healed."""
        cluster, pick = self.cluster, self.random.choice
        one, other = self.random.sample(cluster.names, 2)

        def deafen() -> None:
            cluster.cut_way(one, other)
            cluster.cut_way(other, one)

        kinds: dict[str, Callable[[], None]] = {
            f"{one} and {other} are deaf to each other": deafen,
            f"nothing passes from {one} to {other}": lambda: cluster.cut_way(one, other),
            f"block heartbeats to {one}": lambda: cluster.block(one, outbound=False),
            f"block heartbeats from {one}": lambda: cluster.block(one, inbound=False),
            f"block heartbeats of {one}": lambda: cluster.block(one),
        }
        if self.two_lans and len(cluster.names) > 2:
            kinds[f"{DEAD_PORT} of {one}"] = lambda: cluster.lan_out.add(one)
        deaf, *_ = kinds
        what = deaf if self.random.random() < 0.5 else pick(list(kinds))
        self._lasting.append(kinds[what])
        self.do(f"from now on {what}", kinds[what], pick([0.1, 2.0, CALM_SECONDS]))

    def heal(self, seconds: float, *, pause_seconds: float = 0.0, all_of_it: bool = False) -> None:
        """Undo everything but what lasts, or `all_of_it`, the ports of a pause one after the other."""
        cluster = self.cluster

        def repair() -> None:
            out = set(cluster.out)
            cluster.heal()
            cluster.without_api.clear()
            if self.unequal:
                self._elect(self._unready)
            for act in () if all_of_it else self._lasting:
                act()
            for name in cluster.names:
                member = cluster.members.get(name)
                if member is None:
                    cluster.start(name)
                elif member.stopped:
                    cluster.resume(name)
            if pause_seconds and out:
                cluster.out |= out

        self.do("heal", repair, 0.0)
        for name in cluster.names:
            if name in cluster.out:
                self.do(f"the port of {name} forwards", partial(cluster.rejoin, name), pause_seconds)
        self.cluster.run(seconds)

    def dead_ports_are_noticed(self) -> bool:
        """Whether all whose port to the LAN is dead know it: none does where too few others hear each other there."""
        members, now = self.cluster.members, self.cluster.now
        return all(members[name].membership.liveness(now).cut_off_links for name in self.cluster.lan_out)

    def check_lan(self) -> None:
        """Whoever learned another node for an address has been told since who holds it."""
        for address in ADDRESSES:
            (holder,) = self.cluster.holders(address)
            if self.cluster.members[holder].leads_to(address) != holder:
                # It helps a node that restarts, and says what was said before.
                continue
            for place, node, at in self._hosts.astray(address, holder):
                self.fail(f"{holder} holds {address}; at the port of {place} it is known at {node} since {at:.2f}")

    def holders(self) -> dict[str, set[str]]:
        """Who answers for each address."""
        return {str(address): self.cluster.holders(address) for address in ADDRESSES}

    def fail(self, why: str) -> None:
        """Raise with all that happened."""
        raise Violation(f"seed {self.seed}: {why}\n" + "\n".join(self.done) + f"\n{self.cluster.now:.2f}")

    def _end(self, name: str, how: Callable[[str], None]) -> None:
        member = self.cluster.members.get(name)
        if member is not None and not member.stopped:
            how(name)

    def _be_unequal(self) -> dict[Address, frozenset[str]]:
        """Give each address candidates of its own, some preferred or with a handicap, some without its subnet."""
        cluster, random = self.cluster, self.random
        if self.two_lans and random.random() < 0.5:
            outside = random.choice(cluster.names)
            cluster.links(outside, (cluster.members[outside].links[0], ELSEWHERE))
        self._unready = {name for name in [random.choice(cluster.names)] if random.random() < 0.5}
        for address in ADDRESSES:
            names = random.sample(cluster.names, random.randint(1, len(cluster.names)))
            self._weights[address] = {name: random.choice([0, 0, 0, 5]) for name in names}
        self._elect(self._unready)
        return {address: frozenset(weights) for address, weights in self._weights.items()}

    def _elect(self, unready: Collection[str]) -> None:
        """All nodes learn that these are not Ready."""
        handicaps = dict.fromkeys(unready, NOT_READY_HANDICAP)
        self.cluster.elect(
            [candidates(each, weights, weights, handicaps=handicaps) for each, weights in self._weights.items()]
        )

    def _look(self) -> None:
        """Look at every address after every event."""
        holders = {address: frozenset(self.cluster.holders(address)) for address in ADDRESSES}
        self._hosts.look(holders)
        wrong = self._judge.look(holders)
        if wrong is not None:
            self.fail(wrong)


def walk_one_fault(seed: int) -> None:
    """One fault, healed after a while: each address moves once at most."""
    walk = Walk(seed)
    before = walk.holders()
    what = walk.fail_somehow(walk.random.choice([0.3, 0.8, 2.0, 4.0, 12.0]))
    during = walk.holders()
    if what.startswith(DEAD_PORT) and during == before:
        # That it is whole again is known as late as that it was dead: the one move may come afterwards.
        during = {address: set() for address in before}
    walk.heal(CALM_SECONDS, pause_seconds=walk.random.choice([0.0, 1.0]))
    after = walk.holders()
    for address, holder in after.items():
        if len(holder) != 1:
            walk.fail(f"{address} is answered by {sorted(holder)} in the end")
        if holder != before[address] and not holder <= during[address] and during[address] != set():
            walk.fail(f"{address} moved twice: {before[address]}, {during[address]}, {holder}")
    walk.check_lan()


def walk_many_faults(seed: int) -> None:
    """Faults one upon the other: bounds hold after each, and when all is healed one node answers for each address."""
    walk = Walk(seed)
    for _ in range(walk.random.randint(2, 6)):
        walk.fail_somehow(walk.random.choice([0.02, 0.3, 0.8, 2.0, 4.0]))
        if walk.random.random() < 0.3:
            walk.heal(walk.random.choice([0.1, 1.0, 6.0]))
    walk.heal(2.5, pause_seconds=walk.random.choice([0.0, 1.0]))
    before = walk.holders()
    for address, holder in before.items():
        if len(holder) != 1:
            walk.fail(f"{address} is answered by {sorted(holder)} in the end")
    walk.cluster.run(CALM_SECONDS)
    if walk.holders() != before:
        walk.fail(f"it does not come to rest: {before}, {walk.holders()}")
    walk.check_lan()


def walk_beside_what_lasts(seed: int) -> None:
    """Faults that last, and others that come and go beside them, among candidates that are not all equal."""
    walk = Walk(seed, unequal=Random(seed).random() < UNEQUAL_SHARE)
    for _ in range(walk.random.choice([1, 1, 2])):
        walk.begin_to_last()
    for _ in range(walk.random.randint(1, 4)):
        walk.fail_somehow(walk.random.choice([0.3, 2.0, 6.0]))
        if walk.random.random() < 0.6:
            walk.heal(walk.random.choice([0.1, 3.0, CALM_SECONDS]))
    walk.heal(LEASE_BOUND_SECONDS + CALM_SECONDS)
    before = walk.holders()
    walk.cluster.run(CALM_SECONDS)
    if walk.holders() != before:
        walk.fail(f"it does not come to rest: {before}, {walk.holders()}")
    noticed = walk.dead_ports_are_noticed()
    walk.heal(2 * CALM_SECONDS, all_of_it=True)
    for address, holder in walk.holders().items():
        if len(holder) != 1:
            walk.fail(f"{address} is answered by {sorted(holder)} in the end")
    if noticed:
        walk.check_lan()


if __name__ == "__main__":
    first, count = map(int, sys.argv[1:3])
    failed = 0
    for seed in range(first, first + count):
        for walk in (walk_one_fault, walk_many_faults, walk_beside_what_lasts):
            try:
                walk(seed)
            except AssertionError as violation:
                failed += 1
                print(seed, walk.__name__, violation, flush=True)
    print(f"{count} seeds, {failed} violations")

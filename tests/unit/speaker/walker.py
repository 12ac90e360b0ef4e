"""Random interleavings of what goes wrong among speakers, and what must hold whatever does.

`python -m tests.unit.speaker.walker FIRST COUNT` walks more seeds than the unit tests do.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from itertools import combinations
from random import Random

from allocator.core.addresses import Address
from speaker.membership.durations import DEFAULT_DEAD_AFTER_SECONDS
from speaker.membership.membership import STEADY_SECONDS
from tests.unit.speaker.hosts import Hosts
from tests.unit.speaker.simulated import Cluster, Member, lan_links

ADDRESSES = tuple(Address.parse(f"192.0.2.{number}") for number in range(1, 5))
BOUND_SECONDS = DEFAULT_DEAD_AFTER_SECONDS + 1.0
"""How long after a fault or its healing an address may have two holders among nodes that hear each other, or none."""
DEAD_PORT = "a dead port to the LAN"
TWO_LANS_SHARE = 0.4
CALM_SECONDS = STEADY_SECONDS + 2.0
LEASE_BOUND_SECONDS = 15.0


class Violation(AssertionError):
    """Something that must hold does not; the message has what happened before."""


@dataclass
class Walk:
    """One cluster, the faults that were done to it, and what was seen of the addresses."""

    seed: int
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
        self.changed_at = self.cluster.now
        self._wrong_since: dict[tuple[Address, str], float] = {}
        self._seen: object = None
        """What `_wrong_now` was last asked about; None once the network has changed."""
        self._hosts = Hosts(self.cluster, ADDRESSES)
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
            **({f"{DEAD_PORT} of {one}": lambda: cluster.lan_out.add(one)} if self.two_lans else {}),
        }

    def do(self, what: str, act: Callable[[], None], seconds: float) -> None:
        """Have something happen, and let time pass."""
        self.done.append(f"{self.cluster.now:.2f} {what}, then {seconds:.2f} s")
        self.changed_at = self.cluster.now
        self._hosts.rewire()
        act()
        self._seen = None
        self.cluster.run(seconds)

    def fail_somehow(self, seconds: float) -> str:
        """Do something random."""
        what, act = self.random.choice(list(self.faults().items()))
        self.do(what, act, seconds)
        return what

    def heal(self, seconds: float, *, pause_seconds: float = 0.0) -> None:
        """Undo everything, the ports of a pause one after the other."""
        cluster = self.cluster

        def repair() -> None:
            out = set(cluster.out)
            cluster.heal()
            cluster.without_api.clear()
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

    def _look(self) -> None:
        """Look at every address after every event."""
        cluster = self.cluster
        holders = {address: frozenset(cluster.holders(address)) for address in ADDRESSES}
        self._hosts.look(holders)
        seen = holders, {name for name, member in cluster.members.items() if not member.stopped}
        if seen != self._seen:
            self._seen = seen
            wrong = self._wrong_now(holders)
            for key in self._wrong_since.keys() - wrong:
                del self._wrong_since[key]
            for key in wrong:
                self._wrong_since.setdefault(key, cluster.now)
        for key, begun in self._wrong_since.items():
            since = max(begun, self.changed_at)
            if cluster.now - since > self._bound():
                self.fail(f"{key[0]} is answered by {key[1]} since {since:.2f}")

    def _wrong_now(self, holders: Mapping[Address, frozenset[str]]) -> set[tuple[Address, str]]:
        """Of which addresses there is one holder too many, or none. Follows from `_look`'s two and the network."""
        cluster, sides = self.cluster, self._sides()
        wrong: set[tuple[Address, str]] = set()
        for address, names in holders.items():
            for one, other in combinations(sorted(names), 2):
                if self._hear_each_other(one, other):
                    wrong.add((address, f"{one} and {other}"))
            if not names and any(_can_answer(member) for member in cluster.members.values()):
                wrong.add((address, "nobody"))
            for side in sides:
                if len(side) > 1 and not names & side:
                    wrong.add((address, f"nobody of {sorted(side)}"))
        return wrong

    def _bound(self) -> float:
        """Where nobody hears anybody, a speaker that died is known by its Lease alone."""
        by_lease = len(self.cluster.names) > 1 and all(len(side) == 1 for side in self._sides())
        return LEASE_BOUND_SECONDS if by_lease else BOUND_SECONDS

    def _hear_each_other(self, one: str, other: str) -> bool:
        return all(self.cluster.passes(*way) for way in ((one, other), (other, one)))

    def _sides(self) -> list[set[str]]:
        """The groups of speakers linked by heartbeats that pass both ways now and then, also through others."""
        cluster = self.cluster
        left = {name for name, member in cluster.members.items() if not member.stopped}
        sides = []
        while left:
            side = {left.pop()}
            while more := {b for b in left for a in side if cluster.may_pass(a, b) and cluster.may_pass(b, a)}:
                side |= more
                left -= more
            sides.append(side)
        return sides


def _can_answer(member: Member) -> bool:
    return not member.stopped and not all(link.lost for link in member.links)


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


if __name__ == "__main__":
    first, count = map(int, sys.argv[1:3])
    failed = 0
    for seed in range(first, first + count):
        for walk in (walk_one_fault, walk_many_faults):
            try:
                walk(seed)
            except AssertionError as violation:
                failed += 1
                print(seed, walk.__name__, violation, flush=True)
    print(f"{count} seeds, {failed} violations")

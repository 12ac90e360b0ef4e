"""Whether the addresses of simulated speakers are answered as they must be, looked at after every event.

What must hold: two holders, or none, for `BOUND_SECONDS` at most after a fault or its healing, for
`LEASE_BOUND_SECONDS` where Leases alone tell who lives; longer only while the candidates cannot
reach each other by heartbeats, directly or through other nodes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from itertools import combinations

from allocator.core.addresses import Address
from speaker.membership.durations import DEFAULT_DEAD_AFTER_SECONDS
from speaker.membership.lease_evidence import RENEW_SECONDS
from tests.unit.speaker.simulated import Cluster, Member

BOUND_SECONDS = DEFAULT_DEAD_AFTER_SECONDS + 1.0
LEASE_BOUND_SECONDS = 15.0
ALONE_BOUND_SECONDS = LEASE_BOUND_SECONDS + RENEW_SECONDS / 2
"""For a node that is alone. Where all Leases were deleted meanwhile, they come back as late as they are renewed."""

_Wrong = tuple[Address, str]


class Judge:
    """Remembers since when something is wrong. `changed` is to be called before the network changes."""

    def __init__(self, cluster: Cluster, candidates: Mapping[Address, frozenset[str]]) -> None:
        """`candidates` are the nodes that may announce each address."""
        self._cluster = cluster
        self._candidates = candidates
        self._changed_at = cluster.now
        self._since: dict[_Wrong, float] = {}
        self._seen: object = None
        """What `_wrong_now` was last asked about; None once the network has changed."""
        self._wrong: dict[_Wrong, float] = {}

    def changed(self) -> None:
        """The network is about to change."""
        self._changed_at = self._cluster.now
        self._seen = None

    def look(self, holders: Mapping[Address, frozenset[str]]) -> str | None:
        """Look at who answers; return what has been wrong for too long, if anything has."""
        cluster = self._cluster
        seen = dict(holders), {name for name, member in cluster.members.items() if not member.stopped}
        if seen != self._seen:
            self._seen = seen
            self._wrong = self._wrong_now(holders)
            self._since = {key: self._since.get(key, cluster.now) for key in self._wrong}
        for key, bound in self._wrong.items():
            since = max(self._since[key], self._changed_at)
            if cluster.now - since > bound:
                return f"{key[0]} is answered by {key[1]} since {since:.2f}"
        return None

    def _wrong_now(self, holders: Mapping[Address, frozenset[str]]) -> dict[_Wrong, float]:
        """Of which addresses there is one holder too many, or none, each with how long that may be so."""
        sure, possible = self._sides(self._cluster.passes), self._sides(self._cluster.may_pass)
        wrong: dict[_Wrong, float] = {}
        for address, names in holders.items():
            able = {name for name in self._candidates[address] if _can_answer(self._cluster.members.get(name))}
            for one, other in combinations(sorted(names), 2):
                if any({one, other} <= side for side in sure):
                    wrong[address, f"{one} and {other}"] = BOUND_SECONDS
                elif self._is_cut_off_alone(one, other, possible) and self._are_seen_together(one, other):
                    wrong[address, f"{one} and {other}, one of them alone"] = ALONE_BOUND_SECONDS
            by_lease = all(len(side) == 1 for side in possible if side & able)
            if not names and able:
                wrong[address, "nobody"] = LEASE_BOUND_SECONDS if by_lease else BOUND_SECONDS
            for side in possible:
                if len(side) > 1 and side & able and not names & side:
                    wrong[address, f"nobody of {sorted(side)}"] = BOUND_SECONDS
        return wrong

    def _is_cut_off_alone(self, one: str, other: str, sides: list[set[str]]) -> bool:
        """Whether one of them hears nobody, the other somebody, and Leases can tell."""
        if self._cluster.without_api:
            return False
        sizes = sorted(len(side) for side in sides if side & {one, other})
        return len(sizes) == 2 and sizes[0] == 1 < sizes[1]

    def _are_seen_together(self, one: str, other: str) -> bool:
        """Whether frames of both arrive at some host of the LAN, whatever becomes of heartbeats."""
        return any(
            all(name == place or self._both_ways(name, place) for name in (one, other))
            for place in self._cluster.names
        )

    def _both_ways(self, name: str, place: str) -> bool:
        reaches = self._cluster.reaches
        return reaches(name, place) and reaches(place, name) and not self._cluster.lan_out & {name, place}

    def _sides(self, passes: Callable[[str, str], bool]) -> list[set[str]]:
        """The groups of speakers linked by heartbeats that pass both ways, also through others."""
        left = {name for name, member in self._cluster.members.items() if not member.stopped}
        sides = []
        while left:
            side = {left.pop()}
            while more := {b for b in left for a in side if passes(a, b) and passes(b, a)}:
                side |= more
                left -= more
            sides.append(side)
        return sides


def _can_answer(member: Member | None) -> bool:
    return member is not None and not member.stopped and not all(link.lost for link in member.links)

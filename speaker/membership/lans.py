"""Who hears whom on each LAN that nodes have addresses in: an interface may be dead beyond its cable.

Regular heartbeats go to each node's first address and show whether it lives. On every other LAN that two nodes share,
each sends a few others one at a slower pace, which counts for that LAN alone. Each node advertises whom it hears on
each LAN. The nodes linked there by hearing both ways, also through others, are a side of the LAN; a node on a side
smaller than another is cut off there, and says so of its interface (`Link.cut_off`). Where nobody hears anybody, all
sides are equal and nothing is said.
"""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from allocator.core.addresses import Address, AddressError
from speaker.membership.link import Link, Subnet
from speaker.membership.ring import NEIGHBOURS_EACH_WAY, Ring
from speaker.membership.state_sync import AdvertisedState

LAN_INTERVALS = 3
"""In how many intervals one heartbeat goes over a LAN that is not the one of the regular ones."""
MOST_LANS = 4
"""How many subnets are looked after: one that is shared with others of each interface, before a second one of any."""
MOST_HEARD = 32
"""How many nodes are advertised to be heard on a LAN: the neighbours, and of those cut off as many as fit."""


@dataclass(slots=True)
class _Lan:
    """One LAN: whom this node heard there and when, and since when it is on a smaller side, in time of listening."""

    link: str
    members: Mapping[str, Address] = field(default_factory=dict)
    cut_off: frozenset[str] = frozenset()
    neighbours: frozenset[str] = frozenset()
    heard: dict[str, tuple[int, float]] = field(default_factory=dict)
    met_at: float = 0.0
    behind_since: float | None = None
    alone: bool = False


class Lans:
    """This node's LANs and what it hears on them. Owned by one thread.

    The clock of every judgement is this node's listening: a turn of its loop counts for `turn_seconds` at most.
    """

    def __init__(
        self, node: str, *, interval_seconds: float, dead_after_seconds: float, turn_seconds: float, now: float
    ) -> None:
        self._node = node
        self._interval = interval_seconds
        self._pace = LAN_INTERVALS * interval_seconds
        self._silence = dead_after_seconds + self._pace
        self._hold = dead_after_seconds / 2
        self._turn = turn_seconds
        self._listened = 0.0
        self._ticked_at = now
        self._judge_at = 0.0
        self._stale = True
        self._due_at = now
        self._links: tuple[Link, ...] = ()
        self._peers: Mapping[str, tuple[Link, ...]] = {}
        self._lans: dict[Subnet, _Lan] = {}
        self._sources: dict[str, Subnet | None] = {}
        self.hears: Mapping[Subnet, frozenset[str]] = {}
        """Whom this node hears on each LAN."""
        self.cut_off: frozenset[str] = frozenset()
        """The names of the interfaces on whose LANs others hear each other and not this node."""

    def use(self, links: Iterable[Link]) -> None:
        """These are this node's interfaces from now on."""
        links = tuple(link for link in links if not link.lost)
        if [(link.name, link.addresses, link.subnets) for link in links] == [
            (link.name, link.addresses, link.subnets) for link in self._links
        ]:
            return
        self._links = links
        self._sources.clear()
        self._meet()

    def know(self, peers: Mapping[str, tuple[Link, ...]]) -> None:
        """These are the nodes that are heard, each with its interfaces."""
        if peers != self._peers:
            self._peers = dict(peers)
            self._meet()

    def heard(self, node: str, source: str, sequence: int) -> None:
        """An authentic heartbeat of the node's present process came from this IP address."""
        subnet = self._sources.get(source, _UNKNOWN)
        if subnet is _UNKNOWN:
            subnet = self._subnet_of(source)
        lan = self._lans.get(subnet) if isinstance(subnet, Subnet) else None
        if lan is not None and sequence > lan.heard.get(node, (-1, 0.0))[0]:
            if node not in lan.heard:
                self._judge_at = 0.0
            lan.heard[node] = (sequence, self._listened)

    def forget(self, node: str) -> None:
        """The node runs a new process: what the former one sent counts for nothing."""
        for lan in self._lans.values():
            lan.heard.pop(node, None)

    def tick(self, now: float) -> bool:
        """Take note of whom this node hears; return whether sides are to be judged anew or are about to differ."""
        self._listened += min(now - self._ticked_at, self._turn)
        self._ticked_at = now
        if self._listened < self._judge_at:
            return False
        self._judge_at = self._listened + self._interval
        hears = {subnet: self._heard_on(lan) for subnet, lan in self._lans.items()}
        if hears != self.hears:
            self.hears = hears
            self._stale = True
        return self._stale or any(lan.behind_since is not None for lan in self._lans.values())

    def doubt(self) -> None:
        """Somebody on this node's side hears others on its LANs than before, or the side is another."""
        self._stale = True

    def judge(self, states: Mapping[str, AdvertisedState]) -> bool:
        """Judge by what all on this node's side advertise to hear; return whether `cut_off` changed."""
        if self._stale:
            self._stale = False
            for subnet, lan in self._lans.items():
                self._compare(subnet, lan, states)
        by_link: dict[str, list[bool]] = {}
        for lan in self._lans.values():
            by_link.setdefault(lan.link, []).append(self._is_cut_off(lan))
        before, self.cut_off = self.cut_off, frozenset(link for link, found in by_link.items() if all(found))
        return before != self.cut_off

    def due(self, now: float) -> list[tuple[str, Address]]:
        """Return to whom, and to which of its addresses, a heartbeat over a LAN is due."""
        if now < self._due_at:
            return []
        self._due_at = now + self._pace
        return [
            (node, lan.members[node])
            for lan in self._lans.values()
            for node in sorted(lan.neighbours | (lan.heard.keys() & lan.members.keys()))
            if node in lan.neighbours or self._listened - lan.heard[node][1] < self._silence
        ]

    def _meet(self) -> None:
        """Find out anew which LANs are shared, and with whom."""
        own = {address for link in self._links for address in link.addresses}
        found: dict[Subnet, _Lan] = {}
        shared = [[(link, *each) for each in self._shared(link, own)] for link in self._links]
        in_turn = (each for turn in itertools.zip_longest(*shared) for each in turn if each is not None)
        for link, subnet, members in itertools.islice(in_turn, MOST_LANS):
            lan = found[subnet] = self._lans.get(subnet) or _Lan(link.name)
            if members.keys() - lan.members.keys():
                # They are to hear of each other before anybody is judged by it.
                lan.met_at, self._due_at = self._listened, 0.0
            lan.link, lan.members = link.name, members
            lan.cut_off = frozenset(
                node for node in members if any(each.cut_off and subnet in each.subnets for each in self._peers[node])
            )
            # Who is cut off would break the ring for those beside it, who are not.
            ring = Ring({self._node} | (members.keys() - lan.cut_off), everyone_up_to=2 * NEIGHBOURS_EACH_WAY)
            lan.neighbours = ring.neighbours_of(self._node)
            lan.heard = {node: each for node, each in lan.heard.items() if node in members}
        self._lans = found
        self._stale = True

    def _shared(self, link: Link, own: set[Address]) -> Iterator[tuple[Subnet, dict[str, Address]]]:
        """Yield the link's subnets that others have addresses in, with those."""
        for subnet in link.subnets:
            if not any(address in subnet for address in link.addresses):
                continue
            found = ((node, _address_in(subnet, links, own)) for node, links in self._peers.items())
            if members := {node: address for node, address in found if address is not None}:
                yield subnet, members

    def _heard_on(self, lan: _Lan) -> frozenset[str]:
        heard = {node for node, (_, at) in lan.heard.items() if self._listened - at < self._silence}
        others = sorted(heard & lan.cut_off - lan.neighbours)
        return frozenset((heard & lan.neighbours).union(others[: MOST_HEARD - len(lan.neighbours)]))

    def _compare(self, subnet: Subnet, lan: _Lan, states: Mapping[str, AdvertisedState]) -> None:
        hearing = {node: state.lans[subnet] for node, state in states.items() if subnet in state.lans}
        hearing[self._node] = self.hears.get(subnet, frozenset())
        sides = _sides(hearing)
        own = next(side for side in sides if self._node in side)
        lan.alone = len(own) == 1
        if all(len(side) <= len(own) for side in sides):
            lan.behind_since = None
        elif lan.behind_since is None:
            lan.behind_since = self._listened

    def _is_cut_off(self, lan: _Lan) -> bool:
        """Those that hear nobody say so first: with them out of the ring, the others may turn out to be one side."""
        hold = self._hold if lan.alone else 2 * self._hold
        if lan.behind_since is None:
            return False
        return self._listened >= max(lan.behind_since, lan.met_at + self._pace) + hold

    def _subnet_of(self, source: str) -> Subnet | None:
        if len(self._sources) >= _SOURCES_KEPT:
            self._sources.clear()
        found = None
        with contextlib.suppress(AddressError):
            address = Address.parse(source)
            found = next((subnet for link in self._links for subnet in link.subnets if address in subnet), None)
        self._sources[source] = found
        return found


_UNKNOWN = object()
_SOURCES_KEPT = 4096


def _address_in(subnet: Subnet, links: Iterable[Link], own: set[Address]) -> Address | None:
    """The node's address there. One that this node has too is none: a bridge of the same name in every node."""
    return next(
        (
            address
            for link in links
            if not link.lost
            for address in link.addresses
            if address in subnet and address not in own
        ),
        None,
    )


def _sides(hearing: Mapping[str, frozenset[str]]) -> list[set[str]]:
    """Split the nodes into those linked by hearing both ways, also through others."""
    left = set(hearing)
    sides = []
    while left:
        pending = [left.pop()]
        side = set(pending)
        while pending:
            node = pending.pop()
            linked = {other for other in hearing[node] & left if node in hearing[other]}
            side |= linked
            left -= linked
            pending += linked
        sides.append(side)
    return sides

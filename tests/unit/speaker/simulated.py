"""Speakers on a simulated network and clock: the real membership and tenure, with datagrams that can be lost."""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from random import Random

from allocator.core.addresses import Address
from speaker.cluster.scope import EVERYWHERE, Scope
from speaker.election.candidates import Contest, Place
from speaker.election.election import rank
from speaker.election.holder import Surroundings, Tenancy, Tenure
from speaker.layer2.probing import PROBE_SECONDS, PROBES, RETRY_SECONDS
from speaker.membership.heartbeat import Heartbeat, Phase
from speaker.membership.membership import Membership, PeerChange
from speaker.membership.state_sync import Link, Statement

LINKS = (Link(name="eth0", mac=b"\x02\x00\x00\x00\x00\x01"),)


def contest(address: Address, nodes: Iterable[str], weights: Mapping[str, int] | None = None) -> Contest:
    """An address that each of the nodes may announce everywhere."""
    scopes: dict[Address, Scope] = {address: EVERYWHERE}
    places = {
        node: Place(weight=(weights or {}).get(node, 0), handicap=0, scopes=scopes)
        for node in rank(address=address, candidates=nodes)
    }
    return Contest(addresses=(address,), services=((("default", str(address)), address),), places=places)


@dataclass
class Member:
    """One process of a speaker. `closed` follows the real fence: nothing is answered while it is.

    `answered` is what its announcer answers for: at once what one of ours had, after the probes what nobody had.
    """

    name: str
    membership: Membership
    tenure: Tenure
    contests: tuple[Contest, ...] = ()
    links: tuple[Link, ...] = LINKS
    tenancy: Tenancy = field(default_factory=Tenancy)
    answered: set[Address] = field(default_factory=set)
    asking: dict[Address, float] = field(default_factory=dict)
    stopped: bool = False
    inbox: list[Heartbeat] = field(default_factory=list)
    waking_at: float | None = None
    changes: list[tuple[float, PeerChange]] = field(default_factory=list)
    acted_on: object = None
    closed: bool = False

    def leads_to(self, address: Address) -> str:
        """The node whose hardware address it would name."""
        loan = self.tenancy.loans.get(address)
        return self.name if loan is None else loan.lender

    def answers(self, address: Address) -> bool:
        """Whether it would answer for the address now."""
        return not (self.stopped or self.closed) and address in self.answered


class Cluster:
    """Nodes that exchange heartbeats over a network of the test's making; time stands still between calls."""

    def __init__(
        self,
        names: Sequence[str],
        addresses: Sequence[Address] = (),
        *,
        seed: int = 0,
        loss: float = 0.0,
        joined: bool = True,
    ) -> None:
        """`joined` starts every node and lets them settle."""
        self.names = tuple(names)
        self.addresses = tuple(addresses)
        self.random = Random(seed)
        self.loss = loss
        self.now = 0.0
        self.sent = 0
        self.members: dict[str, Member] = {}
        self.squatted: set[Address] = set()
        """What hosts that are none of ours have; a question for it is answered by them."""
        self.watch: Callable[[], None] = lambda: None
        self._apart: set[frozenset[str]] = set()
        self._events: list[tuple[float, int, Callable[[], None]]] = []
        self._order = itertools.count()
        if joined:
            for name in names:
                self.start(name)
            self.run(3.0)

    def start(self, name: str) -> Member:
        """Begin a new process of the node."""
        member = Member(
            name,
            Membership(node=name, now=self.now, new_number=lambda: self.random.getrandbits(63) + 1),
            Tenure(name),
            tuple(contest(address, self.names) for address in self.addresses),
        )
        self.members[name] = member
        member.membership.state(Statement(links=member.links))
        member.membership.set_peers(self.names, self.now)
        self._wake(member, self.now + self.random.uniform(0, 0.1))
        return member

    def kill(self, name: str) -> None:
        """End the node's process without a word."""
        del self.members[name]

    def leave(self, name: str) -> None:
        """Tell the node's process to leave; it ends when it has given everything away, or after a second."""
        member = self.members[name]
        member.membership.phase = Phase.LEAVING
        self._wake(member, self.now)
        deadline = self.now + 1.0

        def end_when_done() -> None:
            if self.members.get(name) is not member:
                return
            if not member.tenancy.scopes or self.now >= deadline:
                self.kill(name)
            else:
                self.at(self.now + 0.001, end_when_done)

        self.at(self.now + 0.001, end_when_done)

    def stop(self, name: str) -> None:
        """Freeze the node's process (SIGSTOP)."""
        self.members[name].stopped = True

    def resume(self, name: str) -> None:
        """Let it go on (SIGCONT): what waits in its sockets is answered, unless the fence holds."""
        member = self.members[name]
        member.stopped = False
        self._turn(member)

    def cut(self, *one_side: str) -> None:
        """Let nothing pass between these nodes and the others."""
        for inside in one_side:
            for outside in set(self.names) - set(one_side):
                self._apart.add(frozenset((inside, outside)))

    def heal(self) -> None:
        """Undo every cut."""
        self._apart.clear()

    def see(self, name: str, contests: Iterable[Contest]) -> None:
        """The node learns of another state of the cluster."""
        member = self.members[name]
        member.contests = tuple(contests)
        member.acted_on = None
        self._wake(member, self.now)

    def links(self, name: str, links: tuple[Link, ...]) -> None:
        """The node's interfaces change."""
        member = self.members[name]
        member.links = links
        member.acted_on = None
        self._wake(member, self.now)

    def at(self, when: float, what: Callable[[], None]) -> None:
        """Do something later."""
        heapq.heappush(self._events, (when, next(self._order), what))

    def run(self, seconds: float) -> None:
        """Let time pass."""
        end = self.now + seconds
        while self._events and self._events[0][0] <= end:
            self.now, _, what = heapq.heappop(self._events)
            what()
            self.watch()
        self.now = end

    def holders(self, address: Address) -> set[str]:
        """Who would answer for the address now."""
        return {name for name, member in self.members.items() if member.answers(address)}

    def sides(self) -> list[set[str]]:
        """The groups of running nodes that can reach each other."""
        left = set(self.members)
        sides = []
        while left:
            side = {left.pop()}
            while more := {b for b in left for a in side if frozenset((a, b)) not in self._apart}:
                side |= more
                left -= more
            sides.append(side)
        return sides

    def _wake(self, member: Member, when: float) -> None:
        if member.waking_at is not None and member.waking_at <= when:
            return
        member.waking_at = when

        def turn() -> None:
            if member.waking_at == when and self.members.get(member.name) is member:
                member.waking_at = None
                if not member.stopped:
                    self._turn(member)

        self.at(when, turn)

    def _turn(self, member: Member) -> None:
        """One turn of the heartbeats' loop, and of the decider if there is news."""
        membership = member.membership
        changes: list[PeerChange] = []
        for heartbeat in member.inbox:
            changes += membership.heard(heartbeat, self.now)[1]
        member.inbox.clear()
        changes += membership.tick(self.now)[1]
        member.changes += [(self.now, change) for change in changes]
        member.closed |= membership.fenced
        if membership.phase is Phase.STARTING and membership.settled(self.now):
            membership.phase = Phase.SERVING
        self._decide(member)
        self._send(member)
        self._wake(member, max(self.now + 0.0005, min(membership.next_deadline(), member.tenancy.deadline or 1e18)))

    def _decide(self, member: Member) -> None:
        membership = member.membership
        around = Surroundings(
            membership.alive(self.now),
            membership.by_lease(self.now),
            membership.statements(),
            member.links,
            frozenset(member.answered),
            membership.leaving(),
            heard=membership.hearing(member.tenancy.suspects, self.now),
        )
        deadline = member.tenancy.deadline
        if around == member.acted_on and (deadline is None or self.now < deadline):
            return
        member.acted_on = around
        member.tenancy = member.tenure.decide(member.contests, around, self.now)
        self._announce(member)
        membership.state(member.tenancy.statement(member.links))
        if not membership.fenced:
            member.closed = False

    def _announce(self, member: Member) -> None:
        """The announcer's part: what is let go is answered no more, and what nobody had is asked for first."""
        unheld = member.tenancy.unheld
        member.answered = set(member.tenancy.scopes) - unheld
        member.asking = {address: since for address, since in member.asking.items() if address in unheld}
        for address in unheld - member.asking.keys():
            member.asking[address] = self.now
            self.at(self.now + PROBES * PROBE_SECONDS, self._verdict(member, address, self.now))

    def _verdict(self, member: Member, address: Address, asked_at: float) -> Callable[[], None]:
        def fall() -> None:
            if self.members.get(member.name) is not member or member.asking.get(address) != asked_at:
                return
            if address in self.squatted or member.stopped or member.closed:
                member.asking[address] = self.now
                self.at(self.now + RETRY_SECONDS, self._verdict(member, address, self.now))
            else:
                member.answered.add(address)
                self._turn(member)

        return fall

    def _send(self, member: Member) -> None:
        for node, heartbeat in member.membership.outgoing(self.now):
            self.sent += 1
            if self.random.random() < self.loss or frozenset((member.name, node)) in self._apart:
                continue
            self.at(self.now + self.random.uniform(0.0001, 0.001), self._delivery(node, heartbeat))

    def _delivery(self, node: str, heartbeat: Heartbeat) -> Callable[[], None]:
        def deliver() -> None:
            member = self.members.get(node)
            if member is None:
                return
            member.inbox.append(heartbeat)
            if not member.stopped:
                self._turn(member)

        return deliver

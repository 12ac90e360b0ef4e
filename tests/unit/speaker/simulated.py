"""Speakers on a simulated network, API server and clock: the real membership and holder, datagrams that get lost."""

from __future__ import annotations

import heapq
import itertools
import zlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from random import Random
from typing import Any, cast

from allocator.core.addresses import Address
from allocator.kube.client import Cluster as ApiCluster
from allocator.kube.client import NotFound, Object
from allocator.kube.resource import Resource
from allocator.objects.names import HEARD_SPEAKERS_ANNOTATION, SPEAKER_LEASE_PREFIX
from speaker.cluster.eligibility import Standing
from speaker.cluster.eligible_nodes import EligibleNodes
from speaker.cluster.scope import EVERYWHERE, Scope
from speaker.election.candidates import Candidates, CandidateSet
from speaker.election.groups import GroupChanges
from speaker.election.holder import Holder, HolderState
from speaker.election.inputs import Inputs
from speaker.election.transitions import State
from speaker.layer2.probing import PROBE_SECONDS, PROBES, RETRY_SECONDS
from speaker.membership.durations import DEFAULT_DEAD_AFTER_SECONDS, DEFAULT_INTERVAL_SECONDS
from speaker.membership.heartbeat import Heartbeat, Phase
from speaker.membership.lease import JOINING
from speaker.membership.lease_evidence import RENEW_ALONE_SECONDS, RENEW_SECONDS
from speaker.membership.lease_list import ALONE_SECONDS, LeaseList
from speaker.membership.link import Link, Subnet, with_cut_off
from speaker.membership.membership import Membership, PeerChange
from speaker.membership.service import BATCH_SECONDS
from speaker.membership.state_sync import AdvertisedState
from speaker.membership.unheard import Doubt

LINKS = (Link(name="eth0", mac=b"\x02\x00\x00\x00\x00\x01"),)
LAN = Subnet.parse("192.0.2.0/24")
BURST_SECONDS = 0.3
_KERNEL_GONE_SECONDS = 0.5
_API_SECONDS = 0.05


def candidates(
    address: Address,
    nodes: Iterable[str],
    weights: Mapping[str, int] | None = None,
    *,
    handicaps: Mapping[str, int] | None = None,
    scope: Scope = EVERYWHERE,
) -> Candidates:
    """An address that each of the nodes may announce."""
    standings = {
        node: Standing(scope=scope, weight=(weights or {}).get(node, 0), handicap=(handicaps or {}).get(node, 0))
        for node in nodes
    }
    return Candidates(
        addresses=(address,),
        services=((("default", str(address)), address),),
        ranked_by=address,
        eligible=CandidateSet(((EligibleNodes(standings),),)),
    )


def together(addresses: Iterable[Address], nodes: Iterable[str]) -> Candidates:
    """Addresses of one Service, that each of the nodes may announce; the first ranks them."""
    found = tuple(addresses)
    eligible = EligibleNodes({node: Standing(scope=EVERYWHERE, weight=0, handicap=0) for node in nodes})
    service = ("default", str(found[0]))
    return Candidates(
        addresses=tuple(sorted(found)),
        services=tuple((service, address) for address in sorted(found)),
        ranked_by=found[0],
        eligible=CandidateSet(((eligible,),) * len(found)),
    )


class WholeHolder:
    """A holder that is given all groups each time, as tests have them; beside it one that always looks at all.

    Both must come to the same whatever happens: that is checked at every decision.
    """

    def __init__(self, node: str, *, checked: bool = True, **options: Any) -> None:
        self._holder = Holder(node, **options)
        self._oracle = Holder(node, **options) if checked else None
        self._groups: list[Candidates] = []

    def decide(self, groups: Iterable[Candidates], inputs: Inputs, now: float) -> HolderState:
        """Decide about these groups."""
        groups = list(groups)
        changes = GroupChanges(
            removed=[group for group in self._groups if group not in groups],
            added=[group for group in groups if group not in self._groups],
        )
        self._groups = groups
        self._holder.elect(changes)
        state = self._holder.decide(inputs, now)
        if self._oracle is not None:
            self._oracle.elect(changes)
            self._oracle.doubt()
            found = differences(state, self._oracle.decide(inputs, now))
            assert not found, f"{found} at {now}"
        return state


def differences(state: HolderState, expected: HolderState) -> dict[str, tuple[object, object]]:
    """In what two decisions differ; what is yielded is waited for once it is looked at again."""
    found = {}
    for name in (each.name for each in fields(HolderState) if each.name != "touched"):
        one, other = getattr(state, name), getattr(expected, name)
        if name == "states":
            one, other = (
                {address: State.WAITING if each is State.YIELDING else each for address, each in states.items()}
                for states in (one, other)
            )
        if one != other:
            found[name] = (one, other)
    return found


def lan_links(number: int) -> tuple[Link, ...]:
    """An interface for heartbeats and the API, and one in the LAN of the addresses."""
    outward = Link(name="eth0", mac=bytes(6), default_route=True)
    return outward, Link(
        name="eth1", mac=bytes(6), subnets=(LAN,), addresses=(Address.parse(f"192.0.2.{200 + number}"),)
    )


@dataclass
class Member:
    """One process of a speaker. `closed` follows the real fence: nothing is answered while it is.

    `answered` is what its announcer answers for: at once what one of ours had, after the probes what nobody had.
    """

    name: str
    membership: Membership
    holder: WholeHolder
    groups: tuple[Candidates, ...] = ()
    links: tuple[Link, ...] = LINKS
    state: HolderState = field(default_factory=HolderState)
    answered: set[Address] = field(default_factory=set)
    asking: dict[Address, float] = field(default_factory=dict)
    stopped: bool = False
    inbox: list[tuple[Heartbeat, str]] = field(default_factory=list)
    waking_at: float | None = None
    turned_at: float = 0.0
    changes: list[tuple[float, PeerChange]] = field(default_factory=list)
    acted_on: object = None
    closed: bool = False
    silent_since: dict[str, float] = field(default_factory=dict)
    announced_again: list[tuple[float, Address]] = field(default_factory=list)
    leased: tuple[bool, bool, bool] | None = None
    leases: LeaseList | None = None

    def leads_to(self, address: Address) -> str:
        """The node whose hardware address it would name."""
        help_ = self.state.help.get(address)
        return self.name if help_ is None else help_.node

    def answers(self, address: Address) -> bool:
        """Whether it would answer for the address now."""
        return not (self.stopped or self.closed) and address in self.answered


class _LeasesOnly:
    """An API server of which only the Leases are asked for."""

    def __init__(self, leases: Mapping[str, Object]) -> None:
        self._leases = leases

    def pages(self, _: Resource, __: str | None = None) -> list[Object]:
        return [{"items": list(self._leases.values())}]

    def get(self, _: Resource, name: str, __: str | None = None) -> Object:
        if name not in self._leases:
            raise NotFound(404, "NotFound", name)
        return self._leases[name]


class _Renewals:
    """What the process of a member does between its Leases and its membership."""

    def __init__(self, cluster: Cluster, member: Member) -> None:
        self._cluster = cluster
        self._member = member

    @property
    def doubt(self) -> Doubt:
        return self._member.membership.doubt(self._cluster.now)

    def renewed(self, node: str, *, hears: int | None, serving: bool, since: float) -> None:
        self._member.membership.renewed(node, hears, self._cluster.now, serving=serving, since=since)


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
        of_service: int = 1,
        interval_seconds: float = DEFAULT_INTERVAL_SECONDS,
        dead_after_seconds: float = DEFAULT_DEAD_AFTER_SECONDS,
        new_holder: Callable[[str], WholeHolder] = WholeHolder,
    ) -> None:
        """`joined` starts every node and lets them settle; each Service has so many of the addresses."""
        self.names = tuple(names)
        self.addresses = tuple(addresses)
        self.random = Random(seed)
        self.loss = loss
        self.burst_share = 0.0
        """On this share of the ways from one node to another nothing passes for `BURST_SECONDS`, then on others."""
        self.slowest = 0.001
        """How many seconds a heartbeat takes at most, from the decision that it tells of to those that follow."""
        self.now = 0.0
        self.sent = 0
        self.members: dict[str, Member] = {}
        self.off: set[str] = set()
        """Machines without power."""
        self.without_api: set[str] = set()
        self.without_writes: set[str] = set()
        """Whose writes the API server refuses; they may read."""
        self.squatted: set[Address] = set()
        """What hosts that are none of ours have; a question for it is answered by them."""
        self.watch: Callable[[], None] = lambda: None
        self._new_holder = new_holder
        self._groups = tuple(
            together(self.addresses[start : start + of_service], self.names)
            for start in range(0, len(self.addresses), of_service)
        )
        self._durations = (interval_seconds, dead_after_seconds)
        self._lan: set[tuple[str, str]] = set()
        self.out: set[str] = set()
        """Whose ports do not forward, carriers up."""
        self.lan_out: set[str] = set()
        """Whose ports to the LAN of `lan_links` do not forward, carriers up."""
        self._udp: set[tuple[str, str]] = set()
        self._lossy: dict[tuple[str, str], float] = {}
        self._leases: dict[str, Object] = {}
        self._writes = itertools.count()
        self._links: dict[str, tuple[Link, ...]] = {}
        self._whole: dict[str, tuple[Link, ...]] = {}
        """The links of those whose cables are pulled, as they were."""
        self._events: list[tuple[float, int, Callable[[], None]]] = []
        self._order = itertools.count()
        if joined:
            for name in names:
                self.start(name)
            self.run(3.0)

    def start(self, name: str) -> Member:
        """Begin a new process of the node, with the interfaces it has; its machine has power."""
        self.off.discard(name)
        member = Member(
            name,
            Membership(
                node=name,
                now=self.now,
                new_number=lambda: self.random.getrandbits(63) + 1,
                interval_seconds=self._durations[0],
                dead_after_seconds=self._durations[1],
            ),
            self._new_holder(name),
            self._groups,
        )
        member.links = self._links.setdefault(name, LINKS)
        self.members[name] = member
        member.membership.advertise(AdvertisedState(links=member.links), self.now)
        if name not in self.without_api:
            self._store_lease(name, hears=0, serving=False)
        self._know_peers(member)
        member.leases = LeaseList(
            cast("ApiCluster", _LeasesOnly(self._leases)),
            namespace="",
            heartbeats=_Renewals(self, member),
            wait_written=lambda _: True,
            on_change=lambda _: self._know_peers(member),
            random=self.random,
        )
        self._look_at_leases(member)
        self._wake(member, self.now + self.random.uniform(0, 0.1))
        self.at(self.now + self.random.uniform(0.01, RENEW_SECONDS), self._renewal(member))
        return member

    def kill(self, name: str) -> None:
        """End the node's process without a word."""
        del self.members[name]

    def power_off(self, name: str) -> None:
        """End the node's process and its machine without a word."""
        self.off.add(name)
        self.members.pop(name, None)

    def leave(self, name: str) -> None:
        """Have the node's process leave; it ends when it has given everything away, or after a second."""
        member = self.members[name]
        member.membership.enter(Phase.LEAVING, self.now)
        self._wake(member, self.now)
        deadline = self.now + 1.0

        def end_when_done() -> None:
            if self.members.get(name) is not member:
                return
            if not member.state.scopes or self.now >= deadline:
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
        """Let nothing pass between these nodes and the others, carriers up; the API server is still reached."""
        for inside in one_side:
            for outside in set(self.names) - set(one_side):
                self._lan |= {(inside, outside), (outside, inside)}

    def pull(self, name: str) -> None:
        """Pull all cables of a node: no link is left, nothing passes; the API server is reached some other way."""
        self._whole.setdefault(name, self._links[name])
        self._give_links(name, tuple(replace(link, lost=True) for link in self._links[name]))
        self.cut(name)

    def cut_way(self, sender: str, receiver: str) -> None:
        """Let nothing pass from one node to another; the other way everything does."""
        self._lan.add((sender, receiver))

    def pause(self) -> None:
        """Let nothing pass between any two nodes, carriers up."""
        self.out |= set(self.names)

    def rejoin(self, *nodes: str) -> None:
        """End the pause for the ports of these nodes."""
        self.out -= set(nodes)

    def block(self, name: str, *, inbound: bool = True, outbound: bool = True) -> None:
        """Have a firewall on the node swallow heartbeats."""
        for other in self.names:
            if inbound:
                self._udp.add((other, name))
            if outbound:
                self._udp.add((name, other))

    def block_way(self, sender: str, receiver: str) -> None:
        """Have a firewall swallow heartbeats from one node to another."""
        self._udp.add((sender, receiver))

    def lose(self, sender: str, receiver: str, share: float) -> None:
        """Lose this share of what is sent from one to the other."""
        self._lossy[sender, receiver] = share

    def heal(self) -> None:
        """Undo every cut, every block and every loss between two nodes, and plug all cables in again."""
        self._lan.clear()
        self.out.clear()
        self.lan_out.clear()
        self._udp.clear()
        self._lossy.clear()
        while self._whole:
            self._give_links(*self._whole.popitem())

    def delete_leases(self) -> None:
        """Delete every Lease; each speaker writes its own anew when it is due, and sees that when it looks."""
        self._leases.clear()

    def elect(self, groups: Iterable[Candidates]) -> None:
        """All nodes learn of another state of the cluster, those that are started later as well."""
        self._groups = tuple(groups)
        for name in self.members:
            self.see(name, self._groups)

    def see(self, name: str, groups: Iterable[Candidates]) -> None:
        """The node learns of another state of the cluster."""
        member = self.members[name]
        member.groups = tuple(groups)
        member.acted_on = None
        self._wake(member, self.now)

    def links(self, name: str, links: tuple[Link, ...]) -> None:
        """The node's interfaces change."""
        self._give_links(name, links)

    def _give_links(self, name: str, links: tuple[Link, ...]) -> None:
        self._links[name] = links
        member = self.members.get(name)
        if member is not None:
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

    def doubled(self) -> set[Address]:
        """What more than one would answer for now. Cheap enough to be asked after every event."""
        once: set[Address] = set()
        twice: set[Address] = set()
        for member in self.members.values():
            if not (member.stopped or member.closed):
                twice |= once & member.answered
                once |= member.answered
        return twice

    def reaches(self, sender: str, receiver: str) -> bool:
        """Whether frames pass from one to the other."""
        return (sender, receiver) not in self._lan and not self.out & {sender, receiver}

    def passes(self, sender: str, receiver: str) -> bool:
        """Whether heartbeats pass from one to the other, all of them."""
        return self.may_pass(sender, receiver) and not self._lossy.get((sender, receiver))

    def may_pass(self, sender: str, receiver: str) -> bool:
        """Whether heartbeats pass from one to the other, at least some."""
        return self.reaches(sender, receiver) and (sender, receiver) not in self._udp

    def _in_burst(self, sender: str, receiver: str) -> bool:
        if not self.burst_share:
            return False
        slot = f"{sender} {receiver} {int(self.now / BURST_SECONDS)}"
        return zlib.crc32(slot.encode()) < self.burst_share * 2**32

    def sides(self) -> list[set[str]]:
        """The groups of running nodes that can reach each other both ways, also through others."""
        left = set(self.members)
        sides = []
        while left:
            side = {left.pop()}
            while more := {b for b in left for a in side if self.reaches(a, b) and self.reaches(b, a)}:
                side |= more
                left -= more
            sides.append(side)
        return sides

    def _know_peers(self, member: Member) -> None:
        nodes = [name.removeprefix(SPEAKER_LEASE_PREFIX) for name in self._leases]
        member.membership.set_peers(nodes, self.now, hosts=self.names)

    def _renewal(self, member: Member) -> Callable[[], None]:
        def renew() -> None:
            if self.members.get(member.name) is member:
                self._write_lease(member)
                self.at(self.now + RENEW_SECONDS, self._renewal(member))

        return renew

    def _renew_while_alone(self, member: Member) -> None:
        def renew() -> None:
            if self.members.get(member.name) is member and not member.membership.hears:
                self._write_lease(member)
                self._renew_while_alone(member)

        self.at(self.now + RENEW_ALONE_SECONDS, renew)

    def _write_lease(self, member: Member) -> None:
        if member.name in self.without_api | self.without_writes or member.stopped:
            return
        hears, serving = member.membership.lasting(self.now), member.leased is not None and member.leased[0]
        delay = self.random.uniform(0.005, _API_SECONDS)
        self.at(self.now + delay, lambda: self._store_lease(member.name, hears=hears, serving=serving))

    def _store_lease(self, node: str, *, hears: int | None, serving: bool) -> None:
        name = f"{SPEAKER_LEASE_PREFIX}{node}"
        self._leases[name] = {
            "metadata": {
                "name": name,
                "resourceVersion": str(next(self._writes)),
                "annotations": {HEARD_SPEAKERS_ANNOTATION: JOINING if hears is None else str(hears)},
            },
            "spec": {"holderIdentity": node if serving else None, "renewTime": str(self.now)},
        }

    def _look_at_leases(self, member: Member) -> None:
        """One turn of the thread that reads the Leases."""

        def look() -> None:
            if self.members.get(member.name) is member:
                self._look_at_leases(member)

        if member.leases is not None and member.name not in self.without_api and not member.stopped:
            member.leases.look(self.now)
        pause_seconds = ALONE_SECONDS if member.leases is None else member.leases.pause_seconds
        self.at(self.now + pause_seconds * self.random.uniform(0.8, 1.2), look)

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
        """One turn of the heartbeats' loop, and of the controller if there is something new."""
        membership = member.membership
        member.turned_at = self.now
        changes: list[PeerChange] = []
        for heartbeat, source in member.inbox:
            changes += membership.heard(heartbeat, self.now, source)[1]
        member.inbox.clear()
        stalled, gone = membership.tick(self.now)
        changes += gone
        member.changes += [(self.now, change) for change in changes]
        member.closed |= membership.fenced
        if membership.phase is Phase.STARTING and membership.settled(self.now):
            membership.enter(Phase.SERVING, self.now)
        self._decide(member)
        if membership.take_returned() or stalled:
            # As `Heartbeats` says that this node was shaken.
            member.announced_again += [(self.now, address) for address in member.answered]
        self._send(member)
        liveness = membership.liveness(self.now)
        serving = member.name in liveness.alive and not liveness.cut_off_from
        leased = (serving, bool(membership.hears), membership.lasting(self.now) is None)
        if leased != member.leased:
            member.leased = leased
            self._write_lease(member)
            if not leased[1]:
                self._renew_while_alone(member)
        self._wake(member, max(self.now + 0.0005, min(membership.next_deadline(), member.state.deadline or 1e18)))

    def _decide(self, member: Member) -> None:
        membership = member.membership
        if membership.fenced:
            return
        liveness = membership.liveness(self.now)
        links = with_cut_off(member.links, liveness.cut_off_links)
        inputs = Inputs(
            liveness=liveness,
            links=links,
            answered=frozenset(member.answered),
            unforwarding=frozenset(self.off),
            unreachable=self._unreachable(member, liveness.silent),
            let_go=membership.take_let_go(),
        )
        deadline = member.state.deadline
        if inputs == member.acted_on and (deadline is None or self.now < deadline):
            return
        member.acted_on = replace(inputs, let_go=frozenset())
        member.state = member.holder.decide(member.groups, inputs, self.now)
        member.announced_again += [(self.now, address) for address in member.state.regained]
        self._announce(member)
        membership.advertise(member.state.advertised(links), self.now)
        if not membership.fenced:
            member.closed = False

    def _unreachable(self, member: Member, asked: frozenset[str]) -> frozenset[str]:
        """Whose kernels have not answered for half a second, of those asked."""
        member.silent_since = {node: since for node, since in member.silent_since.items() if node in asked}
        for other in asked:
            answers = other not in self.off and self.reaches(other, member.name) and self.reaches(member.name, other)
            if answers:
                member.silent_since.pop(other, None)
            else:
                member.silent_since.setdefault(other, self.now)
        return frozenset(
            node for node, since in member.silent_since.items() if self.now - since >= _KERNEL_GONE_SECONDS
        )

    def _announce(self, member: Member) -> None:
        """The announcer's part: what is let go is answered no more, and what nobody had is asked for first."""
        probing = member.state.probing
        member.answered = set(member.state.scopes) - probing
        member.asking = {address: since for address, since in member.asking.items() if address in probing}
        for address in (probing & member.state.scopes.keys()) - member.asking.keys():
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
            way = (member.name, node)
            lost = self.random.random() < max(self.loss, self._lossy.get(way, 0.0)) or self._in_burst(*way)
            if lost or way in self._udp or not self.reaches(*way):
                continue
            self.at(self.now + self.random.uniform(0.0001, self.slowest), self._delivery(node, heartbeat))
        for node, _, heartbeat in member.membership.outgoing_on_lans(self.now, lambda _: None):
            self.sent += 1
            if self.random.random() >= self.loss and not self.lan_out & {member.name, node}:
                source = str(member.links[-1].addresses[0])
                self.at(self.now + self.random.uniform(0.0001, self.slowest), self._delivery(node, heartbeat, source))

    def _delivery(self, node: str, heartbeat: Heartbeat, source: str = "") -> Callable[[], None]:
        def deliver() -> None:
            member = self.members.get(node)
            if member is None:
                return
            member.inbox.append((heartbeat, source))
            if member.membership.crowded:
                self._wake(member, max(self.now, member.turned_at + BATCH_SECONDS))
            elif not member.stopped:
                self._turn(member)

        return deliver

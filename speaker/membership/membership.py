"""Which speakers are on this node's side: a pure state machine over heartbeats, Leases and time."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass, replace
from enum import StrEnum

from speaker.membership.heartbeat import Heartbeat, Phase
from speaker.membership.lans import Lans
from speaker.membership.lease_evidence import (
    DOUBT_SECONDS,
    LEASE_COUNTS_SECONDS,
    LEASE_DOUBT_SECONDS,
    Doubt,
    LeaseEvidence,
)
from speaker.membership.liveness import Liveness
from speaker.membership.peer import Peer
from speaker.membership.peer_table import PeerTable
from speaker.membership.send_schedule import BACKGROUND_PER_SECOND, SendSchedule
from speaker.membership.side import SETTLE_SECONDS, Side
from speaker.membership.state_sync import NOTHING, AdvertisedState, MalformedState

DEFAULT_INTERVAL_SECONDS = 0.1
DEFAULT_DEAD_AFTER_SECONDS = 0.5
INTERVALS_TO_DEATH = 3.0
"""How many intervals of silence, at least, make a node dead: with fewer, two lost heartbeats would."""
LATE_SECONDS = 0.05
"""By how much an idle machine may wake the loop up too late: a turn and as much must fit in before the fence closes,
or a healthy node would stop answering between two of its own heartbeats."""
TURN_INTERVALS = 1.5
"""For how many intervals of listening one turn of the loop counts at most. It comes every interval, or is late."""
STEADY_SECONDS = 2 * SETTLE_SECONDS
"""How long a node is heard before it gets back what it is preferred for."""
BOOT_SECONDS = 60.0
"""How long after the first speaker began to serve what was taken for want of a better node is ranked anew."""
_PATROL_SECONDS = 0.5
"""How often those are looked after that are no neighbours."""


class UnfitDurations(ValueError):
    """An interval and a silence with which a healthy node would not go on answering; the message says what to use."""


def check_durations(interval_seconds: float, dead_after_seconds: float) -> None:
    """Raise UnfitDurations unless a speaker works with this interval and this silence that is death."""
    turn_and_late = (TURN_INTERVALS + 1.0) * interval_seconds + LATE_SECONDS
    least = round(max(INTERVALS_TO_DEATH * interval_seconds, turn_and_late), 6)
    if dead_after_seconds < least:
        raise UnfitDurations(
            f"--dead-after {dead_after_seconds:g} is too short for --heartbeat-interval {interval_seconds:g}: a node "
            f"that is well would be given up, or stop answering, between two heartbeats; use at least {least:g}"
        )


class Verdict(StrEnum):
    """What became of a heartbeat; all but ACCEPTED are no sign of life."""

    ACCEPTED = "accepted"
    UNKNOWN_SENDER = "unknown-sender"
    UNPROVEN = "unproven"
    REPLAYED = "replayed"


@dataclass(frozen=True, slots=True)
class PeerChange:
    """A peer became alive (able to announce) or stopped being so, and why; `silence` where that was the reason."""

    node: str
    alive: bool
    reason: str
    silence: float | None = None


class Membership:
    """Tells which speakers can announce, from this node's point of view. Every method takes the time it is.

    Invariants:
    - hearing is mutual: a peer is linked to this node while its heartbeats arrive, each later than any taken from the
      same process before and echoing our present challenge to it, and say that ours arrive there. The challenge
      changes when the peer is given up and when a new process of it is taken in: nothing written before that counts
      again, neither a recording nor a straggler of the former process;
    - a neighbour that was silent for `dead_after_seconds` of our listening is no longer heard. One turn of our own
      loop counts for `TURN_INTERVALS` intervals of listening at most: what it was late by may have been our silence;
    - this node's side is everybody linked to it, also through others, by what those advertise. Who is on the side,
      serves and is known is alive: a node dies when nobody on the side hears it any more;
    - a peer that was given up counts again only once its present state is known: to go by what it claimed before
      would be to take what it has taken since;
    - a peer that says it leaves is not alive;
    - after a standstill in which the others may have given this node up, `fenced` holds until every peer that was
      heard hears this node again and has told its present state, for as long as silence is death at most: until then
      nothing may be answered.

    Not safe for several threads; its owner serialises.
    """

    def __init__(
        self,
        *,
        node: str,
        now: float,
        new_number: Callable[[], int],
        interval_seconds: float = DEFAULT_INTERVAL_SECONDS,
        dead_after_seconds: float = DEFAULT_DEAD_AFTER_SECONDS,
    ) -> None:
        """`new_number` gives unpredictable numbers of 64 bits that are not 0."""
        self.node = node
        self.fenced = False
        self.fence_after_seconds = dead_after_seconds - TURN_INTERVALS * interval_seconds
        self._new_number = new_number
        self._dead_after = dead_after_seconds
        self._turn_seconds = TURN_INTERVALS * interval_seconds
        self._expecting_since: float | None = None
        self._ticked_at = now
        self._patrol_at = now
        self._table = PeerTable(node)
        self._schedule = SendSchedule(
            self._table, incarnation=new_number(), interval_seconds=interval_seconds, now=now
        )
        self._side = Side()
        self._lans = Lans(
            node,
            interval_seconds=interval_seconds,
            dead_after_seconds=dead_after_seconds,
            turn_seconds=self._turn_seconds,
            now=now,
        )
        self._leases = LeaseEvidence(now)
        self._hosts: frozenset[str] = frozenset()
        self._serving_since: float | None = None
        self._booting = True
        self._unproven: set[str] = set()
        self._unheard: dict[str, float] = {}
        self._fenced_until = 0.0
        self._reached: frozenset[str] = frozenset()
        self._alive: frozenset[str] = frozenset()
        self._states: dict[str, AdvertisedState] | None = None
        self._reasons: dict[str, tuple[str, float | None]] = {}
        self._own = NOTHING
        self._stale = True
        self._links_stale = True
        self._dated_until: float | None = None
        self._liveness: Liveness | None = None
        self._liveness_until = 0.0
        self._advertise(now)

    @property
    def phase(self) -> Phase:
        """Where this speaker is in its life."""
        return self._schedule.phase

    def enter(self, phase: Phase, now: float) -> None:
        """Go on to the next phase, and say so."""
        if phase is Phase.SERVING:
            self._serving_since = now
        self._schedule.enter(phase)
        self._stale, self._liveness = True, None

    def advertise(self, state: AdvertisedState, now: float) -> None:
        """Advertise these claims and links to everybody from now on; whom this node hears is added here."""
        self._own = state
        self._lans.use(state.links)
        self._advertise(now)

    def set_peers(
        self, nodes: Collection[str], now: float, *, hosts: Collection[str] | None = None
    ) -> list[PeerChange]:
        """Exchange heartbeats with these nodes. One no longer named is given up, unless it is heard and one of the
        `hosts`, the nodes there are: an authentic heartbeat that names one of those makes a peer at once."""
        if self._expecting_since is None:
            self._expecting_since = self._ticked_at = now
            self._schedule.begin(now)
        self._hosts = frozenset(nodes if hosts is None else hosts)
        former = self._table.peers
        kept = [node for node, peer in former.items() if peer.fresh and node in self._hosts]
        self._table.peers = {
            node: former.get(node) or Peer(self._new_number(), silent_since=now)
            for node in (*nodes, *kept)
            if node != self.node
        }
        for node in former.keys() - self._table.peers.keys():
            self._reasons[node] = ("node removed", None)
        self._unproven &= self._table.peers.keys()
        self._states = self._liveness = None
        self._schedule.readdress()
        self._regroup(now)
        return self._refresh(now)

    def renewed(self, node: str, hears: int, now: float) -> None:
        """The node's Lease was seen to be renewed; it says how many others the node hears."""
        self._leases.renewed(node, hears, now)
        self._liveness = None
        peer = self._table.peers.get(node)
        if peer is not None and not peer.fresh and now - peer.silent_since >= LEASE_DOUBT_SECONDS:
            self._unheard[node] = now

    def unheard(self, now: float) -> frozenset[str]:
        """Return the peers of whose life nothing is known but that their Leases are renewed."""
        if self._unheard:
            self._unheard = {
                node: at
                for node, at in self._unheard.items()
                if now - at < LEASE_COUNTS_SECONDS
                and node not in self._reached
                and (peer := self._table.peers.get(node)) is not None
                and not peer.fresh
            }
        return frozenset(self._unheard)

    def doubt(self, now: float) -> Doubt:
        """Return what the Leases are to be asked about."""
        peers = self._table.peers
        unheard = self.unheard(now)
        return Doubt(
            alone=bool(peers) and not self._reached,
            silent=frozenset(
                node
                for node, peer in peers.items()
                if not peer.fresh and (now - peer.silent_since < DOUBT_SECONDS or node in unheard)
            ),
        )

    def announces(self, node: str, now: float) -> None:
        """The node was seen to announce an address of this node's."""
        self._leases.seen(node, now)
        self._liveness = None

    def heard(self, heartbeat: Heartbeat, now: float, source: str = "") -> tuple[Verdict, list[PeerChange]]:
        """Take in an authentic heartbeat from an IP address; what it asks for is in the next `outgoing`."""
        if now - self._ticked_at >= self.fence_after_seconds and self._side.size(now):
            # What waited during a standstill is read before `tick` can notice it, and may be answered at once.
            self._side.forget(now)
            self._advertise(now)
        sender = heartbeat.sender
        peer = self._table.peers.get(sender)
        if peer is None:
            if sender == self.node or sender not in self._hosts:
                return Verdict.UNKNOWN_SENDER, []
            peer = self._table.peers[sender] = Peer(self._new_number(), silent_since=now)
            self._schedule.readdress()
        if heartbeat.echo != peer.challenge:
            # The sender learns our challenge, and its next heartbeat proves.
            self._schedule.answer(sender, heartbeat.challenge)
            return Verdict.UNPROVEN, []
        if heartbeat.lan:
            if heartbeat.incarnation == peer.incarnation:
                self._lans.heard(sender, source, heartbeat.sequence)
            return Verdict.ACCEPTED, []
        was_fresh = peer.fresh
        if heartbeat.incarnation != peer.incarnation:
            peer = self._take_in(sender, peer, heartbeat.incarnation)
        elif heartbeat.sequence <= peer.sequence:
            # No sign of life; but what it states may only have been overtaken, and versions do not go back.
            self._take_chunks(sender, peer, heartbeat)
            return Verdict.REPLAYED, self._refresh(now)
        self._take(peer, heartbeat, now)
        self._lans.heard(sender, source, heartbeat.sequence)
        if not was_fresh:
            # It is to know at once that it is heard.
            self._schedule.hurry(sender)
            self._regroup(now)
        return Verdict.ACCEPTED, self._refresh(now)

    def tick(self, now: float) -> tuple[float, list[PeerChange]]:
        """Give up silent peers; call it after everything received was taken in.

        Returns for how long this loop stood still, if others may have given this node up meanwhile (else 0), and the
        changes.
        """
        since = now - self._ticked_at
        self._ticked_at = now
        if since >= self.fence_after_seconds:
            self._stood_still(now)
            return since, []
        late = since - self._turn_seconds
        if late > 0.0:
            for peer in self._table.peers.values():
                peer.excuse(late, now)
        everybody = now >= self._patrol_at
        if everybody:
            self._patrol_at = now + _PATROL_SECONDS
        for node in self._table.peers.keys() if everybody else self._table.neighbours:
            peer = self._table.peers[node]
            if peer.fresh and peer.silence(now) >= self._patience(peer):
                self._give_up(node, peer, now)
        if self._stale:
            self._regroup(now)
        changes = self._refresh(now)
        self._look_at_lans(now)
        if self._dated_until is not None and now >= self._dated_until:
            self._advertise(now)
        if self.fenced and (not self._unproven or now >= self._fenced_until):
            self.fenced = False
            self._unproven.clear()
        return 0.0, changes

    def next_deadline(self) -> float:
        """When `tick` and `outgoing` may next have something to do, if nothing is heard or advertised."""
        deadline = self._schedule.regular_at
        for node in self._table.neighbours:
            peer = self._table.peers[node]
            if peer.fresh:
                deadline = min(deadline, peer.owes_since + self._dead_after)
        return deadline

    def liveness(self, now: float) -> Liveness:
        """Sum up what is known now; the same object as long as nothing of it changes."""
        if self._liveness is None or now >= self._liveness_until or self._liveness.fenced != self.fenced:
            self._leases.alone(bool(self._table.peers) and not self._reached, now)
            self._liveness = self._sum_up(now)
            ends = (
                self._side.next_change(now, STEADY_SECONDS, self._dead_after),
                self._leases.next_change(now),
                self._next_deaf(now),
            )
            self._liveness_until = min((end for end in ends if end is not None), default=math.inf)
        return self._liveness

    def _sum_up(self, now: float) -> Liveness:
        peers = self._table.peers
        alone = bool(peers) and not self._reached
        own = {self.node} if self.phase is Phase.SERVING else frozenset()
        deaf = frozenset(node for node, since in self._deaf() if now - since >= self._dead_after)
        return Liveness(
            alive=self._alive | own,
            heard=frozenset(node for node in self._alive if peers[node].fresh),
            steady=self._side.steady(STEADY_SECONDS, now),
            arriving=frozenset(
                node
                for node in self._side.arriving(self._dead_after, now)
                if not (peers[node].fresh and peers[node].known_since_fresh)
            ),
            overheard=frozenset(node for node, _ in self._deaf()),
            leaving=frozenset(node for node, peer in peers.items() if peer.stated and peer.phase is Phase.LEAVING),
            states=self.states(),
            sides={self.node: self._side.size(now), **{node: peer.side for node, peer in peers.items()}},
            cut_off_from=deaf | (self._leases.together(now) if alone else frozenset()),
            silent=self._leases.silent(now) if alone else frozenset(),
            cut_off_links=self._lans.cut_off,
            alone=alone,
            informed=all(peer.stated for peer in peers.values()),
            booting=self._booting,
            fenced=self.fenced,
        )

    def states(self) -> dict[str, AdvertisedState]:
        """What each peer was last heard to advertise, the dead ones included; not to be changed."""
        if self._states is None:
            self._states = {node: peer.received.state for node, peer in self._table.peers.items() if peer.stated}
        return self._states

    @property
    def hears(self) -> int:
        """How many other speakers are on this node's side."""
        return len(self._reached)

    def in_trouble(self, node: str) -> bool:
        """Tell whether the peer has lost one of its interfaces, by its own word."""
        return any(link.lost for link in self._table.peers[node].received.state.links)

    def met(self, node: str) -> bool:
        """Tell whether the peer was ever heard."""
        return self._table.peers[node].incarnation is not None

    @property
    def crowded(self) -> bool:
        """Whether there are too many peers for all to be neighbours."""
        return self._table.crowded

    def settled(self, now: float) -> bool:
        """Tell whether every peer was heard out, or has had the time to be since the peers are known.

        A speaker that announced before would take every address from speakers it has merely not heard yet.
        """
        if self._expecting_since is None:
            return False
        everyone = all(peer.stated for peer in self._table.peers.values())
        return everyone or now - self._expecting_since >= 2 * self._dead_after

    def heartbeat_to(self, node: str) -> Heartbeat:
        """Compose a heartbeat to a peer. Raises KeyError for a node that is none."""
        return self._schedule.heartbeat_to(node)

    def outgoing(self, now: float) -> list[tuple[str, Heartbeat]]:
        """Return the heartbeats due now, each with the node it goes to."""
        return self._schedule.due(now)

    def outgoing_on_lans(
        self, now: float, usual: Callable[[str], str | None]
    ) -> Iterator[tuple[str, str, Heartbeat]]:
        """Return the heartbeats due over LANs, each with its node and IP address.

        `usual` tells at which address a node gets its regular heartbeats: those count for that LAN as well.
        """
        for node, address in self._lans.due(now):
            to, peer = str(address), self._table.peers.get(node)
            if peer is not None and peer.fresh and not (node in self._table.neighbours and usual(node) == to):
                yield node, to, self._schedule.heartbeat_on_lan(node)

    def _take_in(self, node: str, former: Peer, incarnation: int) -> Peer:
        """Begin anew with another process of the node."""
        peer = self._table.peers[node] = Peer(
            self._new_number(),
            silent_since=former.silent_since,
            incarnation=incarnation,
            neighbour_since=former.neighbour_since,
        )
        self._reasons[node] = ("restarted", None)
        self._lans.forget(node)
        self._schedule.hurry(node)
        self._states = self._liveness = None
        self._stale, self._liveness = True, None
        return peer

    def _take(self, peer: Peer, heartbeat: Heartbeat, now: float) -> None:
        if heartbeat.challenge != peer.echo:
            self._schedule.hurry(heartbeat.sender)
        if heartbeat.probe:
            self._schedule.oblige(heartbeat.sender, now)
        if heartbeat.phase is not peer.phase and heartbeat.phase is not Phase.SERVING:
            self._reasons[heartbeat.sender] = (heartbeat.phase.name.lower(), None)
        if peer.hears_us and not heartbeat.hears:
            self._reasons[heartbeat.sender] = ("does not hear this node", None)
        if not heartbeat.hears and (peer.hears_us or not peer.fresh or heartbeat.linked != peer.linked_nodes):
            peer.deaf_since = now
        if (peer.linked_nodes, peer.side) != (heartbeat.linked, heartbeat.side):
            self._liveness = None
        shown = (peer.linked, peer.fresh, peer.hears_us, peer.phase, peer.known_since_fresh)
        peer.echo = heartbeat.challenge
        peer.sequence = heartbeat.sequence
        peer.phase = heartbeat.phase
        peer.linked_nodes, peer.side = heartbeat.linked, heartbeat.side
        peer.version = heartbeat.version
        peer.acknowledged = heartbeat.have
        peer.silent_since, peer.excused = now, 0.0
        peer.fresh = True
        peer.hears_us = heartbeat.hears
        self._take_chunks(heartbeat.sender, peer, heartbeat)
        if peer.known:
            if heartbeat.hears:
                self._unproven.discard(heartbeat.sender)
            peer.known_since_fresh = True
            if not peer.stated:
                peer.stated = True
                self._states = self._liveness = None
        if shown != (peer.linked, peer.fresh, peer.hears_us, peer.phase, peer.known_since_fresh):
            self._stale, self._liveness = True, None

    def _take_chunks(self, node: str, peer: Peer, heartbeat: Heartbeat) -> None:
        for chunk in heartbeat.chunks:
            before = peer.received.state
            try:
                complete = peer.received.take(chunk)
            except MalformedState:
                continue
            if complete:
                # Acknowledged at once, or it would be sent again.
                self._schedule.hurry(node)
                self._states = self._liveness = None
                after = peer.received.state
                self._stale = self._stale or (before.hears, before.booting) != (after.hears, after.booting)
                self._links_stale = self._links_stale or before.links != after.links
                if before.lans != after.lans:
                    self._lans.doubt()

    def _give_up(self, node: str, peer: Peer, now: float) -> None:
        silence = peer.silence(now)
        self._reasons[node] = (f"silent for {silence:.3f} s", silence)
        peer.fresh = peer.known_since_fresh = peer.hears_us = False
        peer.challenge = self._new_number()
        # Should it live after all, its answer brings it back at once.
        self._schedule.hurry(node)
        self._unproven.discard(node)
        self._stale, self._liveness = True, None

    def _stood_still(self, now: float) -> None:
        self._side.forget(now)
        self._stale, self._liveness = True, None
        for node, peer in self._table.peers.items():
            if not peer.fresh:
                continue
            peer.excuse(math.inf, now)
            if self.phase is not Phase.STARTING:
                self.fenced = True
                self._fenced_until = now + self._dead_after
                self._unproven.add(node)
                self._schedule.ask(node)

    def _patience(self, peer: Peer) -> float:
        if peer.neighbour_since is not None:
            return self._dead_after
        return self._dead_after + 3 * len(self._table.peers) / BACKGROUND_PER_SECOND

    def _regroup(self, now: float) -> None:
        self._stale, self._liveness = True, None
        for node in self._table.regroup(now):
            self._schedule.ask(node)

    def _refresh(self, now: float) -> list[PeerChange]:
        """Find this node's side anew where something has changed that decides about it."""
        if not self._stale:
            return []
        self._stale, self._liveness = False, None
        self._links_stale = True
        self._reached = self._table.reached()
        self._side.become(self._reached, now)
        before, self._alive = self._alive, frozenset(filter(self._can_announce, self._reached))
        self._advertise(now)
        return [
            *(PeerChange(node, False, *self._why(node)) for node in sorted(before - self._alive)),
            *(PeerChange(node, True, "heard") for node in sorted(self._alive - before)),
        ]

    def _look_at_lans(self, now: float) -> None:
        if self._links_stale:
            self._links_stale = False
            peers = self._table.peers
            self._lans.know({node: peers[node].received.state.links for node in self._reached if peers[node].fresh})
            self._lans.doubt()
        before = self._lans.hears
        if not self._lans.tick(now):
            return
        states = self.states()
        if self._lans.judge({node: states[node] for node in self._reached if node in states}):
            self._liveness = None
        if before != self._lans.hears:
            self._advertise(now)

    def _deaf(self) -> Iterator[tuple[str, float]]:
        """The speakers that are heard and do not hear this node, nor does anybody on its side; and since when.

        They cannot know what this node claims. Only it can give way, so it does, unless its side is the larger.
        """
        for node, peer in self._table.peers.items():
            one_way = peer.fresh and not peer.hears_us and node not in self._reached
            if one_way and peer.phase is Phase.SERVING and peer.linked_nodes > len(self._reached):
                yield node, peer.deaf_since

    def _next_deaf(self, now: float) -> float | None:
        ends = (since + self._dead_after for _, since in self._deaf())
        return min((end for end in ends if end > now), default=None)

    def _can_announce(self, node: str) -> bool:
        peer = self._table.peers[node]
        if peer.fresh:
            return peer.phase is Phase.SERVING and peer.known_since_fresh
        # Only others hear it. What was last known of it holds; who was never heard is taken to serve.
        return peer.phase is Phase.SERVING or not peer.stated

    def _why(self, node: str) -> tuple[str, float | None]:
        return self._reasons.pop(node, ("nobody on this side hears it", None))

    def _advertise(self, now: float) -> None:
        self._boot(now)
        self._dated_until = self._side.next_change(now, STEADY_SECONDS)
        if self._booting and self._serving_since is not None:
            ends = self._serving_since + BOOT_SECONDS
            self._dated_until = ends if self._dated_until is None else min(ends, self._dated_until)
        self._schedule.count(linked=1 + len(self._reached), side=self._side.size(now))
        self._schedule.advertise(
            replace(self._own, hears=self._table.hears(), lans=self._lans.hears, booting=self._booting)
        )

    def _boot(self, now: float) -> None:
        if not self._booting:
            return
        established = any(
            self._table.peers[node].stated and not self._table.peers[node].received.state.booting
            for node in self._alive
        )
        over = self._serving_since is not None and now - self._serving_since >= BOOT_SECONDS
        if established or over:
            self._booting = False
            self._liveness = None

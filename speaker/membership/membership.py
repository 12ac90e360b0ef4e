"""Which speakers are alive: a pure state machine over heartbeats and time."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass
from enum import StrEnum

from speaker.membership.failure_detector import Suspicion
from speaker.membership.heartbeat import Heartbeat, Phase
from speaker.membership.lease_renewals import Renewals
from speaker.membership.peer import Peer
from speaker.membership.peer_table import Roster
from speaker.membership.send_schedule import Outbox
from speaker.membership.state_sync import MalformedStatement, Statement

DEFAULT_INTERVAL_SECONDS = 0.1
DEFAULT_DEAD_AFTER_SECONDS = 0.5
JUST_LOST_SECONDS = 300.0
"""About as long as switches know where a silent host is."""


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

    Each node sends frequent heartbeats to those that watch it (`Ring`: in small clusters everybody) and rare ones to
    the others. Invariants:
    - a peer is alive only after a heartbeat that echoes our present challenge to it and is later than any taken from
      the same process before. The challenge changes when the peer is given up and when a new process of it is taken
      in: nothing written before that counts again, neither a recording nor a straggler of the former process;
    - a watcher that has heard nothing for `dead_after_seconds` *of its listening* asks the peer's other watchers; it
      gives the peer up when one of them does not hear it either, or none can be asked, or none answers within half
      that time again; not while they vouch for it. If our own loop did not run, every peer gets that time anew,
      because the silence may have been ours. Who gives a peer up tells everybody, who then give it up too unless
      they have just heard it;
    - a peer that was given up counts again only once its present statement is known: one that is heard but does not
      hear us tells nothing new, and to go by what it stated before would be to take what it has taken since;
    - a peer that says it leaves is given up at once;
    - after a standstill in which the others may have given this node up, `fenced` holds until every peer that was
      alive has told its present statement or was given up: until then nothing may be answered.

    `Suspicion` judges silence, `Outbox` writes what is due, `Renewals` tells who lives by its Lease; all of them look
    at one `Roster`, and none calls back. Not safe for several threads; its owner serialises.
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
        self.fence_after_seconds = dead_after_seconds - 1.5 * interval_seconds
        self._new_number = new_number
        self._dead_after = dead_after_seconds
        self._stall_after = dead_after_seconds / 2
        self._expecting_since: float | None = None
        self._ticked_at = now
        self._roster = Roster(node)
        self._outbox = Outbox(self._roster, incarnation=new_number(), interval_seconds=interval_seconds, now=now)
        self._suspicion = Suspicion(self._roster, self._outbox, dead_after_seconds=dead_after_seconds, now=now)
        self._renewals = Renewals(self._roster)
        self._unproven: set[str] = set()
        self._alive: frozenset[str] | None = None
        self._statements: dict[str, Statement] | None = None
        self._leavers: frozenset[str] | None = None

    @property
    def phase(self) -> Phase:
        """Where this speaker stands."""
        return self._outbox.phase

    @phase.setter
    def phase(self, phase: Phase) -> None:
        self._outbox.enter(phase)
        self._alive = None

    def state(self, statement: Statement) -> None:
        """Tell everybody from now on that this is what this node announces, and where it could."""
        self._outbox.state(statement)

    def statements(self) -> dict[str, Statement]:
        """What each peer was last heard to state, the dead ones included; not to be changed."""
        if self._statements is None:
            self._statements = {
                node: peer.heard.statement for node, peer in self._roster.peers.items() if peer.stated
            }
        return self._statements

    def set_peers(self, nodes: Collection[str], now: float) -> list[PeerChange]:
        """Expect heartbeats from these nodes; one no longer named is given up."""
        if self._expecting_since is None:
            self._expecting_since = self._ticked_at = now
            self._outbox.begin(now)
        gone = [PeerChange(node, False, "node removed") for node, peer in self._roster.peers.items() if peer.alive]
        self._roster.peers = {
            node: self._roster.peers.get(node) or Peer(self._new_number(), silent_since=now)
            for node in nodes
            if node != self.node
        }
        self._unproven &= self._roster.peers.keys()
        self._alive = self._statements = self._leavers = None
        self._outbox.readdress()
        self._regroup(now)
        return [change for change in gone if change.node not in self._roster.peers]

    def renewed(self, node: str, now: float) -> None:
        """The node's Lease was seen to be renewed: a second time, it lives, heard or not."""
        self._renewals.seen(node, now)

    def heard(self, heartbeat: Heartbeat, now: float) -> tuple[Verdict, list[PeerChange]]:
        """Take in an authentic heartbeat; what it asks for is in the next `outgoing`."""
        peer = self._roster.peers.get(heartbeat.sender)
        if peer is None:
            return Verdict.UNKNOWN_SENDER, []
        if heartbeat.echo != peer.challenge:
            # The sender learns our challenge, and its next heartbeat proves.
            self._outbox.answer(heartbeat.sender, heartbeat.challenge)
            return Verdict.UNPROVEN, []
        was_alive, was_fresh = peer.alive, peer.fresh
        if heartbeat.incarnation != peer.incarnation:
            peer = self._take_in(heartbeat.sender, peer, heartbeat.incarnation)
        elif heartbeat.sequence <= peer.sequence:
            # No sign of life; but what it states may only have been overtaken, and versions do not go back.
            self._take_chunks(heartbeat.sender, peer, heartbeat)
            return Verdict.REPLAYED, []
        self._take(peer, heartbeat, now)
        if not was_fresh:
            self._outbox.retract_death(heartbeat.sender)
            self._regroup(now)
        changes = [] if peer.alive == was_alive else [self._change(heartbeat.sender, peer)]
        if changes:
            self._alive = self._leavers = None
        for news in heartbeat.news:
            if self._suspicion.convinced_by(news, heartbeat.sender, now):
                changes += self._give_up(news.about, now, reason=f"reported by {heartbeat.sender}")
        return Verdict.ACCEPTED, changes

    def tick(self, now: float) -> tuple[float, list[PeerChange]]:
        """Give up silent peers; call it after everything received was taken in.

        Returns for how long this loop stood still (0 if it did not) and the changes.
        """
        since = now - self._ticked_at
        self._ticked_at = now
        if since > self._stall_after:
            self._stood_still(since, now)
            return since, []
        self._outbox.expire(now)
        changes = []
        for node in self._suspicion.suspects(now):
            peer = self._roster.peers[node]
            if peer.fresh and self._suspicion.is_lost(node, peer, now):
                changes += self._give_up(node, now, reason=f"silent for {peer.silence(now):.3f} s")
                self._outbox.publish_death(node, now, until=now + self._dead_after)
        if self.fenced and not self._unproven:
            self.fenced = False
        return 0.0, changes

    def next_deadline(self) -> float:
        """When `tick` and `outgoing` may next have something to do, if nothing is heard or said."""
        return self._suspicion.next_deadline(latest=self._outbox.regular_at)

    def alive(self, now: float) -> frozenset[str]:
        """The nodes whose speakers can announce, this one included once it serves."""
        if self._alive is None:
            own = {self.node} if self.phase is Phase.SERVING else set()
            self._alive = frozenset(own | {node for node, peer in self._roster.peers.items() if peer.alive})
        return self._alive | self.by_lease(now) if self._renewals.speak else self._alive

    def by_lease(self, now: float) -> frozenset[str]:
        """The nodes that are not heard, yet keep renewing their Lease: the network swallows heartbeats."""
        return self._renewals.proven(now)

    def leaving(self) -> frozenset[str]:
        """The peers whose last word was that they leave."""
        if self._leavers is None:
            leavers = (
                node for node, peer in self._roster.peers.items() if peer.stated and peer.phase is Phase.LEAVING
            )
            self._leavers = frozenset(leavers)
        return self._leavers

    def in_trouble(self, node: str) -> bool:
        """Tell whether the peer has lost one of its interfaces, by its own word."""
        return any(link.lost for link in self._roster.peers[node].heard.statement.links)

    def hearing(self, nodes: Collection[str], now: float) -> frozenset[str]:
        """Return those whose present statement is known as of just now; the others are asked to speak."""
        heard = set()
        for node in nodes:
            peer = self._roster.peers.get(node)
            if peer is not None and peer.fresh and peer.known and now - peer.silent_since < self._dead_after / 2:
                heard.add(node)
            elif peer is not None:
                self._outbox.ask(node)
        return frozenset(heard)

    def just_lost(self, node: str, now: float) -> bool:
        """Tell whether the peer has fallen silent, but was heard until a few minutes ago: it may be cut off."""
        peer = self._roster.peers[node]
        if peer.incarnation is None or now - peer.silent_since >= JUST_LOST_SECONDS:
            return False
        return not peer.fresh or (peer.watched_since is not None and peer.silence(now) >= self._dead_after / 2)

    @property
    def crowded(self) -> bool:
        """Whether there are too many peers for everybody to watch everybody."""
        return self._roster.crowded

    def settled(self, now: float) -> bool:
        """Tell whether every peer was heard out, or has had the time to be since the peers are known.

        A speaker that announced before would take every address from speakers it has merely not heard yet.
        """
        if self._expecting_since is None:
            return False
        everyone = all(peer.stated for peer in self._roster.peers.values())
        return everyone or now - self._expecting_since >= 2 * self._dead_after

    def heartbeat_to(self, node: str) -> Heartbeat:
        """Compose a heartbeat to a peer. Raises KeyError for a node that is none."""
        return self._outbox.heartbeat_to(node)

    def outgoing(self, now: float) -> list[tuple[str, Heartbeat]]:
        """Return the heartbeats due now, each with the node it goes to."""
        return self._outbox.due(now)

    def _take_in(self, node: str, former: Peer, incarnation: int) -> Peer:
        """Begin anew with another process of the node."""
        peer = self._roster.peers[node] = Peer(
            self._new_number(),
            silent_since=former.silent_since,
            incarnation=incarnation,
            watched_since=former.watched_since,
        )
        self._outbox.hurry(node)
        self._statements = self._leavers = None
        return peer

    def _take(self, peer: Peer, heartbeat: Heartbeat, now: float) -> None:
        if heartbeat.challenge != peer.echo:
            self._outbox.hurry(heartbeat.sender)
        if heartbeat.probe:
            self._outbox.oblige(heartbeat.sender, now)
        peer.echo = heartbeat.challenge
        peer.sequence = heartbeat.sequence
        peer.phase = heartbeat.phase
        peer.version = heartbeat.version
        peer.acknowledged = heartbeat.have
        peer.silent_since = now
        peer.fresh = True
        peer.asked_at = peer.first_renewed_at = peer.renewed_at = None
        peer.accusers.clear()
        self._take_chunks(heartbeat.sender, peer, heartbeat)
        if peer.known:
            self._unproven.discard(heartbeat.sender)
            peer.heard_out = True
            if not peer.stated:
                peer.stated = True
                self._statements = None

    def _take_chunks(self, node: str, peer: Peer, heartbeat: Heartbeat) -> None:
        for chunk in heartbeat.chunks:
            try:
                complete = peer.heard.take(chunk)
            except MalformedStatement:
                continue
            if complete:
                # Acknowledged at once, or it would be said again.
                self._outbox.hurry(node)
                self._statements = None

    def _give_up(self, node: str, now: float, *, reason: str) -> list[PeerChange]:
        peer = self._roster.peers[node]
        changes = [PeerChange(node, False, reason, peer.silence(now))] if peer.alive else []
        peer.fresh = peer.heard_out = False
        peer.challenge = self._new_number()
        peer.asked_at = peer.first_renewed_at = peer.renewed_at = None
        peer.accusers.clear()
        # Should it live after all, its answer brings it back at once.
        self._outbox.hurry(node)
        self._unproven.discard(node)
        self._alive = None
        self._regroup(now)
        return changes

    def _stood_still(self, seconds: float, now: float) -> None:
        for node, peer in self._roster.peers.items():
            if not peer.fresh:
                continue
            peer.silent_since = now
            peer.asked_at = None
            peer.accusers.clear()
            if seconds >= self.fence_after_seconds and self.phase is not Phase.STARTING:
                self.fenced = True
                self._unproven.add(node)
                self._outbox.ask(node)

    def _regroup(self, now: float) -> None:
        for node in self._roster.regroup(now):
            self._outbox.ask(node)

    def _change(self, node: str, peer: Peer) -> PeerChange:
        if peer.alive:
            return PeerChange(node, True, "heard")
        # A new process of a live peer has not been heard out.
        return PeerChange(node, False, "restarted" if peer.phase is Phase.SERVING else peer.phase.name.lower())

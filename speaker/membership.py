"""Which speakers are alive: a pure state machine over heartbeats and time."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from enum import StrEnum

from speaker.heartbeat import NEWS_BYTES, Heartbeat, News, Phase, Tidings
from speaker.peer import Peer
from speaker.ring import EVERYONE_UP_TO, Ring
from speaker.statement import Chunk, MalformedStatement, Spoken, Statement

DEFAULT_INTERVAL_SECONDS = 0.1
DEFAULT_DEAD_AFTER_SECONDS = 0.5
BACKGROUND_PER_SECOND = 10.0
"""Heartbeats to those who do not watch this node, all of them together."""
LEASE_COUNTS_SECONDS = 25.0
"""How long a renewed Lease speaks for a node that is not heard."""
LEASE_DOUBT_SECONDS = 2.0
"""A renewal seen so soon after the silence began may have been written before."""
LEASE_PROOF_SECONDS = 5.0
"""How far apart two renewals must be seen to prove life: what waited in a stalled API server comes all at once."""

WANTED_SECONDS = 10.0
"""How long a peer that asked for frequent heartbeats gets them, though by this node's view it need not."""
_NEWS_ENTRY_BYTES = 10
_PATROL_SECONDS = 0.5
"""How often those are looked after whom others watch."""
_NONE: frozenset[str] = frozenset()


class Verdict(StrEnum):
    """What became of a heartbeat; all but ACCEPTED left the peer's state as it was."""

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
      that time again; not while one vouches for it. If our own loop did not run, every peer gets that time anew,
      because the silence may have been ours. Who gives a peer up tells everybody, who then give it up too unless
      they have just heard it;
    - a peer that says it leaves is given up at once;
    - after a standstill in which the others may have given this node up, `fenced` holds until every peer that was
      alive has told its present statement or was given up: until then nothing may be answered.

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
        self.fence_after_seconds = dead_after_seconds - 1.5 * interval_seconds
        self._new_number = new_number
        self._incarnation = new_number()
        self._phase = Phase.STARTING
        self._interval = interval_seconds
        self._dead_after = dead_after_seconds
        self._stall_after = dead_after_seconds / 2
        self._expecting_since: float | None = None
        self._ticked_at = now
        self._regular_at = now
        self._sequence = 0
        self._spoken = Spoken()
        self._peers: dict[str, Peer] = {}
        self._ring = Ring((node,))
        self._closely: frozenset[str] = frozenset()
        self._rotation: Iterator[str] = iter(())
        self._background = 0.0
        self._answers: list[tuple[str, Heartbeat]] = []
        self._obituaries: dict[str, tuple[News, float]] = {}
        self._unproven: set[str] = set()
        self._urgent: set[str] = set()
        """To whom a heartbeat is due now."""
        self._watched: tuple[str, ...] = ()
        self._alive: frozenset[str] | None = None
        self._statements: dict[str, Statement] | None = None
        self._leavers: frozenset[str] | None = None
        self._leases_speak = False
        self._patrol_at = now

    @property
    def phase(self) -> Phase:
        """Where this speaker stands."""
        return self._phase

    @phase.setter
    def phase(self, phase: Phase) -> None:
        self._phase = phase
        self._hurry()

    def state(self, statement: Statement) -> None:
        """Tell everybody from now on that this is what this node announces, and where it could."""
        if self._spoken.state(statement):
            self._hurry()

    def statements(self) -> dict[str, Statement]:
        """What each peer was last heard to state, the dead ones included; not to be changed."""
        if self._statements is None:
            self._statements = {node: peer.heard.statement for node, peer in self._peers.items() if peer.stated}
        return self._statements

    def set_peers(self, nodes: Collection[str], now: float) -> list[PeerChange]:
        """Expect heartbeats from these nodes; one no longer named is given up."""
        if self._expecting_since is None:
            self._expecting_since = self._ticked_at = self._regular_at = now
        gone = [PeerChange(node, False, "node removed") for node, peer in self._peers.items() if peer.alive]
        self._peers = {
            node: self._peers.get(node) or Peer(self._new_number(), silent_since=now)
            for node in nodes
            if node != self.node
        }
        self._unproven &= self._peers.keys()
        self._urgent &= self._peers.keys()
        self._alive = self._statements = self._leavers = None
        self._rotation = itertools.cycle(sorted(self._peers))
        self._regroup(now)
        return [change for change in gone if change.node not in self._peers]

    def renewed(self, node: str, now: float) -> None:
        """The node's Lease was seen to be renewed: a second time, it lives, heard or not."""
        peer = self._peers.get(node)
        if peer is None or peer.fresh or now - peer.silent_since < LEASE_DOUBT_SECONDS:
            return
        if peer.first_renewed_at is None:
            peer.first_renewed_at = now
        elif now - peer.first_renewed_at >= LEASE_PROOF_SECONDS:
            peer.renewed_at = now
            self._leases_speak = True

    def heard(self, heartbeat: Heartbeat, now: float) -> tuple[Verdict, list[PeerChange]]:
        """Take in an authentic heartbeat; what it asks for is in the next `outgoing`."""
        peer = self._peers.get(heartbeat.sender)
        if peer is None:
            return Verdict.UNKNOWN_SENDER, []
        if heartbeat.echo != peer.challenge:
            # The sender learns our challenge, and its next heartbeat proves.
            self._answers.append((heartbeat.sender, self._compose(peer, echo=heartbeat.challenge, have=0)))
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
            self._regroup(now)
        changes = [] if peer.alive == was_alive else [self._change(heartbeat.sender, peer)]
        if changes:
            self._alive = self._leavers = None
        for news in heartbeat.news:
            changes += self._hear_news(heartbeat.sender, news, now)
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
        if self._obituaries:
            self._obituaries = {node: entry for node, entry in self._obituaries.items() if now < entry[1]}
        changes = []
        for node in self._watched if now < self._patrol_at else list(self._peers):
            peer = self._peers[node]
            if peer.fresh and self._is_lost(node, peer, now):
                changes += self._give_up(node, peer, now, reason=f"silent for {peer.silence(now):.3f} s")
                news = News(about=node, tidings=Tidings.DEAD, incarnation=peer.incarnation or 0)
                self._obituaries[node] = (news, now + self._dead_after)
                self._regular_at = now
        if now >= self._patrol_at:
            self._patrol_at = now + _PATROL_SECONDS
        if self.fenced and not self._unproven:
            self.fenced = False
        return 0.0, changes

    def next_deadline(self) -> float:
        """When `tick` and `outgoing` may next have something to do, if nothing is heard or said."""
        deadline = self._regular_at
        for peer in map(self._peers.__getitem__, self._watched):
            if peer.asked_at is not None:
                deadline = min(deadline, peer.asked_at + self._dead_after / 4)
            elif peer.fresh:
                deadline = min(deadline, max(peer.silent_since, peer.watched_since or 0.0) + self._dead_after)
        return deadline

    def alive(self, now: float) -> frozenset[str]:
        """The nodes whose speakers can announce, this one included once it serves."""
        if self._alive is None:
            own = {self.node} if self._phase is Phase.SERVING else set()
            self._alive = frozenset(own | {node for node, peer in self._peers.items() if peer.alive})
        return self._alive | self.by_lease(now) if self._leases_speak else self._alive

    def by_lease(self, now: float) -> frozenset[str]:
        """The nodes that are not heard, yet keep renewing their Lease: the network swallows heartbeats."""
        if not self._leases_speak:
            return _NONE
        found = frozenset(
            node
            for node, peer in self._peers.items()
            if not peer.fresh and peer.renewed_at is not None and now - peer.renewed_at < LEASE_COUNTS_SECONDS
        )
        self._leases_speak = bool(found)
        return found

    def leaving(self) -> frozenset[str]:
        """The peers whose last word was that they leave."""
        if self._leavers is None:
            leavers = (node for node, peer in self._peers.items() if peer.stated and peer.phase is Phase.LEAVING)
            self._leavers = frozenset(leavers)
        return self._leavers

    def in_trouble(self, node: str) -> bool:
        """Tell whether the peer has lost one of its interfaces, by its own word."""
        return any(link.lost for link in self._peers[node].heard.statement.links)

    @property
    def crowded(self) -> bool:
        """Whether there are too many peers for everybody to watch everybody."""
        return len(self._peers) > EVERYONE_UP_TO

    def settled(self, now: float) -> bool:
        """Tell whether every peer was heard out, or has had the time to be since the peers are known.

        A speaker that announced before would take every address from speakers it has merely not heard yet.
        """
        if self._expecting_since is None:
            return False
        everyone = all(peer.stated for peer in self._peers.values())
        return everyone or now - self._expecting_since >= 2 * self._dead_after

    def heartbeat_to(self, node: str) -> Heartbeat:
        """Compose a heartbeat to a peer. Raises KeyError for a node that is none."""
        peer = self._peers[node]
        return self._compose(peer, echo=peer.echo)

    def outgoing(self, now: float) -> list[tuple[str, Heartbeat]]:
        """Return the heartbeats due now, each with the node it goes to."""
        sent, self._answers = self._answers, []
        due, self._urgent = self._urgent, set()
        if now >= self._regular_at:
            due.update(self._regular_nodes(now))
        for node in due:
            sent += self._due(node, self._peers[node], now)
        return sent

    def _due(self, node: str, peer: Peer, now: float) -> list[tuple[str, Heartbeat]]:
        news = peer.news + [entry for entry, _ in self._obituaries.values() if peer.fresh and entry.about != node]
        chunks: list[Chunk] = []
        # Said again an interval later, unless the peer says that it has it.
        if peer.fresh and peer.acknowledged != self._spoken.version and now - peer.told_at >= self._interval / 2:
            chunks = self._spoken.since(peer.acknowledged)
            peer.told_at = now
        parcels = [self._compose(peer, echo=peer.echo, chunks=(chunk,)) for chunk in chunks]
        if news or not parcels:
            parcels.insert(0, self._compose(peer, echo=peer.echo, news=_that_fits(news)))
        peer.news.clear()
        peer.probe = False
        return [(node, parcel) for parcel in parcels]

    def _regular_nodes(self, now: float) -> Collection[str]:
        self._regular_at = max(self._regular_at + self._interval, now)
        if not self.crowded or self._phase is Phase.LEAVING or self._obituaries:
            return self._peers.keys()
        due = {
            node
            for node, peer in self._peers.items()
            if node in self._closely
            or peer.wants_until > now
            or (peer.acknowledged != self._spoken.version if peer.fresh else self._phase is Phase.STARTING)
        }
        self._background += BACKGROUND_PER_SECOND * self._interval
        while self._background >= 1.0:
            self._background -= 1.0
            due.add(next(self._rotation))
        return due

    def _compose(
        self,
        peer: Peer,
        *,
        echo: int,
        have: int | None = None,
        chunks: tuple[Chunk, ...] = (),
        news: tuple[News, ...] = (),
    ) -> Heartbeat:
        self._sequence += 1
        return Heartbeat(
            sender=self.node,
            phase=self._phase,
            incarnation=self._incarnation,
            challenge=peer.challenge,
            echo=echo,
            sequence=self._sequence,
            version=self._spoken.version,
            have=peer.heard.version if have is None else have,
            probe=peer.probe,
            chunks=chunks,
            news=news,
        )

    def _take_in(self, node: str, former: Peer, incarnation: int) -> Peer:
        """Begin anew with another process of the node."""
        peer = self._peers[node] = Peer(
            self._new_number(),
            silent_since=former.silent_since,
            incarnation=incarnation,
            watched_since=former.watched_since,
        )
        self._urgent.add(node)
        self._statements = self._leavers = None
        return peer

    def _take(self, peer: Peer, heartbeat: Heartbeat, now: float) -> None:
        if heartbeat.challenge != peer.echo or heartbeat.probe:
            self._urgent.add(heartbeat.sender)
        if heartbeat.probe:
            peer.wants_until = now + WANTED_SECONDS
        peer.echo = heartbeat.challenge
        peer.sequence = heartbeat.sequence
        peer.phase = heartbeat.phase
        peer.version = heartbeat.version
        peer.acknowledged = heartbeat.have
        peer.silent_since = now
        peer.fresh = True
        peer.asked_at = peer.first_renewed_at = peer.renewed_at = None
        peer.accusers.clear()
        self._obituaries.pop(heartbeat.sender, None)
        self._take_chunks(heartbeat.sender, peer, heartbeat)
        if peer.known and not peer.stated:
            peer.stated = True
            self._statements = None
        if peer.known:
            self._unproven.discard(heartbeat.sender)

    def _take_chunks(self, node: str, peer: Peer, heartbeat: Heartbeat) -> None:
        for chunk in heartbeat.chunks:
            try:
                complete = peer.heard.take(chunk)
            except MalformedStatement:
                continue
            if complete:
                # Acknowledged at once, or it would be said again.
                self._urgent.add(node)
                self._statements = None

    def _hear_news(self, sender: str, news: News, now: float) -> list[PeerChange]:
        peer = self._peers.get(news.about)
        if peer is None or peer.incarnation != news.incarnation:
            return []
        silent = peer.silence(now) >= self._dead_after / 2
        if news.tidings is Tidings.VOUCHED:
            peer.vouched_at = now
        elif not peer.fresh:
            if news.tidings is Tidings.SUSPECTED:
                self._say(sender, news.about, Tidings.DEAD)
        elif news.tidings is Tidings.DEAD:
            return self._give_up(news.about, peer, now, reason=f"reported by {sender}") if silent else []
        elif silent and peer.watched_since is not None:
            if sender not in peer.accusers:
                peer.accusers.add(sender)
                self._say(sender, news.about, Tidings.SUSPECTED)
        elif peer.watched_since is not None:
            self._say(sender, news.about, Tidings.VOUCHED)
        return []

    def _is_lost(self, node: str, peer: Peer, now: float) -> bool:
        silence = peer.silence(now)
        if silence < self._patience(peer):
            return False
        if peer.accusers:
            return True
        # Who is not watched from here is looked after more rarely.
        answer_time = self._dead_after / 2 if peer.watched_since is not None else 2 * _PATROL_SECONDS
        jurors = [
            juror
            for juror in self._ring.watchers_of(node)
            if juror != self.node and self._can_judge(self._peers[juror], now)
        ]
        if not jurors:
            return True
        if peer.asked_at is None:
            peer.suspected_at = now
        elif now - max(peer.suspected_at, peer.vouched_at) >= answer_time:
            return True
        elif now - peer.asked_at < self._dead_after / 4:
            return False
        peer.asked_at = now
        peer.probe = True
        self._urgent.add(node)
        for juror in jurors:
            self._say(juror, node, Tidings.SUSPECTED)
        return False

    def _can_judge(self, juror: Peer, now: float) -> bool:
        if not juror.fresh or juror.phase is not Phase.SERVING:
            return False
        return juror.watched_since is None or juror.silence(now) < self._dead_after / 2

    def _patience(self, peer: Peer) -> float:
        if peer.watched_since is not None:
            return self._dead_after
        return self._dead_after + 3 * len(self._peers) / BACKGROUND_PER_SECOND

    def _say(self, listener: str, about: str, tidings: Tidings) -> None:
        incarnation = self._peers[about].incarnation or 0
        self._peers[listener].news.append(News(about=about, tidings=tidings, incarnation=incarnation))
        self._urgent.add(listener)

    def _give_up(self, node: str, peer: Peer, now: float, *, reason: str) -> list[PeerChange]:
        changes = [PeerChange(node, False, reason, peer.silence(now))] if peer.alive else []
        peer.fresh = False
        peer.challenge = self._new_number()
        peer.asked_at = peer.first_renewed_at = peer.renewed_at = None
        peer.accusers.clear()
        # Should it live after all, its answer brings it back at once.
        self._urgent.add(node)
        self._unproven.discard(node)
        self._alive = None
        self._regroup(now)
        return changes

    def _stood_still(self, seconds: float, now: float) -> None:
        for node, peer in self._peers.items():
            if not peer.fresh:
                continue
            peer.silent_since = now
            peer.asked_at = None
            if seconds >= self.fence_after_seconds and self._phase is not Phase.STARTING:
                self.fenced = True
                self._unproven.add(node)
                peer.probe = True
                self._urgent.add(node)

    def _regroup(self, now: float) -> None:
        self._ring = Ring({self.node} | {node for node, peer in self._peers.items() if peer.fresh})
        self._closely = frozenset(self._ring.watchers_of(self.node))
        self._watched = self._ring.watched_by(self.node)
        watched = frozenset(self._watched)
        for node, peer in self._peers.items():
            if node not in watched:
                peer.watched_since = None
            elif peer.watched_since is None:
                peer.watched_since = now
                if self.crowded:
                    peer.probe = True
                    self._urgent.add(node)

    def _change(self, node: str, peer: Peer) -> PeerChange:
        return PeerChange(node, peer.alive, "heard" if peer.alive else peer.phase.name.lower())

    def _hurry(self) -> None:
        self._alive = None
        self._urgent.update(self._peers)
        for peer in self._peers.values():
            peer.told_at = -1.0


def _that_fits(news: list[News]) -> tuple[News, ...]:
    """As much of it as one heartbeat takes, the latest rather than the first; what matters is said again."""
    room = NEWS_BYTES
    fitting = []
    for entry in reversed(news):
        room -= _NEWS_ENTRY_BYTES + len(entry.about.encode())
        if room < 0:
            break
        fitting.append(entry)
    return tuple(fitting)

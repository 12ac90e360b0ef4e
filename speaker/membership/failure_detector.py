"""Whether a peer that is not heard is dead: what this node and the peer's other watchers make of its silence."""

from __future__ import annotations

from collections.abc import Collection

from speaker.membership.heartbeat import News, Phase, Tidings
from speaker.membership.peer import Peer
from speaker.membership.peer_table import Roster
from speaker.membership.send_schedule import BACKGROUND_PER_SECOND, Outbox

_PATROL_SECONDS = 0.5
"""How often those are looked after whom others watch."""


class Suspicion:
    """Doubts silent peers, asks others about them, and answers others' doubts. Owned by one thread.

    It gives nobody up: that a peer is lost is for the membership to act upon.
    """

    def __init__(self, roster: Roster, outbox: Outbox, *, dead_after_seconds: float, now: float) -> None:
        self._roster = roster
        self._outbox = outbox
        self._dead_after = dead_after_seconds
        self._patrol_at = now

    def suspects(self, now: float) -> Collection[str]:
        """Return whose silence to look at now: of those watched from here, and now and then of all."""
        if now < self._patrol_at:
            return self._roster.watched
        self._patrol_at = now + _PATROL_SECONDS
        return self._roster.peers.keys()

    def is_lost(self, node: str, peer: Peer, now: float) -> bool:
        """Tell whether the peer has been silent for too long and nobody vouches for it; where needed, ask."""
        silence = peer.silence(now)
        if silence < self._patience(peer):
            return False
        if peer.accusers:
            return True
        # Who is not watched from here is looked after more rarely.
        answer_time = self._dead_after / 2 if peer.watched_since is not None else 2 * _PATROL_SECONDS
        jurors = [
            juror
            for juror in self._roster.ring.watchers_of(node)
            if juror != self._roster.node and self._can_judge(self._roster.peers[juror], now)
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
        self._outbox.ask(node)
        for juror in jurors:
            self._outbox.tell(juror, node, Tidings.SUSPECTED)
        return False

    def convinced_by(self, news: News, sender: str, now: float) -> bool:
        """Take in what the sender says about another peer; tell whether that peer is to be given up for it."""
        peer = self._roster.peers.get(news.about)
        if peer is None or peer.incarnation != news.incarnation:
            return False
        silent = peer.silence(now) >= self._dead_after / 2
        if news.tidings is Tidings.VOUCHED:
            peer.vouched_at = now
        elif not peer.fresh:
            if news.tidings is Tidings.SUSPECTED:
                self._outbox.tell(sender, news.about, Tidings.DEAD)
        elif news.tidings is Tidings.DEAD:
            return silent
        elif silent and peer.watched_since is not None:
            if sender not in peer.accusers:
                peer.accusers.add(sender)
                self._outbox.tell(sender, news.about, Tidings.SUSPECTED)
        elif peer.watched_since is not None:
            self._outbox.tell(sender, news.about, Tidings.VOUCHED)
        return False

    def next_deadline(self, latest: float) -> float:
        """Return when `is_lost` may next say otherwise of a peer watched from here or ask about it, or `latest`."""
        deadline = latest
        peers = self._roster.peers
        for node in self._roster.watched:
            peer = peers[node]
            if peer.asked_at is not None:
                deadline = min(deadline, peer.asked_at + self._dead_after / 4)
            elif peer.fresh:
                deadline = min(deadline, max(peer.silent_since, peer.watched_since or 0.0) + self._dead_after)
        return deadline

    def _can_judge(self, juror: Peer, now: float) -> bool:
        if not juror.fresh or juror.phase is not Phase.SERVING:
            return False
        return juror.watched_since is None or juror.silence(now) < self._dead_after / 2

    def _patience(self, peer: Peer) -> float:
        if peer.watched_since is not None:
            return self._dead_after
        return self._dead_after + 3 * len(self._roster.peers) / BACKGROUND_PER_SECOND

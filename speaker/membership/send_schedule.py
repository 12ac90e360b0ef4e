"""The heartbeats this node owes its peers: to whom, when, and with what."""

from __future__ import annotations

import itertools
from collections.abc import Collection, Iterator

from speaker.membership.heartbeat import NEWS_BYTES, Heartbeat, News, Phase, Tidings
from speaker.membership.peer import Peer
from speaker.membership.peer_table import Roster
from speaker.membership.state_sync import Chunk, Spoken, Statement

BACKGROUND_PER_SECOND = 10.0
"""Heartbeats to those who do not watch this node, all of them together."""
WANTED_SECONDS = 10.0
"""How long a peer that asked for frequent heartbeats gets them, though by this node's view it need not."""
_NEWS_ENTRY_BYTES = 10


class Outbox:
    """Writes this process's heartbeats, each with a higher sequence number than any before. Owned by one thread.

    Due are, at once, those that something happened for, and every interval those to the peers that watch this node,
    asked for it or lack its statement, and a few others in turn; to all of them while somebody's death is to be
    made known.
    """

    def __init__(self, roster: Roster, *, incarnation: int, interval_seconds: float, now: float) -> None:
        self._roster = roster
        self._incarnation = incarnation
        self._interval = interval_seconds
        self.regular_at = now
        """When the next regular heartbeats are due."""
        self.phase = Phase.STARTING
        self._spoken = Spoken()
        self._sequence = 0
        self._answers: list[tuple[str, Heartbeat]] = []
        self._urgent: set[str] = set()
        """To whom a heartbeat is due now."""
        self._obituaries: dict[str, tuple[News, float]] = {}
        """What everybody is told, and until when."""
        self._rotation: Iterator[str] = iter(())
        self._background = 0.0

    def enter(self, phase: Phase) -> None:
        """Tell everybody from now on that this speaker stands there."""
        self.phase = phase
        self._hurry_all()

    def state(self, statement: Statement) -> None:
        """Tell everybody from now on that this is what this node announces, and where it could."""
        if self._spoken.state(statement):
            self._hurry_all()

    def begin(self, now: float) -> None:
        """The regular heartbeats begin now, and not when this outbox was made."""
        self.regular_at = now

    def readdress(self) -> None:
        """The roster names other peers than before: nothing is due to those that are gone."""
        self._urgent &= self._roster.peers.keys()
        self._answers = [(node, heartbeat) for node, heartbeat in self._answers if node in self._roster.peers]
        self._rotation = itertools.cycle(sorted(self._roster.peers))

    def hurry(self, node: str) -> None:
        """Let a heartbeat to the peer be due now."""
        self._urgent.add(node)

    def ask(self, node: str) -> None:
        """Let the peer be asked now for a heartbeat in return, and for frequent ones."""
        self._roster.peers[node].probe = True
        self._urgent.add(node)

    def oblige(self, node: str, now: float) -> None:
        """Give the peer what it asked for: a heartbeat now, and frequent ones."""
        self._roster.peers[node].wants_until = now + WANTED_SECONDS
        self._urgent.add(node)

    def answer(self, node: str, challenge: int) -> None:
        """Send this challenge back to the peer, and with it ours, apart from whatever else is due to it."""
        self._answers.append((node, self._compose(self._roster.peers[node], echo=challenge, have=0)))

    def tell(self, listener: str, about: str, tidings: Tidings) -> None:
        """Tell one peer about another, now and once."""
        self._roster.peers[listener].news.append(self._news(about, tidings))
        self._urgent.add(listener)

    def publish_death(self, node: str, now: float, *, until: float) -> None:
        """Tell everybody that the peer was given up, now and with whatever else is sent until then."""
        self._obituaries[node] = (self._news(node, Tidings.DEAD), until)
        self.regular_at = now

    def retract_death(self, node: str) -> None:
        """Tell nobody any longer that the peer was given up."""
        self._obituaries.pop(node, None)

    def expire(self, now: float) -> None:
        """Drop what was to be told until now."""
        if self._obituaries:
            self._obituaries = {node: entry for node, entry in self._obituaries.items() if now < entry[1]}

    def heartbeat_to(self, node: str) -> Heartbeat:
        """Compose a heartbeat to a peer. Raises KeyError for a node that is none."""
        peer = self._roster.peers[node]
        return self._compose(peer, echo=peer.echo)

    def due(self, now: float) -> list[tuple[str, Heartbeat]]:
        """Return the heartbeats due now, each with the node it goes to."""
        sent, self._answers = self._answers, []
        due, self._urgent = self._urgent, set()
        if now >= self.regular_at:
            due.update(self._regular_nodes(now))
        for node in due:
            sent += self._parcels(node, self._roster.peers[node], now)
        return sent

    def _parcels(self, node: str, peer: Peer, now: float) -> list[tuple[str, Heartbeat]]:
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
        self.regular_at = max(self.regular_at + self._interval, now)
        roster = self._roster
        if not roster.crowded or self.phase is Phase.LEAVING or self._obituaries:
            return roster.peers.keys()
        due = {
            node
            for node, peer in roster.peers.items()
            if node in roster.watchers
            or peer.wants_until > now
            or (peer.acknowledged != self._spoken.version if peer.fresh else self.phase is Phase.STARTING)
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
            sender=self._roster.node,
            phase=self.phase,
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

    def _news(self, about: str, tidings: Tidings) -> News:
        return News(about=about, tidings=tidings, incarnation=self._roster.peers[about].incarnation or 0)

    def _hurry_all(self) -> None:
        self._urgent.update(self._roster.peers)
        for peer in self._roster.peers.values():
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

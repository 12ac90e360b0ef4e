"""The heartbeats this node owes its peers: to whom, when, and with what."""

from __future__ import annotations

import itertools
from collections.abc import Collection, Iterator
from dataclasses import replace

from speaker.membership.heartbeat import VERSION, Heartbeat, Phase, version_for
from speaker.membership.peer import Peer
from speaker.membership.peer_table import PeerTable
from speaker.membership.state_sync import AdvertisedState, Chunk, SentState

BACKGROUND_PER_SECOND = 10.0
"""Heartbeats to those who are no neighbours of this node, all of them together."""
CHUNKS_A_TURN = 256
"""Heartbeats that carry state in one turn of the loop, about: the state of a node with thousands of addresses is
fifty of them to each peer, and in between others' heartbeats are to be heard."""
WANTED_SECONDS = 10.0
"""How long a peer that asked for frequent heartbeats gets them, though by this node's view it need not."""
TOLD_SECONDS = 10.0
"""How long a new state goes to peers that are not heard: they may hear this node, and cannot say that they do."""


class SendSchedule:
    """Writes this process's heartbeats, each with a higher sequence number than any before. Owned by one thread.

    Due are, at once, those that something happened for, and every interval those to this node's neighbours, to those
    that asked for it or lack its state, and to a few others in turn.
    """

    def __init__(
        self, table: PeerTable, *, incarnation: int, interval_seconds: float, now: float, newest: int = VERSION
    ) -> None:
        """`newest` is the newest version of the format that this release reads and writes."""
        self._newest = newest
        self._heard_read: tuple[int, ...] = ()
        self._table = table
        self._incarnation = incarnation
        self._interval = interval_seconds
        self.regular_at = now
        """When the next regular heartbeats are due."""
        self.phase = Phase.STARTING
        self._sent = SentState()
        self._sent_new = True
        self._told_until = 0.0
        self._side = (0, 0)
        self._sequence = 0
        self._answers: list[tuple[str, Heartbeat]] = []
        self._urgent: set[str] = set()
        """To whom a heartbeat is due now."""
        self._rotation: Iterator[str] = iter(())
        self._background = 0.0

    def enter(self, phase: Phase) -> None:
        """Say from now on that this speaker is in that phase."""
        self.phase = phase
        self._hurry_all()

    def advertise(self, state: AdvertisedState) -> None:
        """Advertise this state to everybody from now on."""
        if self._sent.advertise(state):
            self._sent_new = True
            self._hurry_all()

    def count(self, *, linked: int, side: int) -> None:
        """Say from now on that so many nodes are on this node's side, and so many of them count."""
        if (linked, side) != self._side:
            self._side = (linked, side)
            self._urgent.update(self._table.peers)

    def agree(self) -> None:
        """Other peers are heard than before, or read another version of the format."""
        self._heard_read = tuple({peer.reads for peer in self._table.peers.values() if peer.fresh})

    def begin(self, now: float) -> None:
        """The regular heartbeats begin now, and not when this schedule was made."""
        self.regular_at = now

    def readdress(self) -> None:
        """The table names other peers than before: nothing is due to those that are gone."""
        self._urgent &= self._table.peers.keys()
        self._answers = [(node, heartbeat) for node, heartbeat in self._answers if node in self._table.peers]
        self._rotation = itertools.cycle(sorted(self._table.peers))

    def hurry(self, node: str) -> None:
        """Let a heartbeat to the peer be due now."""
        self._urgent.add(node)

    def ask(self, node: str) -> None:
        """Let the peer be asked now for a heartbeat in return, and for frequent ones."""
        self._table.peers[node].probe = True
        self._urgent.add(node)

    def oblige(self, node: str, now: float) -> None:
        """Give the peer what it asked for: a heartbeat now, and frequent ones."""
        self._table.peers[node].wants_until = now + WANTED_SECONDS
        self._urgent.add(node)

    def answer(self, node: str, challenge: int, *, have: int) -> None:
        """Send this challenge back to the peer, and with it ours, apart from whatever else is due to it.

        `have` is the version of its state that is known, if it is that of the process that is answered.
        """
        self._answers.append((node, self._compose(self._table.peers[node], echo=challenge, have=have)))

    def heartbeat_to(self, node: str) -> Heartbeat:
        """Compose a heartbeat to a peer. Raises KeyError for a node that is none."""
        peer = self._table.peers[node]
        return self._compose(peer, echo=peer.echo)

    def heartbeat_on_lan(self, node: str) -> Heartbeat:
        """Compose a heartbeat that counts for the LAN it comes over. Raises KeyError for a node that is no peer."""
        return replace(self.heartbeat_to(node), lan=True)

    def due(self, now: float) -> list[tuple[str, Heartbeat]]:
        """Return the heartbeats due now, each with the node it goes to; what is too much for a turn stays due."""
        sent, self._answers = self._answers, []
        if self._sent_new:
            self._sent_new, self._told_until = False, now + TOLD_SECONDS
        chunks_left = CHUNKS_A_TURN
        due, self._urgent = self._urgent, set()
        if now >= self.regular_at:
            due.update(self._regular_nodes(now))
        for node in sorted(due):
            peer = self._table.peers[node]
            chunks: list[Chunk] = []
            # Sent again an interval later, unless the peer says that it has it.
            lacks = peer.fresh and peer.acknowledged != self._sent.version
            if lacks and now - peer.sent_at >= self._interval / 2:
                if chunks_left > 0:
                    peer.sent_at = now
                    chunks = self._sent.since(peer.acknowledged)
                    chunks_left -= len(chunks)
                else:
                    self._urgent.add(node)
            elif not peer.fresh and peer.incarnation is not None and now < self._told_until:
                chunks = self._next_chunk(peer)
            parcels: list[tuple[Chunk, ...]] = [(chunk,) for chunk in chunks] or [()]
            sent += [(node, self._compose(peer, echo=peer.echo, chunks=parcel)) for parcel in parcels]
            peer.probe = False
        return sent

    @property
    def pending(self) -> bool:
        """Whether something is due now that was too much for the last turn, or that something has happened for."""
        return bool(self._urgent or self._answers)

    def _next_chunk(self, peer: Peer) -> list[Chunk]:
        """What to add for a peer that is not heard: of what it lacks a piece a time, so that no heartbeat is more."""
        chunks = self._sent.since(peer.acknowledged)
        peer.told += 1
        return [chunks[peer.told % len(chunks)]] if chunks else []

    def _regular_nodes(self, now: float) -> Collection[str]:
        self.regular_at = max(self.regular_at + self._interval, now)
        table = self._table
        if not table.crowded or self.phase is Phase.LEAVING:
            return table.peers.keys()
        due = {
            node
            for node, peer in table.peers.items()
            if node in table.neighbours
            or peer.wants_until > now
            or (peer.acknowledged != self._sent.version if peer.fresh else self.phase is Phase.STARTING)
        }
        self._background += BACKGROUND_PER_SECOND * self._interval
        while self._background >= 1.0:
            self._background -= 1.0
            due.add(next(self._rotation))
        return due

    def _compose(
        self, peer: Peer, *, echo: int, have: int | None = None, chunks: tuple[Chunk, ...] = ()
    ) -> Heartbeat:
        self._sequence += 1
        return Heartbeat(
            sender=self._table.node,
            phase=self.phase,
            incarnation=self._incarnation,
            challenge=peer.challenge,
            echo=echo,
            sequence=self._sequence,
            version=self._sent.version,
            have=peer.received.version if have is None else have,
            probe=peer.probe,
            hears=peer.fresh,
            linked=self._side[0],
            side=self._side[1],
            chunks=chunks,
            format=version_for(peer.reads, self._heard_read, newest=self._newest),
            reads=self._newest,
        )

    def _hurry_all(self) -> None:
        self._urgent.update(self._table.peers)
        for peer in self._table.peers.values():
            peer.sent_at = -1.0

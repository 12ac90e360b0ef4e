"""Which speakers are alive: a pure state machine over heartbeats and time."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass
from enum import StrEnum

from speaker.heartbeat import Heartbeat, Phase

DEFAULT_INTERVAL_SECONDS = 0.1
DEFAULT_DEAD_AFTER_SECONDS = 0.5


class Verdict(StrEnum):
    """What became of a heartbeat; all but ACCEPTED left the peer's state as it was."""

    ACCEPTED = "accepted"
    UNKNOWN_SENDER = "unknown-sender"
    UNPROVEN = "unproven"
    REPLAYED = "replayed"


@dataclass(frozen=True, slots=True)
class PeerChange:
    """A peer became alive (able to announce) or stopped being so, and why."""

    node: str
    alive: bool
    reason: str


@dataclass(slots=True)
class _Peer:
    challenge: int
    echo: int = 0
    incarnation: int | None = None
    sequence: int = -1
    phase: Phase = Phase.STARTING
    heard_at: float = 0.0
    fresh: bool = False

    @property
    def alive(self) -> bool:
        return self.fresh and self.phase is Phase.SERVING


class Membership:
    """Tells which speakers can announce, from this node's point of view. Every method takes the time it is.

    Invariants:
    - a peer is alive only after a heartbeat that echoes our present challenge to it and is later than any taken from
      the same process before. The challenge changes when the peer is given up and when a new process of it is taken
      in: nothing written before that counts again, neither a recording nor a straggler of the former process;
    - a peer that was alive is given up when nothing was heard from it for `dead_after_seconds` *of our listening*:
      if our own loop did not run, every peer gets that time anew, because the silence may have been ours;
    - a peer that says it leaves is given up at once.

    Not safe for several threads; its owner serialises.
    """

    def __init__(self, *, node: str, dead_after_seconds: float, now: float, new_number: Callable[[], int]) -> None:
        """`new_number` gives unpredictable numbers of 64 bits that are not 0."""
        self.node = node
        self._new_number = new_number
        self._incarnation = new_number()
        self.phase = Phase.STARTING
        self._dead_after = dead_after_seconds
        self._stall_after = dead_after_seconds / 2
        self._expecting_since: float | None = None
        self._ticked_at = now
        self._sequence = 0
        self._peers: dict[str, _Peer] = {}

    def set_peers(self, nodes: Collection[str], now: float) -> list[PeerChange]:
        """Expect heartbeats from these nodes; one no longer named is given up."""
        if self._expecting_since is None:
            self._expecting_since = self._ticked_at = now
        gone = [PeerChange(node, False, "node removed") for node, peer in self._peers.items() if peer.alive]
        self._peers = {
            node: self._peers.get(node) or _Peer(self._new_number()) for node in nodes if node != self.node
        }
        return [change for change in gone if change.node not in self._peers]

    def heard(self, heartbeat: Heartbeat, now: float) -> tuple[Verdict, list[PeerChange]]:
        """Take in an authentic heartbeat.

        UNPROVEN asks for `answer_to` it at once: the sender learns our challenge, and its next one proves.
        """
        peer = self._peers.get(heartbeat.sender)
        if peer is None:
            return Verdict.UNKNOWN_SENDER, []
        if heartbeat.echo != peer.challenge:
            return Verdict.UNPROVEN, []
        if heartbeat.incarnation != peer.incarnation:
            peer.incarnation = heartbeat.incarnation
            peer.challenge = self._new_number()
        elif heartbeat.sequence <= peer.sequence:
            return Verdict.REPLAYED, []
        was_alive = peer.alive
        peer.echo = heartbeat.challenge
        peer.sequence = heartbeat.sequence
        peer.phase = heartbeat.phase
        peer.heard_at = now
        peer.fresh = True
        if peer.alive == was_alive:
            return Verdict.ACCEPTED, []
        reason = "heard" if peer.alive else peer.phase.name.lower()
        return Verdict.ACCEPTED, [PeerChange(heartbeat.sender, peer.alive, reason)]

    def tick(self, now: float) -> tuple[float, list[PeerChange]]:
        """Give up silent peers; call it after everything received was taken in.

        Returns for how long this loop stood still (0 if it did not) and the changes.
        """
        since = now - self._ticked_at
        self._ticked_at = now
        if since > self._stall_after:
            for peer in self._peers.values():
                peer.heard_at = now
            return since, []
        changes = []
        for node, peer in self._peers.items():
            if peer.fresh and now - peer.heard_at >= self._dead_after:
                if peer.alive:
                    changes.append(PeerChange(node, False, f"silent for {now - peer.heard_at:.3f} s"))
                peer.fresh = False
                peer.challenge = self._new_number()
        return 0.0, changes

    def next_deadline(self) -> float | None:
        """When `tick` may next give up a peer if nothing is heard, None if there is none to give up."""
        return min((peer.heard_at + self._dead_after for peer in self._peers.values() if peer.fresh), default=None)

    def alive(self) -> frozenset[str]:
        """The nodes whose speakers can announce, this one included once it serves."""
        alive = {node for node, peer in self._peers.items() if peer.alive}
        return frozenset(alive | {self.node}) if self.phase is Phase.SERVING else frozenset(alive)

    def settled(self, now: float) -> bool:
        """Tell whether every peer was heard, or has had the time to be since the peers are known.

        A speaker that announced before would take every address from speakers it has merely not heard yet.
        """
        if self._expecting_since is None:
            return False
        everyone = all(peer.incarnation is not None for peer in self._peers.values())
        return everyone or now - self._expecting_since >= 2 * self._dead_after

    def heartbeat_to(self, node: str) -> Heartbeat:
        """Compose the next heartbeat to a peer. Raises KeyError for a node that is none."""
        peer = self._peers[node]
        return self._compose(peer, echo=peer.echo)

    def answer_to(self, heartbeat: Heartbeat) -> Heartbeat:
        """Compose the answer to an unproven heartbeat of a peer."""
        return self._compose(self._peers[heartbeat.sender], echo=heartbeat.challenge)

    def _compose(self, peer: _Peer, *, echo: int) -> Heartbeat:
        self._sequence += 1
        return Heartbeat(
            sender=self.node,
            phase=self.phase,
            incarnation=self._incarnation,
            challenge=peer.challenge,
            echo=echo,
            sequence=self._sequence,
        )

"""Who is heard: the peers, as their heartbeats arrive, prove themselves and fail to come."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass
from enum import StrEnum

from allocator.core.addresses import Address
from speaker.membership.heartbeat import Heartbeat, Phase
from speaker.membership.lans import Lans
from speaker.membership.lease_evidence import LIST_SECONDS
from speaker.membership.link import Link
from speaker.membership.peer import Peer
from speaker.membership.peer_table import PeerTable
from speaker.membership.send_schedule import BACKGROUND_PER_SECOND, SendSchedule
from speaker.membership.state_sync import AdvertisedState, MalformedState

FORGET_SECONDS = 2 * LIST_SECONDS
"""How long heartbeats go to a silent node whose Lease is gone: if it lives, it has written another by then, and that
has been read."""
_PATROL_SECONDS = 0.5
"""How often those are looked after that are no neighbours."""


class Verdict(StrEnum):
    """What became of a heartbeat; all but ACCEPTED are no sign of life."""

    ACCEPTED = "accepted"
    UNKNOWN_SENDER = "unknown-sender"
    UNPROVEN = "unproven"
    REPLAYED = "replayed"


@dataclass(slots=True)
class Stale:
    """What has to be found anew: this node's side, whom it shares LANs with, the sum of what is known."""

    side: bool = True
    links: bool = True
    summary: bool = True


class Hearing:
    """Takes in heartbeats and gives up who is silent. Owned by one thread; `stale` is for its owner to act upon."""

    def __init__(
        self,
        table: PeerTable,
        schedule: SendSchedule,
        lans: Lans,
        *,
        new_number: Callable[[], int],
        dead_after_seconds: float,
        now: float,
    ) -> None:
        self.stale = Stale()
        self.unproven: set[str] = set()
        """Who was heard before a standstill, and has not been heard to hear this node again with all it states."""
        self.let_go: set[Address] = set()
        """The addresses that others have ceased to claim, or may have, until their owner takes note of that."""
        self.returned = False
        """Whether there may be others: a peer claimed more than is known, or one can be reached on a LAN again, whose
        hosts may have heard nothing of what was announced meanwhile."""
        self._table = table
        self._schedule = schedule
        self._lans = lans
        self._new_number = new_number
        self._dead_after = dead_after_seconds
        self._patrol_at = now
        self._hosts: frozenset[str] = frozenset()
        self._reasons: dict[str, tuple[str, float | None]] = {}
        self._states: dict[str, AdvertisedState] | None = None

    def set_peers(self, nodes: Collection[str], hosts: Collection[str], now: float) -> None:
        """Exchange heartbeats with these nodes, and with those of the `hosts` that are heard or were not long ago."""
        self._hosts = frozenset(hosts)
        former = self._table.peers
        kept = [
            node
            for node, peer in former.items()
            if node in self._hosts and (peer.fresh or now - peer.silent_since < FORGET_SECONDS)
        ]
        self._table.peers = {
            node: former.get(node) or Peer(self._new_number(), silent_since=now)
            for node in (*nodes, *kept)
            if node != self._table.node
        }
        self._reasons = {node: reason for node, reason in self._reasons.items() if node in former}
        for node in former.keys() - self._table.peers.keys():
            self._reasons[node] = ("node removed", None)
        self.unproven &= self._table.peers.keys()
        self._schedule.readdress()
        self._states = None
        self.regroup(now)

    def heard(self, heartbeat: Heartbeat, now: float, source: str) -> Verdict:
        """Take in an authentic heartbeat from an IP address."""
        sender = heartbeat.sender
        peer = self._table.peers.get(sender)
        if peer is None:
            if sender == self._table.node or sender not in self._hosts:
                return Verdict.UNKNOWN_SENDER
            peer = self._table.peers[sender] = Peer(self._new_number(), silent_since=now)
            self._schedule.readdress()
        if peer.reads != heartbeat.reads:
            peer.reads = heartbeat.reads
            self._schedule.agree()
        if heartbeat.echo != peer.challenge:
            # The sender learns our challenge, and its next heartbeat proves.
            known = heartbeat.incarnation == peer.incarnation
            self._schedule.answer(sender, heartbeat.challenge, have=peer.received.version if known else 0)
            return Verdict.UNPROVEN
        if heartbeat.lan:
            if heartbeat.incarnation == peer.incarnation:
                self._lans.heard(sender, source, heartbeat.sequence)
            return Verdict.ACCEPTED
        was_fresh = peer.fresh
        if heartbeat.incarnation != peer.incarnation:
            # Nobody else says that it is not cut off any more.
            self.returned |= any(link.cut_off for link in peer.received.state.links)
            peer = self._take_in(sender, peer, heartbeat.incarnation)
        elif heartbeat.sequence <= peer.sequence:
            # No sign of life; but what it states may only have been overtaken, and versions do not go back.
            self._take_chunks(sender, peer, heartbeat)
            return Verdict.REPLAYED
        self._take(sender, peer, heartbeat, now)
        self._lans.heard(sender, source, heartbeat.sequence)
        if not was_fresh:
            # It is to know at once that it is heard.
            self._schedule.hurry(sender)
            self.stale.side = self.stale.summary = True
            if not self._table.crowded:
                self.regroup(now)
        return Verdict.ACCEPTED

    def judge(self, now: float) -> None:
        """Give up who has been silent for long enough."""
        everybody = now >= self._patrol_at
        if everybody:
            self._patrol_at = now + _PATROL_SECONDS
        for node in self._table.peers.keys() if everybody else self._table.neighbours:
            peer = self._table.peers[node]
            if peer.fresh and peer.silence(now) >= self._patience(peer):
                self._give_up(node, peer, now)

    def excuse(self, seconds: float, now: float) -> None:
        """This node did not listen for so long until now."""
        for peer in self._table.peers.values():
            peer.excuse(seconds, now)

    def doubt_all(self, now: float, *, prove: bool) -> None:
        """This node did not listen for so long that the others may have given it up: they are to `prove` anew."""
        for node, peer in self._table.peers.items():
            if peer.fresh:
                peer.excuse(math.inf, now)
                if prove:
                    self.unproven.add(node)
                    self._schedule.ask(node)

    def regroup(self, now: float) -> None:
        """Find the neighbours anew."""
        self.stale.side = self.stale.summary = True
        self._schedule.agree()
        for node in self._table.regroup(now):
            self._schedule.ask(node)

    def states(self) -> dict[str, AdvertisedState]:
        """What each peer was last heard to advertise, the dead ones included; not to be changed."""
        if self._states is None:
            self._states = {node: peer.received.state for node, peer in self._table.peers.items() if peer.stated}
        return self._states

    def why(self, node: str) -> tuple[str, float | None]:
        """Return why the node is not alive any more, and for how long it was silent, if that is why; said once."""
        return self._reasons.pop(node, ("nobody on this side hears it", None))

    def _take_in(self, node: str, former: Peer, incarnation: int) -> Peer:
        """Begin anew with another process of the node."""
        peer = self._table.peers[node] = Peer(
            self._new_number(),
            silent_since=former.silent_since,
            incarnation=incarnation,
            neighbour_since=former.neighbour_since,
            reads=former.reads,
            parted=former.heard_out or former.phase is Phase.LEAVING,
        )
        self._reasons[node] = ("restarted", None)
        self._lans.forget(node)
        self._schedule.hurry(node)
        self._states = None
        self.stale.side = self.stale.summary = True
        return peer

    def _take(self, node: str, peer: Peer, heartbeat: Heartbeat, now: float) -> None:
        if heartbeat.challenge != peer.echo:
            self._schedule.hurry(node)
        if heartbeat.probe:
            self._schedule.oblige(node, now)
        if heartbeat.phase is not peer.phase and heartbeat.phase is not Phase.SERVING:
            self._reasons[node] = (heartbeat.phase.name.lower(), None)
        if peer.hears_us and not heartbeat.hears:
            self._reasons[node] = ("does not hear this node", None)
        if (peer.linked_nodes, peer.side) != (heartbeat.linked, heartbeat.side):
            self.stale.summary = True
            # Whether this node is behind it depends on that.
            self.stale.side |= not heartbeat.hears
        before = _decisive(peer)
        peer.take(heartbeat, now)
        self._take_chunks(node, peer, heartbeat)
        if peer.known:
            if heartbeat.hears:
                self.unproven.discard(node)
            peer.known_since_fresh = True
            if not peer.stated:
                peer.stated = True
                self._states = None
                self.stale.summary = True
        peer.introduced = peer.parted if peer.phase is Phase.STARTING else peer.introduced and peer.hears_us
        if before != _decisive(peer):
            self.stale.side = self.stale.summary = True

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
                self._states = None
                self.stale.summary = True
                self.let_go |= peer.received.let_go
                self.returned |= peer.received.missed or _is_back(before.links, peer.received.state.links)
                after = peer.received.state
                self.stale.side |= before.hears != after.hears or before.booting != after.booting
                self.stale.side |= before.behind != after.behind
                self.stale.links |= before.links != after.links
                if before.lans != after.lans:
                    self._lans.doubt()

    def _give_up(self, node: str, peer: Peer, now: float) -> None:
        silence = peer.silence(now)
        self._reasons[node] = (f"silent for {silence:.3f} s", silence)
        peer.fresh = peer.known_since_fresh = peer.hears_us = peer.introduced = False
        peer.challenge = self._new_number()
        # Should it live after all, its answer brings it back at once.
        self._schedule.hurry(node)
        self.unproven.discard(node)
        self.stale.side = self.stale.summary = True

    def _patience(self, peer: Peer) -> float:
        if peer.neighbour_since is not None:
            return self._dead_after
        return self._dead_after + 3 * len(self._table.peers) / BACKGROUND_PER_SECOND


def _is_back(before: Iterable[Link], after: Iterable[Link]) -> bool:
    """Whether an interface that was cut off on its LAN is not any more."""
    cut_off = {link.name for link in before if link.cut_off}
    return any(link.name in cut_off and not link.cut_off for link in after)


def _decisive(peer: Peer) -> tuple[object, ...]:
    """What of a peer decides who is on this node's side, and can announce."""
    return peer.linked, peer.fresh, peer.hears_us, peer.phase, peer.known_since_fresh

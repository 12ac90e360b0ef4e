"""Which speakers are on this node's side: a pure state machine over heartbeats, Leases and time."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass, replace

from allocator.core.addresses import Address
from speaker.membership.boot import Boot
from speaker.membership.durations import (
    DEFAULT_DEAD_AFTER_SECONDS,
    DEFAULT_INTERVAL_SECONDS,
    TURN_INTERVALS,
    fence_seconds,
)
from speaker.membership.hearing import Hearing, Verdict
from speaker.membership.heartbeat import VERSION, Heartbeat, Phase
from speaker.membership.lans import Lans
from speaker.membership.lease_evidence import LeaseEvidence
from speaker.membership.liveness import Liveness
from speaker.membership.one_way import Ways, ahead_of, pass_on
from speaker.membership.peer_table import PeerTable
from speaker.membership.send_schedule import SendSchedule
from speaker.membership.side import SETTLE_SECONDS, Side
from speaker.membership.state_sync import NOTHING, AdvertisedState
from speaker.membership.unheard import Doubt, Unheard

STEADY_SECONDS = 2 * SETTLE_SECONDS
"""How long a node is heard before it gets back what it is preferred for."""


@dataclass(frozen=True, slots=True)
class PeerChange:
    """A peer became alive (able to announce) or stopped being so, and why; `silence` where that was the reason."""

    node: str
    alive: bool
    reason: str
    silence: float | None = None


class Membership:
    """Knows which speakers can announce, from this node's point of view. Every method takes the time it is.

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
      heard hears this node again and has sent its present state, for as long as silence is death at most: until then
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
        newest: int = VERSION,
    ) -> None:
        """`new_number` gives unpredictable numbers of 64 bits that are not 0; `newest` is the version of the
        heartbeats' format that this release brings."""
        self.node = node
        self.fenced = False
        self.fence_after_seconds = fence_seconds(interval_seconds, dead_after_seconds)
        self._dead_after = dead_after_seconds
        self._turn_seconds = TURN_INTERVALS * interval_seconds
        self._expecting_since: float | None = None
        self._ticked_at = now
        self._table = PeerTable(node)
        self._schedule = SendSchedule(
            self._table, incarnation=new_number(), interval_seconds=interval_seconds, now=now, newest=newest
        )
        self._side = Side()
        self._lans = Lans(
            node,
            interval_seconds=interval_seconds,
            dead_after_seconds=dead_after_seconds,
            turn_seconds=self._turn_seconds,
            now=now,
        )
        self._hearing = Hearing(
            self._table,
            self._schedule,
            self._lans,
            new_number=new_number,
            dead_after_seconds=dead_after_seconds,
            now=now,
        )
        self._leases = LeaseEvidence(now)
        self._unheard = Unheard()
        self._boot = Boot()
        self._fenced_until = 0.0
        self._reached: frozenset[str] = frozenset()
        self._behind: Ways = {}
        self._in_cycle_at: dict[str, float] = {}
        self._alive: frozenset[str] = frozenset()
        self._returning: frozenset[str] = frozenset()
        self._linked: frozenset[str] = frozenset()
        self._returned = False
        self._own = NOTHING
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
            self._boot.serve(now)
        self._schedule.enter(phase)
        self._hearing.stale.side = self._hearing.stale.summary = True

    def advertise(self, state: AdvertisedState, now: float) -> None:
        """Advertise these claims and links to everybody from now on; whom this node hears is added here."""
        self._own = state
        self._lans.use(state.links)
        self._advertise(now)

    def set_peers(
        self, nodes: Collection[str], now: float, *, hosts: Collection[str] | None = None
    ) -> list[PeerChange]:
        """Exchange heartbeats with these nodes, and with those of the `hosts`, the nodes there are, that are heard or
        were not long ago: an authentic heartbeat that names one of those makes a peer at once."""
        if self._expecting_since is None:
            self._expecting_since = self._ticked_at = now
            self._schedule.begin(now)
        self._hearing.set_peers(nodes, nodes if hosts is None else hosts, now)
        return self._refresh(now)

    def renewed(
        self, node: str, hears: int | None, now: float, *, serving: bool = True, since: float | None = None
    ) -> None:
        """The node's Lease was seen to be renewed, after a look at it `since` which it was not.

        It says how many others the node has heard for long (None: none yet), and whether it serves. This node's own
        says only that Leases can be renewed.
        """
        if node == self.node:
            self._leases.own_renewed(now)
            self._hearing.stale.summary = True
            return
        self._leases.renewed(node, hears, now, serving=serving)
        self._hearing.stale.summary = True
        peer = self._table.peers.get(node)
        if peer is not None and (serving or (since is not None and since >= peer.silent_since)):
            self._unheard.renewed(node, peer, now)

    def unheard(self, now: float) -> frozenset[str]:
        """Return the peers of whose life nothing is known but that their Leases are renewed."""
        return self._unheard.nodes(self._table.peers, self._reached, now)

    def doubt(self, now: float) -> Doubt:
        """Return what the Leases are to be asked about."""
        return self._unheard.doubt(self._table.peers, self._reached, now)

    def announces(self, node: str, now: float) -> None:
        """The node was seen to announce an address of this node's."""
        self._leases.seen(node, now)
        self._hearing.stale.summary = True

    def heard(self, heartbeat: Heartbeat, now: float, source: str = "") -> tuple[Verdict, list[PeerChange]]:
        """Take in an authentic heartbeat from an IP address; what it asks for is in the next `outgoing`."""
        if now - self._ticked_at >= self.fence_after_seconds and self._side.size(now):
            # What waited during a standstill is read before `tick` can notice it, and may be answered at once.
            self._side.forget(now)
            self._advertise(now)
        verdict = self._hearing.heard(heartbeat, now, source)
        # Where there are many, `tick` does it once for all that came: a thousand that boot would cost a million.
        return verdict, [] if self.crowded else self._refresh(now)

    def tick(self, now: float) -> tuple[float, list[PeerChange]]:
        """Give up silent peers; call it after everything received was taken in.

        Returns for how long this loop paused, if others may have given this node up meanwhile (else 0), and the
        changes.
        """
        since = now - self._ticked_at
        self._ticked_at = now
        if since >= self.fence_after_seconds:
            self._stood_still(now)
            return since, []
        if since > self._turn_seconds:
            self._hearing.excuse(since - self._turn_seconds, now)
        self._hearing.judge(now)
        if self._hearing.stale.side:
            self._hearing.regroup(now)
        changes = self._refresh(now)
        self._look_at_lans(now)
        if self._dated_until is not None and now >= self._dated_until:
            self._advertise(now)
        if self.fenced and (not self._hearing.unproven or now >= self._fenced_until):
            self.fenced = False
            self._hearing.unproven.clear()
        return 0.0, changes

    def take_returned(self) -> bool:
        """Return whether hosts may have learned, since the last call, another holder of what this node announces.

        A peer has come to this side, or back to it, that may have announced something unheard; or one has claimed so
        much that not all of it is known; or a LAN is whole again of which a part may have heard no announcement.
        A process that was heard before it served, of a node whose former one was heard to its end, has announced
        nothing unheard: a speaker that is restarted makes nobody announce anything.
        """
        returned = self._returned or self._hearing.returned
        self._returned = self._hearing.returned = False
        return returned

    def take_let_go(self) -> frozenset[Address]:
        """Return the addresses that others have ceased to claim since the last call, whether or not their claims were
        ever known here: hosts may have learned them, and this node announces what it holds of those again."""
        let_go, self._hearing.let_go = self._hearing.let_go, set()
        return frozenset(let_go)

    def next_deadline(self) -> float:
        """When `tick` and `outgoing` may next have something to do, if nothing is heard or advertised."""
        if self._schedule.pending:
            return -math.inf
        deadline = self._schedule.regular_at
        for node in self._table.neighbours:
            peer = self._table.peers[node]
            if peer.fresh:
                deadline = min(deadline, peer.owes_since + self._dead_after)
        return deadline

    def liveness(self, now: float) -> Liveness:
        """Sum up what is known now; the same object as long as nothing of it changes."""
        stale = self._liveness is None or self._hearing.stale.summary or now >= self._liveness_until
        if self._liveness is None or stale or self._liveness.fenced != self.fenced:
            self._hearing.stale.summary = False
            self._leases.alone(bool(self._table.peers) and not self._reached, now)
            self._liveness = self._sum_up(now)
            ends = (
                self._side.next_change(now, STEADY_SECONDS, self._dead_after),
                self._leases.next_change(now),
                self._next_judged(now),
            )
            self._liveness_until = min((end for end in ends if end is not None), default=math.inf)
        return self._liveness

    def _sum_up(self, now: float) -> Liveness:
        peers = self._table.peers
        alone = bool(peers) and not self._reached
        own = {self.node} if self.phase is Phase.SERVING else frozenset()
        one_way = dict(self._table.one_way(self._reached))
        deaf = frozenset(node for node, since in one_way.items() if now - since >= self._dead_after)
        ahead, in_cycle = self._look_ahead(deaf, now)
        together = self._leases.together(now) if alone else frozenset()
        return Liveness(
            alive=self._alive | own,
            heard=frozenset(node for node in self._alive if peers[node].current),
            mutual=frozenset(node for node in self._alive if peers[node].heard_out),
            steady=self._side.steady(STEADY_SECONDS, now),
            arriving=frozenset(
                node for node in self._side.arriving(self._dead_after, now) if not peers[node].current
            ).union(node for node, since in self._just_heard() if now - since < self._dead_after),
            overheard=frozenset(one_way),
            leaving=frozenset(node for node, peer in peers.items() if peer.stated and peer.phase is Phase.LEAVING),
            states=self.states(),
            sides={self.node: self._side.size(now), **{node: peer.side for node, peer in peers.items()}},
            cut_off_from=ahead | together,
            in_cycle=in_cycle,
            silent=self._leases.silent(now) if alone else frozenset(),
            cut_off_links=self._lans.cut_off,
            alone=alone,
            leased=bool(together) or not ahead,
            informed=all(peer.stated for peer in peers.values()),
            booting=self._boot.under_way,
            fenced=self.fenced,
        )

    def _look_ahead(self, deaf: frozenset[str], now: float) -> tuple[frozenset[str], frozenset[str]]:
        """Return who is ahead of this node, which is behind the `deaf`, and who is in a cycle with it.

        Where a ring of ways heals, those that it led to are not ahead at once: they may hear this node next.
        """
        found = ahead_of(self.node, deaf, self._behind)
        self._in_cycle_at = {
            node: now if node in found.in_cycle else at
            for node, at in {**self._in_cycle_at, **dict.fromkeys(found.in_cycle, now)}.items()
            if node in found.in_cycle or now - at < self._dead_after
        }
        lately = found.ahead & self._in_cycle_at.keys()
        return found.ahead - lately - self._reached, (found.in_cycle | lately) - self._reached

    def _just_heard(self) -> Iterator[tuple[str, float]]:
        """Yield those of this side, of it by others' word maybe for long, that are heard and have not sent their
        state since, each with since when it is heard."""
        for node in self._reached:
            peer = self._table.peers[node]
            if peer.fresh and not peer.current:
                yield node, peer.fresh_since

    def states(self) -> dict[str, AdvertisedState]:
        """What each peer was last heard to advertise, the dead ones included; not to be changed."""
        return self._hearing.states()

    @property
    def hears(self) -> int:
        """How many other speakers are on this node's side."""
        return len(self._reached)

    def lasting(self, now: float) -> int | None:
        """Return how many others on this node's side count; None while there are some of which none does yet."""
        count = max(self._side.size(now) - 1, 0)
        return count if count or not self._reached else None

    def in_trouble(self, node: str) -> bool:
        """Return whether the peer has lost one of its interfaces, by its own report."""
        return any(link.lost for link in self._table.peers[node].received.state.links)

    def stated_addresses(self, node: str) -> tuple[Address, ...]:
        """Return the IP addresses of the peer's interfaces, by its own report."""
        return tuple(address for link in self._table.peers[node].received.state.links for address in link.addresses)

    def met(self, node: str) -> bool:
        """Return whether the peer was ever heard."""
        return self._table.peers[node].incarnation is not None

    @property
    def crowded(self) -> bool:
        """Whether there are too many peers for all to be neighbours."""
        return self._table.crowded

    def settled(self, now: float) -> bool:
        """Return whether every peer was heard out, or has had the time to be since the peers are known.

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

        `usual` says at which address a node gets its regular heartbeats: those count for that LAN as well.
        """
        for node, address in self._lans.due(now):
            to, peer = str(address), self._table.peers.get(node)
            if peer is not None and peer.fresh and not (node in self._table.neighbours and usual(node) == to):
                yield node, to, self._schedule.heartbeat_on_lan(node)

    def _refresh(self, now: float) -> list[PeerChange]:
        """Find this node's side anew where something has changed that decides about it."""
        stale = self._hearing.stale
        if not stale.side:
            return []
        stale.side, stale.summary, stale.links = False, True, True
        beside, self._reached = self._reached, self._table.reached()
        for node in (beside - self._reached) & self._table.peers.keys():
            self._table.peers[node].beside_us_until = now
        self._side.become(self._reached, now)
        behind = {node: self._table.peers[node] for node, _ in self._table.one_way(self._reached)}
        said = {node: peer.received.state.behind for node, peer in behind.items()}
        self._behind = pass_on(self.node, behind, said)
        before, self._alive = (
            self._alive,
            frozenset(node for node in self._reached if self._table.peers[node].can_announce),
        )
        # What others say of it does not show what it announced: that is known once it is heard itself. And while it
        # is not, the hosts beside it may hear as little of what is announced here.
        linked = self._table.hears()
        lapsed = {node for node in (self._linked - linked) & self._alive if not self._table.peers[node].heard_out}
        self._linked = linked
        came = (self._returning | lapsed | (self._alive - before)) & self._alive
        heard = frozenset(node for node in came if self._table.peers[node].heard_out)
        self._returning = came - heard
        self._returned |= any(not self._table.peers[node].introduced for node in heard)
        self._advertise(now)
        return [
            *(PeerChange(node, False, *self._hearing.why(node)) for node in sorted(before - self._alive)),
            *(PeerChange(node, True, "heard") for node in sorted(self._alive - before)),
        ]

    def _look_at_lans(self, now: float) -> None:
        if self._hearing.stale.links:
            self._hearing.stale.links = False
            peers = self._table.peers
            self._lans.know({node: peers[node].received.state.links for node in self._reached if peers[node].fresh})
            self._lans.doubt()
        before = self._lans.hears
        if not self._lans.tick(now):
            return
        states = self.states()
        cut_off = self._lans.cut_off
        if self._lans.judge({node: states[node] for node in self._reached if node in states}):
            self._hearing.stale.summary = True
            self._returned |= not cut_off <= self._lans.cut_off
        if before != self._lans.hears:
            self._advertise(now)

    def _next_judged(self, now: float) -> float | None:
        """Return when a peer that does not hear this node, or sends no state, is next judged by that."""
        since = (since for peers in (self._table.one_way(self._reached), self._just_heard()) for _, since in peers)
        ends = (at + self._dead_after for at in (*since, *self._in_cycle_at.values()))
        return min((end for end in ends if end > now), default=None)

    def _advertise(self, now: float) -> None:
        states = self._hearing.states()
        if self._boot.look((states[node] for node in self._alive if node in states), now):
            self._hearing.stale.summary = True
        ends = (self._side.next_change(now, STEADY_SECONDS), self._boot.ends_at)
        self._dated_until = min((end for end in ends if end is not None), default=None)
        self._schedule.count(linked=1 + len(self._reached), side=self._side.size(now))
        own = replace(
            self._own,
            hears=self._table.hears(),
            lans=self._lans.hears,
            booting=self._boot.under_way,
            behind=self._behind,
        )
        self._schedule.advertise(own)

    def _stood_still(self, now: float) -> None:
        self._side.forget(now)
        self._hearing.stale.side = self._hearing.stale.summary = True
        self._hearing.doubt_all(now, prove=self.phase is not Phase.STARTING)
        if self._hearing.unproven:
            self.fenced = True
            self._fenced_until = now + self._dead_after

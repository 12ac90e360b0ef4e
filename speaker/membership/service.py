"""Exchanges heartbeats with the other speakers over UDP and reports who is alive and what they announce."""

from __future__ import annotations

import math
import os
import secrets
import select
import threading
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

from allocator.process.logs import EventLog
from speaker.membership.durations import DEFAULT_DEAD_AFTER_SECONDS, DEFAULT_INTERVAL_SECONDS
from speaker.membership.fence import Fence, clock
from speaker.membership.hearing import Verdict
from speaker.membership.heartbeat import ForgedHeartbeat, Heartbeat, MalformedHeartbeat, Phase
from speaker.membership.liveness import Liveness
from speaker.membership.membership import Membership, PeerChange
from speaker.membership.state_sync import AdvertisedState
from speaker.membership.transport import HeartbeatSocket, Restrict, accept_all
from speaker.membership.unheard import Doubt
from speaker.metrics import SpeakerMetrics

log = EventLog("membership")

SWITCH_SECONDS = 0.001
"""For how long a thread that computes may keep the interpreter when this one wakes up (`sys.setswitchinterval`)."""
PORT_RETRY_SECONDS = 2.0
"""Between two tries to have the port, while another program has it."""
_DATAGRAMS_A_TURN = 1024
"""More than the socket holds: all that waited when a turn began is read before anybody is judged. Yet so few that a
flood of them does not keep this node's own from being sent."""
_DOUBT_SECONDS = 1.0
BATCH_SECONDS = 0.05
"""Where many nodes send, waking up for each datagram would cost more than reading it."""


class Heartbeats:
    """Sends the heartbeats that are due, listens for others', and notifies its listener of who is alive.

    One thread runs it all and alone owns `_membership` and `_socket`. Other threads only put what they ask for into
    `_requests` and wake it: however busy they are, they never keep it from hearing or being heard. It publishes
    `serving`, `hears` and `doubt`, each whole. The listener is called from the thread and must be quick.
    """

    def __init__(
        self,
        *,
        node: str,
        key: bytes,
        port: int,
        metrics: SpeakerMetrics,
        interval_seconds: float = DEFAULT_INTERVAL_SECONDS,
        dead_after_seconds: float = DEFAULT_DEAD_AFTER_SECONDS,
        address: str | None = None,
        restrict: Restrict = accept_all,
    ) -> None:
        """Use the port on every address, or on one; while another program has it, this node lives by its Lease."""
        self._key = key
        self._port = port
        self._metrics = metrics
        self._on_change: Callable[[Liveness], None] = lambda _: None
        self._on_forged: Callable[[], None] = lambda: None
        self._on_port_held: Callable[[int, OSError], None] = lambda *_: None
        self._bind_at = 0.0
        self._requests: deque[Callable[[float], object]] = deque()
        self._membership = Membership(
            node=node,
            interval_seconds=interval_seconds,
            dead_after_seconds=dead_after_seconds,
            now=clock(),
            new_number=lambda: secrets.randbits(63) + 1,
        )
        self.fence = Fence(self._membership.fence_after_seconds)
        self.serving = False
        """Whether this node counts as able to announce."""
        self.hears: int | None = 0
        """How many other speakers are on this node's side."""
        self.doubt = Doubt()
        """What the Leases are to be asked about."""
        self._doubt_at = 0.0
        self._ready = False
        self._changes: list[PeerChange] = []
        self._reported = Liveness()
        self._unheard: frozenset[str] = frozenset()
        self._socket = HeartbeatSocket(port, address, restrict)
        self._wake = os.eventfd(0, os.EFD_NONBLOCK)
        self._poll = select.poll()
        self._poll.register(self._socket, select.POLLIN)
        self._woken = select.poll()
        for poll in (self._poll, self._woken):
            poll.register(self._wake, select.POLLIN)
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="heartbeats", daemon=True)

    def report_to(
        self,
        on_change: Callable[[Liveness], None],
        *,
        on_forged: Callable[[], None] = lambda: None,
        on_port_held: Callable[[int, OSError], None] = lambda *_: None,
    ) -> None:
        """Name the listener, who gets every heartbeat of another key, and who is called where the port is not free;
        before `start`."""
        self._on_change = on_change
        self._on_forged = on_forged
        self._on_port_held = on_port_held

    def use_key(self, key: bytes) -> None:
        """Write and accept only heartbeats of this key from now on."""
        self._key = key

    def start(self) -> None:
        """Begin to send and to listen."""
        self._thread.start()

    def stop(self) -> None:
        """Fall silent and free the port."""
        self._stopping.set()
        os.eventfd_write(self._wake, 1)
        if self._thread.is_alive():
            self._thread.join(timeout=5)
        self._socket.close()
        os.close(self._wake)

    @property
    def alive(self) -> bool:
        """Whether the thread still runs."""
        return self._thread.is_alive()

    def set_peers(
        self, addresses: Mapping[str, Sequence[str]], *, hosts: Mapping[str, Sequence[str]] | None = None
    ) -> None:
        """Exchange heartbeats with these nodes, by name and IP addresses (this node's own entry is ignored).

        One of the `hosts`, the nodes there are, is a peer as soon as it is heard, and as long as it is.
        """
        hosts = addresses if hosts is None else hosts

        def set_peers(now: float) -> None:
            self._socket.set_addresses({**hosts, **addresses})
            self._changes += self._membership.set_peers(addresses, now, hosts=hosts)

        self._ask(set_peers)

    def renewed(self, node: str, *, hears: int | None, serving: bool, since: float) -> None:
        """The node's Lease was seen to be renewed since a look at that time.

        It says how many others the node hears, and whether it serves.
        """
        self._ask(lambda now: self._membership.renewed(node, hears, now, serving=serving, since=since))

    def announces(self, node: str) -> None:
        """The node was seen to announce an address of this node's."""
        self._ask(lambda now: self._membership.announces(node, now))

    def serve(self) -> None:
        """Count this node as able to announce, once settled, and advertise that."""

        def serve(_: float) -> None:
            self._ready = True

        self._ask(serve)

    def advertise(self, state: AdvertisedState) -> None:
        """Advertise at once what this node claims and where it can announce, and go on doing so."""

        def advertise(now: float) -> None:
            self._membership.advertise(state, now)
            self._socket.set_links(state.links)

        self._ask(advertise)

    def unfence(self) -> None:
        """What was reported last has been acted upon: answering is allowed again, unless it was not even then."""
        if not self.fence.closed:
            # As after nearly every report: a turn of the thread would find nothing to do.
            return

        def unfence(_: float) -> None:
            if not self._membership.fenced:
                self.fence.reopen()

        self._ask(unfence)

    def leave(self) -> None:
        """Have the others take over at once: advertise it until `stop`."""
        self._ask(lambda now: self._membership.enter(Phase.LEAVING, now))

    def _ask(self, request: Callable[[float], object]) -> None:
        self._requests.append(request)
        os.eventfd_write(self._wake, 1)

    def _run(self) -> None:
        while not self._stopping.is_set():
            self._bind(clock())
            self._receive()
            now = clock()
            self._take_requests(now)
            # Last: what had waited in the socket is no proof of what happened during a standstill.
            stalled, gone = self._membership.tick(now)
            self.fence.keep_up(closed=self._membership.fenced)
            if self._ready and self._membership.phase is Phase.STARTING and self._membership.settled(now):
                self._membership.enter(Phase.SERVING, now)
                log.info("speaker.serving")
            self._send_due(now)
            self.serving, self.hears = self._membership.phase is Phase.SERVING, self._membership.lasting(now)
            if now >= self._doubt_at:
                self.doubt, self._doubt_at = self._membership.doubt(now), now + _DOUBT_SECONDS
            changes, self._changes = self._changes, []
            self._report(self._membership.liveness(now), changes + gone, stalled)
            self._report_unheard(self._membership.unheard(now))
            self._wait(now, min(self._membership.next_deadline(), self._bind_at))
        now = clock()
        self._take_requests(now)
        self._send_due(now)

    def _bind(self, now: float) -> None:
        """Take the port, if another program had it until now."""
        if now < self._bind_at:
            return
        first = self._bind_at == 0.0
        try:
            self._socket.bind()
        except OSError as error:
            self._bind_at = now + PORT_RETRY_SECONDS
            if first:
                self._on_port_held(self._port, error)
            return
        self._bind_at = math.inf
        if not first:
            log.info("port.free", port=f"UDP {self._port}", option="--heartbeat-port")

    def _take_requests(self, now: float) -> None:
        while self._requests:
            self._requests.popleft()(now)

    def _wait(self, begun: float, deadline: float) -> None:
        """Wait until something arrives or is due; in a crowd, take what arrives in batches."""
        if self._membership.crowded:
            rest_until = min(begun + BATCH_SECONDS, deadline)
            if self._poll_until(self._woken, rest_until):
                return
        self._poll_until(self._poll, deadline)

    def _poll_until(self, poll: select.poll, deadline: float) -> bool:
        """Return whether this process itself asked for a turn."""
        # Rounded up to poll's milliseconds: a wait that ends too early would spin until the deadline.
        remaining = max(0.0, deadline - clock())
        woken = any(descriptor == self._wake for descriptor, _ in poll.poll(int(remaining * 1000) + 1))
        if woken:
            os.eventfd_read(self._wake)
        return woken

    def _report(self, liveness: Liveness, changes: list[PeerChange], stalled: float) -> None:
        _log_changes(changes)
        for change in changes:
            if change.silence is not None:
                self._metrics.detection_seconds.observe(change.silence)
        if liveness.cut_off_from and not self._reported.cut_off_from:
            reason = f"others serve, and nobody hears this node: is UDP {self._port} blocked here?"
            log.warning("speaker.cut-off", others=",".join(sorted(liveness.cut_off_from)), reason=reason)
        for name in sorted(liveness.cut_off_links - self._reported.cut_off_links):
            reason = f"on its LAN others hear each other and not this node: is UDP {self._port} blocked there?"
            log.warning("interface.cut-off", interface=name, reason=reason)
        # A peer that comes back may have had us for dead (a partition that healed), and after a stall of our own all
        # of them may have: either way the LAN may have learned another holder of what we announce.
        served, returned = self._membership.node in self._reported.alive, self._membership.take_returned()
        shaken = served and (stalled > 0 or returned)
        if stalled:
            log.warning("membership.stalled", seconds=f"{stalled:.3f}", answering=not liveness.fenced)
        let_go = self._membership.take_let_go()
        if liveness == self._reported and not shaken and not let_go:
            return
        self._reported = liveness
        self._metrics.peers_alive.set(len(liveness.alive))
        self._on_change(replace(liveness, shaken=shaken, let_go=let_go))

    def _report_unheard(self, unheard: frozenset[str]) -> None:
        if unheard == self._unheard:
            return
        for node in sorted(unheard - self._unheard):
            reason = f"its Lease is renewed but none of its heartbeats arrives: is UDP {self._port} blocked?"
            log.warning("peer.unheard", node=node, reason=reason)
        self._unheard = unheard
        self._metrics.peers_by_lease.set(len(unheard))

    def _receive(self) -> None:
        try:
            datagrams = self._socket.receive(_DATAGRAMS_A_TURN)
        except OSError as error:
            log.debug("heartbeat.failed", operation="receive", error=error)
            return
        for datagram, source in datagrams:
            if not self._socket.expects(source):
                self._metrics.heartbeats_dropped.labels("stranger").inc()
                continue
            try:
                heartbeat = Heartbeat.decode(datagram, self._key)
            except MalformedHeartbeat:
                self._metrics.heartbeats_dropped.labels("malformed").inc()
                continue
            except ForgedHeartbeat:
                self._metrics.heartbeats_dropped.labels("forged").inc()
                self._on_forged()
                continue
            verdict, changed = self._membership.heard(heartbeat, clock(), source)
            self._changes += changed
            if heartbeat.chunks and verdict in (Verdict.ACCEPTED, Verdict.REPLAYED):
                self._socket.set_stated(heartbeat.sender, self._membership.stated_addresses(heartbeat.sender))
            if verdict is Verdict.ACCEPTED and not heartbeat.lan:
                self._socket.heard(heartbeat.sender, source)
            elif verdict is not Verdict.ACCEPTED:
                self._metrics.heartbeats_dropped.labels(verdict).inc()

    def _send_due(self, now: float) -> None:
        for node, heartbeat in self._membership.outgoing(now):
            self._socket.put(
                node,
                heartbeat.encode(self._key),
                in_trouble=self._membership.in_trouble(node),
                met=self._membership.met(node),
            )
        for _, to, heartbeat in self._membership.outgoing_on_lans(now, self._socket.usual):
            self._socket.put_on_lan(to, heartbeat.encode(self._key))
        for address, error in self._socket.flush():
            log.debug("heartbeat.failed", operation="send", address=address, error=error)


def _log_changes(changes: list[PeerChange]) -> None:
    for change in changes:
        log.info("peer.alive" if change.alive else "peer.dead", node=change.node, reason=change.reason)

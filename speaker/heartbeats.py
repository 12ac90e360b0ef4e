"""Exchanges heartbeats with the other speakers over UDP and reports who is alive."""

from __future__ import annotations

import ipaddress
import os
import secrets
import select
import socket
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from allocator.logs import EventLog
from speaker.heartbeat import MAXIMUM_BYTES, ForgedHeartbeat, Heartbeat, MalformedHeartbeat, Phase
from speaker.membership import DEFAULT_DEAD_AFTER_SECONDS, DEFAULT_INTERVAL_SECONDS, Membership, PeerChange, Verdict
from speaker.metrics import SpeakerMetrics

log = EventLog("membership")

_DATAGRAMS_A_TURN = 4096


@dataclass(frozen=True, slots=True)
class Liveness:
    """Who can announce now; `shaken` says that others may have announced in our place meanwhile."""

    alive: frozenset[str]
    shaken: bool = False


class Heartbeats:
    """Sends a heartbeat to every peer each interval, listens for theirs, and tells its listener who is alive.

    One thread runs it all. `_membership`, `_targets`, `_key` and `_ready` are guarded by `_lock`; the listener
    is called from the thread, outside the lock, and must be quick: while it runs nothing is heard.
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
    ) -> None:
        """Bind the port. Raises OSError when it is taken."""
        self._key = key
        self._port = port
        self._metrics = metrics
        self._on_change: Callable[[Liveness], None] = lambda _: None
        self._on_forged: Callable[[], None] = lambda: None
        self._interval = interval_seconds
        self._lock = threading.Lock()
        self._membership = Membership(
            node=node,
            dead_after_seconds=dead_after_seconds,
            now=time.monotonic(),
            new_number=lambda: secrets.randbits(63) + 1,
        )
        self._targets: dict[str, str] = {}
        self._ready = False
        self._reported: frozenset[str] = frozenset()
        self._socket, self._mapped = _listen(port)
        self._wake = os.eventfd(0, os.EFD_NONBLOCK)
        self._poll = select.poll()
        self._poll.register(self._socket, select.POLLIN)
        self._poll.register(self._wake, select.POLLIN)
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="heartbeats", daemon=True)

    def report_to(
        self, on_change: Callable[[Liveness], None], *, on_forged: Callable[[], None] = lambda: None
    ) -> None:
        """Name the listener, and who is told of every heartbeat of another key; before `start`."""
        self._on_change = on_change
        self._on_forged = on_forged

    def use_key(self, key: bytes) -> None:
        """Write and accept only heartbeats of this key from now on."""
        with self._lock:
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

    def set_peers(self, addresses: Mapping[str, str]) -> None:
        """Exchange heartbeats with these nodes, by name and IP address (this node's own entry is ignored)."""
        with self._lock:
            changes = self._membership.set_peers(addresses, time.monotonic())
            own = self._membership.node
            self._targets = {node: self._wire_address(address) for node, address in addresses.items() if node != own}
        _log_changes(changes)
        os.eventfd_write(self._wake, 1)

    @property
    def serving(self) -> bool:
        """Whether this node counts as able to announce."""
        with self._lock:
            return self._membership.phase is Phase.SERVING

    def serve(self) -> None:
        """Count this node as able to announce, once settled, and tell the others so."""
        with self._lock:
            self._ready = True
        os.eventfd_write(self._wake, 1)

    def leave(self) -> None:
        """Tell the others at once to take over, and keep telling them until `stop`."""
        with self._lock:
            self._membership.phase = Phase.LEAVING
            self._send_to_all()

    def _run(self) -> None:
        send_at = time.monotonic()
        while not self._stopping.is_set():
            with self._lock:
                changes = self._receive()
                now = time.monotonic()
                stalled, gone = self._membership.tick(now)
                if self._ready and self._membership.phase is Phase.STARTING and self._membership.settled(now):
                    # The others learn it with the next regular heartbeat, when this node has begun to answer:
                    # whoever answered until now stops only then.
                    self._membership.phase = Phase.SERVING
                    send_at = now + self._interval / 2
                alive = self._membership.alive()
                if now >= send_at:
                    self._send_to_all()
                    send_at = max(send_at + self._interval, now)
                deadline = min(send_at, self._membership.next_deadline() or send_at)
            self._report(alive, changes + gone, stalled)
            self._wait(deadline)

    def _wait(self, deadline: float) -> None:
        # Rounded up to poll's milliseconds: a wait that ends too early would spin until the deadline.
        remaining = max(0.0, deadline - time.monotonic())
        for descriptor, _ in self._poll.poll(int(remaining * 1000) + 1):
            if descriptor == self._wake:
                os.eventfd_read(self._wake)

    def _report(self, alive: frozenset[str], changes: list[PeerChange], stalled: float) -> None:
        _log_changes(changes)
        # A peer that comes back may have had us for dead (a partition that healed), and after a stall of our own all
        # of them may have: either way the LAN may have learned another holder of what we announce.
        served = self._membership.node in self._reported
        shaken = served and (stalled > 0 or any(change.alive for change in changes))
        if stalled:
            log.warning("membership.stalled", seconds=f"{stalled:.3f}")
        if alive == self._reported and not shaken:
            return
        self._reported = alive
        self._metrics.peers_alive.set(len(alive))
        self._on_change(Liveness(alive, shaken))

    def _receive(self) -> list[PeerChange]:
        changes: list[PeerChange] = []
        for _ in range(_DATAGRAMS_A_TURN):
            try:
                datagram = self._socket.recv(MAXIMUM_BYTES + 1)
            except BlockingIOError:
                break
            except OSError as error:
                log.debug("heartbeat.failed", operation="receive", error=error)
                break
            try:
                heartbeat = Heartbeat.decode(datagram, self._key)
            except MalformedHeartbeat:
                self._metrics.heartbeats_dropped.labels("malformed").inc()
                continue
            except ForgedHeartbeat:
                self._metrics.heartbeats_dropped.labels("forged").inc()
                self._on_forged()
                continue
            verdict, changed = self._membership.heard(heartbeat, time.monotonic())
            changes += changed
            if verdict is not Verdict.ACCEPTED:
                self._metrics.heartbeats_dropped.labels(verdict).inc()
            if verdict is Verdict.UNPROVEN:
                self._send(heartbeat.sender, self._membership.answer_to(heartbeat))
        return changes

    def _send_to_all(self) -> None:
        for node in self._targets:
            self._send(node, self._membership.heartbeat_to(node))

    def _send(self, node: str, heartbeat: Heartbeat) -> None:
        # To the node's own address, never to where a datagram claims to come from.
        try:
            self._socket.sendto(heartbeat.encode(self._key), (self._targets[node], self._port))
        except OSError as error:
            log.debug("heartbeat.failed", operation="send", node=node, error=error)

    def _wire_address(self, address: str) -> str:
        mapped = self._mapped and ipaddress.ip_address(address).version == 4
        return f"::ffff:{address}" if mapped else address


def _listen(port: int) -> tuple[socket.socket, bool]:
    """Return a socket for both families, and whether it writes IPv4 addresses as IPv4-mapped."""
    try:
        both = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
    except OSError:
        return _bound(socket.socket(socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK), "0.0.0.0", port), False  # noqa: S104
    both.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
    return _bound(both, "::", port), True


def _bound(sock: socket.socket, address: str, port: int) -> socket.socket:
    try:
        sock.bind((address, port))
    except OSError:
        sock.close()
        raise
    return sock


def _log_changes(changes: list[PeerChange]) -> None:
    for change in changes:
        log.info("peer.alive" if change.alive else "peer.dead", node=change.node, reason=change.reason)

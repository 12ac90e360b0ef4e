"""A speaker's announcing half on a host of the wire tests, and a client that looks at frames."""

from __future__ import annotations

import socket
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Self

from prometheus_client import CollectorRegistry

from allocator.core.addresses import Address
from speaker.cluster.scope import EVERYWHERE, Scope
from speaker.frames.arp import ArpFrame, Operation
from speaker.frames.ethernet import BROADCAST, ETHERTYPE_ARP, ETHERTYPE_IPV6, UNKNOWN, MalformedFrame, mac_bytes
from speaker.frames.ndp import Advertisement, decode
from speaker.layer2.announcer import ANNOUNCEMENTS_AT_ONCE, ANNOUNCEMENTS_PER_SECOND, Announcer
from speaker.layer2.conflicts import ConflictListener
from speaker.layer2.interface_endpoint import opener
from speaker.layer2.interface_endpoints import LEARNING_SECONDS
from speaker.layer2.probing import RETRY_SECONDS
from speaker.metrics import SpeakerMetrics
from speaker.netdev.event_loop import PacketLoop
from speaker.netdev.interface_watch import InterfaceWatch
from speaker.netdev.packet_socket import MaySend, always
from tests.lab.network import Host
from tests.lab.waiting import wait_until

_SO_RCVBUFFORCE, _SOL_PACKET, _PACKET_STATISTICS = 33, 263, 6
_RECEIVE_BUFFER_BYTES = 8 * 1024 * 1024


class Speaking:
    """Announces what it is told on a host, with the parts a speaker uses."""

    def __init__(
        self,
        host: Host,
        *,
        announcements_per_second: float = ANNOUNCEMENTS_PER_SECOND,
        announcements_at_once: float = ANNOUNCEMENTS_AT_ONCE,
        refresh_seconds: float = 0,
        retry_seconds: float = RETRY_SECONDS,
        learning_seconds: float = LEARNING_SECONDS,
        whose: Callable[[bytes], str | None] = lambda _: None,
        may_send: MaySend = always,
    ) -> None:
        self.host = host
        self.conflicts: list[tuple[str, str, str]] = []
        self.over: list[str] = []
        self.rivals: list[tuple[str, str]] = []
        self.refused: list[dict[str, str]] = []
        self.registry = CollectorRegistry()
        self.metrics = SpeakerMetrics(self.registry)
        self.packets = PacketLoop(self.metrics.packet_loop_lag.observe)
        self.announcer = Announcer(
            packets=self.packets,
            open_endpoint=opener(self.metrics, may_send),
            metrics=self.metrics,
            may_send=may_send,
            announcements_per_second=announcements_per_second,
            announcements_at_once=announcements_at_once,
            refresh_seconds=refresh_seconds,
            retry_seconds=retry_seconds,
            learning_seconds=learning_seconds,
        )
        self.announcer.report_to(
            ConflictListener(
                on_conflict=lambda address, interface, mac: self.conflicts.append(
                    (str(address), interface, mac.hex(":"))
                ),
                on_over=lambda address: self.over.append(str(address)),
                on_rival=lambda address, node: self.rivals.append((str(address), node)),
                on_refused=lambda refused: self.refused.append({str(each): why for each, why in refused.items()}),
                whose=whose,
            )
        )
        # Threads and sockets stay in the namespace they were made in.
        with host.inside():
            self.interfaces = InterfaceWatch(self.announcer.set_interfaces)
            for part in (self.packets, self.announcer, self.interfaces):
                part.start()
        wait_until(lambda: self.announcer.interfaces_of(EVERYWHERE), 5, "the speaker has interfaces")

    def announce(self, *addresses: str, scope: Scope = EVERYWHERE, unheld: bool = False) -> None:
        """Announce exactly these addresses; `unheld` if nobody has announced them before."""
        # Inside the host, where joining a group opens a socket.
        with self.host.inside():
            wanted = {Address.parse(address): scope for address in addresses}
            self.announcer.announce(wanted, unheld=frozenset(wanted) if unheld else frozenset())

    def announcements(self, reason: str) -> int:
        """How many announcements have gone out for this reason."""
        return int(self.registry.get_sample_value("admitlb_layer2_announcements_total", {"reason": reason}) or 0)

    def errors(self, operation: str, interface: str = "eth0") -> int:
        """How many operations of this kind the kernel has refused."""
        labels = {"interface": interface, "operation": operation}
        return int(self.registry.get_sample_value("admitlb_layer2_errors_total", labels) or 0)

    def frames_dropped(self, reason: str, interface: str = "eth0") -> int:
        """How many frames came through the filter and were not answered, for this reason."""
        labels = {"interface": interface, "reason": reason}
        return int(self.registry.get_sample_value("admitlb_layer2_frames_dropped_total", labels) or 0)

    def frames_received(self, interface: str = "eth0") -> int:
        """How many frames the kernel's filter let through to Python."""
        return int(
            self.registry.get_sample_value("admitlb_layer2_frames_received_total", {"interface": interface}) or 0
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for part in (self.interfaces, self.announcer, self.packets):
            part.stop()


class Tap:
    """A raw socket on a host's interface: sends any frame, sees every ARP frame that arrives."""

    def __init__(self, host: Host, interface: str = "eth0") -> None:
        self.mac = mac_bytes(host.mac(interface))
        with host.inside():
            self._socket = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
            # The usual buffer holds a hundred frames or so: a burst of announcements would push the answers out.
            self._socket.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, _RECEIVE_BUFFER_BYTES)
            self._socket.bind((interface, ETHERTYPE_ARP))

    def send(self, frame: bytes) -> None:
        """Put a frame on the wire."""
        self._socket.send(frame)

    def ask(
        self, address: str, *, sender: str = "192.0.2.2", destination: bytes = BROADCAST, mac: bytes | None = None
    ) -> None:
        """Send an ARP request."""
        self.send(request(address, sender=sender, destination=destination, mac=mac or self.mac).encode())

    def frames(self, within_seconds: float = 5) -> Iterator[ArpFrame]:
        """Yield the ARP frames that arrive, up to the time."""
        end = time.monotonic() + within_seconds
        while (left := end - time.monotonic()) > 0:
            self._socket.settimeout(left)
            try:
                yield ArpFrame.decode(self._socket.recv(2048))
            except TimeoutError:
                return
            except MalformedFrame:
                continue

    def until_reply(self, address: str) -> list[ArpFrame]:
        """Return all frames up to and with the reply that says where `address` is; fails where none comes."""
        seen = []
        for frame in self.frames():
            seen.append(frame)
            if (
                frame.operation is Operation.REPLY
                and str(frame.sender_ip) == address
                and frame.destination == self.mac
            ):
                return seen
        statistics = self._socket.getsockopt(_SOL_PACKET, _PACKET_STATISTICS, 8)
        lost = int.from_bytes(statistics[4:], sys.byteorder)
        raise AssertionError(f"no ARP reply for {address}; lost by this tap: {lost}; seen: {seen}")

    def close(self) -> None:
        """Free the socket."""
        self._socket.close()


class NeighbourTap:
    """A raw socket on a host's interface: sends any frame, sees every neighbour message that arrives."""

    def __init__(self, host: Host, interface: str = "eth0") -> None:
        self.mac = mac_bytes(host.mac(interface))
        with host.inside():
            self._socket = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
            self._socket.bind((interface, ETHERTYPE_IPV6))

    def send(self, frame: bytes) -> None:
        """Put a frame on the wire."""
        self._socket.send(frame)

    def advertisements(self, within_seconds: float = 5) -> Iterator[Advertisement]:
        """Yield the neighbour advertisements that arrive, up to the time."""
        end = time.monotonic() + within_seconds
        while (left := end - time.monotonic()) > 0:
            self._socket.settimeout(left)
            try:
                frame = decode(self._socket.recv(2048))
            except TimeoutError:
                return
            except MalformedFrame:
                continue
            if isinstance(frame, Advertisement):
                yield frame

    def answers_until(self, address: str) -> list[Advertisement]:
        """Return the solicited advertisements that arrive, up to and with that of `address`."""
        seen = []
        for frame in self.advertisements():
            if frame.solicited:
                seen.append(frame)
                if str(frame.target) == address:
                    return seen
        raise AssertionError(f"nobody advertised {address}; seen: {seen}")

    def close(self) -> None:
        """Free the socket."""
        self._socket.close()


@contextmanager
def neighbour_tap(host: Host, interface: str = "eth0") -> Iterator[NeighbourTap]:
    """Open a NeighbourTap for the block."""
    opened = NeighbourTap(host, interface)
    try:
        yield opened
    finally:
        opened.close()


def request(address: str, *, sender: str, destination: bytes = BROADCAST, mac: bytes) -> ArpFrame:
    """An ARP request as a host's kernel sends it."""
    return ArpFrame(
        destination=destination,
        source=mac,
        operation=Operation.REQUEST,
        sender_mac=mac,
        sender_ip=Address.parse(sender),
        target_mac=UNKNOWN,
        target_ip=Address.parse(address),
    )


@contextmanager
def tap(host: Host, interface: str = "eth0") -> Iterator[Tap]:
    """Open a Tap for the block."""
    opened = Tap(host, interface)
    try:
        yield opened
    finally:
        opened.close()


def resolve(host: Host, addresses: Iterable[str]) -> None:
    """Make the host's kernel look for addresses: it sends each a datagram."""
    for address in addresses:
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        with host.inside(), socket.socket(family, socket.SOCK_DGRAM) as sock:
            sock.sendto(b"?", (address, 9))


def resolved_as(host: Host, address: str, mac: str, timeout_seconds: float = 5) -> None:
    """Wait until the host's kernel has `address` at `mac`."""
    wait_until(lambda: host.neighbours().get(address) == mac, timeout_seconds, f"{host.name} has {address} at {mac}")

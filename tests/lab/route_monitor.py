"""What changes in a network namespace's routing table, with the time of each change."""

from __future__ import annotations

import queue
import socket
import struct
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from ipaddress import ip_address
from types import TracebackType
from typing import Self

from tests.lab.network import Host
from tests.lab.waiting import wait_until

_HEADER = struct.Struct("=IHHII")
_ROUTE = struct.Struct("=BBBBBBBBI")
_ATTRIBUTE = struct.Struct("=HH")
_NEW_ROUTE, _DELETE_ROUTE = 24, 25
_DESTINATION, _GATEWAY, _MULTIPATH, _VIA = 1, 5, 9, 18
_NEXT_HOP = struct.Struct("=HBBi")
_VIA_FAMILY_BYTES = 2
_IPV4_ROUTES, _IPV6_ROUTES = 0x40, 0x400
_SO_RCVBUFFORCE = 33
_BUFFER_BYTES = 1 << 25
_MAIN_TABLE = 254


@dataclass(frozen=True, slots=True)
class RouteChange:
    """One prefix that came or changed (`added`), or went; `at` is on CLOCK_MONOTONIC.

    `hops` are the gateways that it has now, or those that went, which of IPv6 may be one of several.
    """

    prefix: str
    added: bool
    at: float
    hops: frozenset[str] = frozenset()


class RouteMonitor:
    """Listens from `with` on; a thread reads, so that times are of the kernel's message.

    Whoever asks has them read, not the thread: to read 10,000 takes CPU from what is measured meanwhile.
    """

    def __init__(self, host: Host) -> None:
        def listen() -> socket.socket:
            listening = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, socket.NETLINK_ROUTE)
            listening.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, _BUFFER_BYTES)
            listening.bind((0, _IPV4_ROUTES | _IPV6_ROUTES))
            listening.settimeout(0.1)
            return listening

        self._socket = host.call(listen)
        # Put in by the thread, taken out by whoever asks; `_lock` has these read them in turn.
        self._received: queue.SimpleQueue[tuple[bytes, float]] = queue.SimpleQueue()
        self._lock = threading.Lock()
        self._changes: list[RouteChange] = []
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._listen, name=f"routes-{host.name}", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stopping.set()
        self._thread.join()
        self._socket.close()

    @property
    def changes(self) -> list[RouteChange]:
        """What has changed so far."""
        with self._lock:
            while not self._received.empty():
                self._changes += _changes(*self._received.get())
            return list(self._changes)

    def wait_for_change(self, seconds: float) -> None:
        """Wait until something has changed. Raises NeverHappened."""
        wait_until(lambda: bool(self.changes), seconds, f"a route changes ({self._thread.name})")

    def wait_since(self, at: float, seconds: float) -> list[RouteChange]:
        """Wait until something has changed since a time, and return that. Raises NeverHappened."""
        return wait_until(lambda: self.since(at), seconds, f"a route changes ({self._thread.name})")

    def wait_for_route(self, prefix: str, at: float, seconds: float) -> RouteChange:
        """Wait until a prefix has changed since a time, and return how at first. Raises NeverHappened."""
        return wait_until(
            lambda: next((each for each in self.since(at) if each.prefix == prefix), None),
            seconds,
            f"the route to {prefix} changes ({self._thread.name})",
            interval_seconds=0.005,
        )

    def since(self, at: float) -> list[RouteChange]:
        """What has changed since a time."""
        return [change for change in self.changes if change.at >= at]

    def _listen(self) -> None:
        while not self._stopping.is_set():
            try:
                data = self._socket.recv(1 << 16)
            except TimeoutError:
                continue
            self._received.put((data, time.monotonic()))


def _changes(data: bytes, at: float) -> list[RouteChange]:
    changes = []
    while len(data) >= _HEADER.size:
        length, kind, *_ = _HEADER.unpack_from(data)
        message, data = data[_HEADER.size : length], data[(length + 3) & ~3 :]
        if kind not in (_NEW_ROUTE, _DELETE_ROUTE):
            continue
        _, bits, _, _, table, *_ = _ROUTE.unpack_from(message)
        attributes = dict(_attributes(message[_ROUTE.size :]))
        if _DESTINATION in attributes and table == _MAIN_TABLE:
            prefix = f"{ip_address(attributes[_DESTINATION])}/{bits}"
            changes.append(RouteChange(prefix, kind == _NEW_ROUTE, at, frozenset(_hops(attributes))))
    return changes


def _attributes(data: bytes) -> Iterator[tuple[int, bytes]]:
    while len(data) >= _ATTRIBUTE.size:
        length, kind = _ATTRIBUTE.unpack_from(data)
        yield kind, data[_ATTRIBUTE.size : length]
        data = data[(length + 3) & ~3 :]


def _hops(attributes: dict[int, bytes]) -> Iterator[str]:
    """Yield the gateways of a route, or of one of its next hops."""
    if _GATEWAY in attributes:
        yield str(ip_address(attributes[_GATEWAY]))
    if _VIA in attributes:
        yield str(ip_address(attributes[_VIA][_VIA_FAMILY_BYTES:]))
    several = attributes.get(_MULTIPATH, b"")
    while len(several) >= _NEXT_HOP.size:
        length, *_ = _NEXT_HOP.unpack_from(several)
        yield from _hops(dict(_attributes(several[_NEXT_HOP.size : length])))
        several = several[(length + 3) & ~3 :]

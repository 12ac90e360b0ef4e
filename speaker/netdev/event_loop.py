"""What waits for frames, and the one thread that runs it all."""

from __future__ import annotations

import math
import os
import select
import threading
import time
from collections.abc import Callable, Mapping
from typing import Protocol

from allocator.core.addresses import Address
from speaker.netdev.interfaces import Interface

LOOK_SECONDS = 1.0
"""Between two looks at how late the thread comes and at what the kernel had to drop."""


class Listener(Protocol):
    """Waits for frames of one protocol on one interface."""

    interface: Interface
    protocol: str

    def fileno(self) -> int:
        """The descriptor that becomes readable when a frame waits."""
        ...

    def handle_readable(self) -> None:
        """Take in waiting frames and answer or report them. Never raises for what a frame or the network does."""
        ...

    def count_overflow(self) -> None:
        """Count the frames lost because they came faster than they were taken."""
        ...

    def close(self) -> None:
        """Free the socket."""
        ...


class Responder(Listener, Protocol):
    """Answers for addresses of one family."""

    def answer_for(self, addresses: frozenset[Address]) -> None:
        """From now on answer for exactly these, all of the family; see `answers` where it raises Refused."""
        ...

    def help_with(self, helped: Mapping[Address, bytes]) -> None:
        """Answer for these with other hardware addresses than the interface's, and announce none of them."""
        ...

    def answers(self, address: Address) -> bool:
        """Return whether the address is answered for."""
        ...

    def announce(self, address: Address) -> bool:
        """Send the gratuitous announcement to the LAN; return whether anything went out. Raises Refused."""
        ...


class Watch(Listener, Protocol):
    """Hears others claim addresses of one family."""

    def watch_for(self, addresses: frozenset[Address]) -> None:
        """From now on report claims of exactly these, all of the family; see `watches` where it raises Refused."""
        ...

    def watches(self, address: Address) -> bool:
        """Return whether claims of the address are reported."""
        ...

    def probe(self, address: Address) -> bool:
        """Ask the LAN whether anyone has the address; return whether the question went out."""
        ...


class PacketLoop:
    """Runs every listener's `handle_readable` on one thread, and closes listeners there.

    `_listeners` and `_retired` are guarded by `_lock`. A socket is closed by this thread alone: closed elsewhere,
    its descriptor could be reused by another file between a wake-up and the read.
    """

    def __init__(self, on_lag: Callable[[float], None] = lambda _: None) -> None:
        """`on_lag` gets, about once a second, the seconds by which the thread woke later than it should have."""
        self._on_lag = on_lag
        self._epoll = select.epoll()
        self._wake = os.eventfd(0, os.EFD_NONBLOCK)
        self._epoll.register(self._wake, select.EPOLLIN)
        self._listeners: dict[int, Listener] = {}
        self._retired: list[Listener] = []
        self._lock = threading.Lock()
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="packets", daemon=True)

    def start(self) -> None:
        """Begin answering."""
        self._thread.start()

    def stop(self) -> None:
        """End the thread and close every listener."""
        self._stopping.set()
        os.eventfd_write(self._wake, 1)
        if self._thread.is_alive():
            self._thread.join(timeout=5)
        with self._lock:
            self._retired += self._listeners.values()
            self._listeners.clear()
        self._close_retired()
        self._epoll.close()
        os.close(self._wake)

    @property
    def alive(self) -> bool:
        """Whether the thread still runs."""
        return self._thread.is_alive()

    def add(self, listener: Listener) -> None:
        """Serve this listener from now on."""
        with self._lock:
            self._listeners[listener.fileno()] = listener
            self._epoll.register(listener.fileno(), select.EPOLLIN)

    def retire(self, listener: Listener) -> None:
        """Stop serving the listener and close it; the caller must no longer use it."""
        with self._lock:
            if self._listeners.pop(listener.fileno(), None) is None:
                return
            self._epoll.unregister(listener.fileno())
            self._retired.append(listener)
        os.eventfd_write(self._wake, 1)

    def _run(self) -> None:
        look_at = time.monotonic() + LOOK_SECONDS
        while not self._stopping.is_set():
            started = time.monotonic()
            # The kernel waits whole milliseconds; what is rounded up here is no lag.
            wait_seconds = math.ceil(max(0.0, look_at - started) * 1000) / 1000
            ready = self._epoll.poll(wait_seconds)
            now = time.monotonic()
            if now >= look_at:
                self._on_lag(max(0.0, now - max(look_at, started + wait_seconds)))
                self._count_overflow()
                look_at = now + LOOK_SECONDS
            for descriptor, _ in ready:
                if descriptor == self._wake:
                    os.eventfd_read(self._wake)
                    continue
                with self._lock:
                    listener = self._listeners.get(descriptor)
                if listener is not None:
                    listener.handle_readable()
            self._close_retired()

    def _count_overflow(self) -> None:
        with self._lock:
            listeners = list(self._listeners.values())
        for listener in listeners:
            listener.count_overflow()

    def _close_retired(self) -> None:
        with self._lock:
            retired, self._retired = self._retired, []
        for listener in retired:
            listener.close()

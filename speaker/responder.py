"""What every responder can do, and the one thread that waits for frames on all of them."""

from __future__ import annotations

import os
import select
import threading
from typing import Protocol

from allocator.core.addresses import Address
from speaker.interfaces import Interface


class Responder(Protocol):
    """Answers for addresses of one family on one interface."""

    interface: Interface
    protocol: str

    def fileno(self) -> int:
        """The descriptor that becomes readable when a frame waits."""
        ...

    def covers(self, address: Address) -> bool:
        """Tell whether the address is of this responder's family."""
        ...

    def answer_for(self, addresses: frozenset[Address]) -> None:
        """From now on answer for exactly these addresses; others of the set are ignored."""
        ...

    def handle_readable(self) -> None:
        """Take in waiting frames and answer them. Never raises for what a frame or the network does."""
        ...

    def announce(self, address: Address) -> None:
        """Tell the LAN, unasked, that the address is here now."""
        ...

    def count_overflow(self) -> None:
        """Count the frames lost because they came faster than they were taken."""
        ...

    def close(self) -> None:
        """Free the socket."""
        ...


class PacketLoop:
    """Runs every responder's `handle_readable` on one thread, and closes responders there.

    `_responders` and `_retired` are guarded by `_lock`. A socket is closed by this thread alone: closed elsewhere,
    its descriptor could be reused by another file between a wake-up and the read.
    """

    def __init__(self) -> None:
        self._epoll = select.epoll()
        self._wake = os.eventfd(0, os.EFD_NONBLOCK)
        self._epoll.register(self._wake, select.EPOLLIN)
        self._responders: dict[int, Responder] = {}
        self._retired: list[Responder] = []
        self._lock = threading.Lock()
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="packets", daemon=True)

    def start(self) -> None:
        """Begin answering."""
        self._thread.start()

    def stop(self) -> None:
        """End the thread and close every responder."""
        self._stopping.set()
        os.eventfd_write(self._wake, 1)
        if self._thread.is_alive():
            self._thread.join(timeout=5)
        with self._lock:
            self._retired += self._responders.values()
            self._responders.clear()
        self._close_retired()
        self._epoll.close()
        os.close(self._wake)

    @property
    def alive(self) -> bool:
        """Whether the thread still runs."""
        return self._thread.is_alive()

    def add(self, responder: Responder) -> None:
        """Serve this responder from now on."""
        with self._lock:
            self._responders[responder.fileno()] = responder
            self._epoll.register(responder.fileno(), select.EPOLLIN)

    def retire(self, responder: Responder) -> None:
        """Stop serving the responder and close it; the caller must no longer use it."""
        with self._lock:
            if self._responders.pop(responder.fileno(), None) is None:
                return
            self._epoll.unregister(responder.fileno())
            self._retired.append(responder)
        os.eventfd_write(self._wake, 1)

    def _run(self) -> None:
        while not self._stopping.is_set():
            for descriptor, _ in self._epoll.poll():
                if descriptor == self._wake:
                    os.eventfd_read(self._wake)
                    continue
                with self._lock:
                    responder = self._responders.get(descriptor)
                if responder is not None:
                    responder.handle_readable()
            self._close_retired()

    def _close_retired(self) -> None:
        with self._lock:
            retired, self._retired = self._retired, []
        for responder in retired:
            responder.close()

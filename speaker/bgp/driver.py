"""Driving FRR: one thread, one queue, one connection to each daemon."""

from __future__ import annotations

import logging
import select
import socket
import threading
import time
from collections.abc import Callable, Collection
from concurrent.futures import Future
from pathlib import Path

from allocator.bgp.command import Daemon, Reset
from allocator.bgp.desired import Difference
from allocator.bgp.inputs import Peer
from allocator.bgp.rendering import Rendering
from speaker.bgp.applying import Applying
from speaker.bgp.events import Event
from speaker.bgp.vty import Reply, VtyError

_log = logging.getLogger(__name__)

COALESCE_SECONDS = 0.005
"""How long to wait for more after a change: an EndpointSlice and its Service come a few milliseconds apart."""

_FIRST_RETRY_SECONDS = 0.05
_LONGEST_RETRY_SECONDS = 1.0


class Driver:
    """Keeps bgpd and bfdd at what is wanted.

    On every new connection it reads what the daemon is configured with and sends the difference: nothing where a
    speaker restarted, all where FRR did. Until `set_complete` nothing is sent, so that what was announced stays until
    all is known. FRR goes on as it is when the driver stops.

    `report` is called on the driver's thread with what happens; it must not block. `may_reset` is asked there before
    a session is reset; while it says no, that session stays as it is and `retry` asks again. `in_use` names, of peers
    that bgpd does not know yet, those that it must not dial.
    """

    def __init__(
        self,
        sockets: Path,
        *,
        report: Callable[[Event], None],
        may_reset: Callable[[Reset], bool] = lambda _: True,
        in_use: Callable[[Collection[Peer]], frozenset[str]] = lambda _: frozenset(),
        coalesce_seconds: float = COALESCE_SECONDS,
    ) -> None:
        self._coalesce_seconds = coalesce_seconds
        self._rendering = Rendering()
        self._half_rendered = False
        """Whether the last update of the rendering failed."""
        self._applying = Applying(self._rendering, sockets, report=report, may_reset=may_reset, in_use=in_use)
        # The lock covers what other threads leave for the driver's; all else is the driver's thread's alone.
        self._lock = threading.Lock()
        self._differences: list[Difference] = []
        self._questions: list[tuple[Daemon, str, Future[Reply]]] = []
        self._graceful_shutdown: bool | None = None
        self._complete = False
        self._to_reread = False
        self._stopping = False
        self._wake_in, self._wake_out = socket.socketpair()
        for end in (self._wake_in, self._wake_out):
            end.setblocking(False)
        self._retry_seconds = _FIRST_RETRY_SECONDS
        self._thread = threading.Thread(target=self._run, name="bgp-driver", daemon=True)

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def stop(self, timeout_seconds: float = 5.0) -> None:
        """End the thread and the connections; FRR goes on as it is."""
        with self._lock:
            self._stopping = True
        self._wake()
        self._thread.join(timeout_seconds)

    @property
    def alive(self) -> bool:
        """Whether the thread runs; whoever started it watches this."""
        return self._thread.is_alive()

    def update(self, difference: Difference) -> None:
        """Take in what has become different. Any thread."""
        with self._lock:
            self._differences.append(difference)
        self._wake()

    def set_graceful_shutdown(self, enabled: bool) -> None:
        """Mark all routes for the time before this node leaves (RFC 8326), or no longer. Any thread."""
        with self._lock:
            self._graceful_shutdown = enabled
        self._wake()

    def set_complete(self) -> None:
        """Say that all that is to be announced is known: from now on FRR is changed. Any thread."""
        with self._lock:
            self._complete = True
        self._wake()

    def reread(self) -> None:
        """Read again what the daemons run, as it seems to be other than what was sent. Any thread."""
        with self._lock:
            self._to_reread = True
        self._wake()

    def retry(self) -> None:
        """Ask again whether sessions may be reset. Any thread."""
        self._wake()

    def ask(self, daemon: Daemon, command: str) -> Future[Reply]:
        """Ask a daemon something, in turn with the changes; the future may raise VtyError. Any thread."""
        future: Future[Reply] = Future()
        with self._lock:
            if self._stopping:
                future.set_exception(VtyError("the driver has stopped"))
                return future
            self._questions.append((daemon, command, future))
        self._wake()
        return future

    def _wake(self) -> None:
        try:
            self._wake_out.send(b"\0")
        except BlockingIOError:
            pass  # enough wake-ups wait already
        except OSError:
            pass  # stopped

    def _run(self) -> None:
        try:
            while self._go_on():
                pass
        finally:
            self._applying.close()
            with self._lock:
                self._stopping = True
                questions, self._questions = self._questions, []
            for _, _, future in questions:
                future.set_exception(VtyError("the driver has stopped"))
            self._wake_in.close()

    def _go_on(self) -> bool:
        """Act upon what there is, and wait for more; return False when it is to stop.

        What nobody foresaw ends no thread, as layer 2 would end with it: all is read from FRR again, and sent anew,
        with the differences that were not taken in.
        """
        try:
            if self._applying.connect():
                self._retry_seconds = _FIRST_RETRY_SECONDS
            if not self._take_in():
                return False
            connected = self._applying.connected
            self._wait(None if connected else self._retry_seconds)
            if not connected:
                self._retry_seconds = min(self._retry_seconds * 2, _LONGEST_RETRY_SECONDS)
            self._applying.check()
        except Exception as error:
            _log.exception("the BGP driver failed, and starts over")
            self._applying.start_over(f"the driver failed: {type(error).__name__}")
            self._wait(_LONGEST_RETRY_SECONDS)
        return True

    def _take_in(self) -> bool:
        """Act upon what others left; return False when it is to stop."""
        with self._lock:
            if self._stopping:
                return False
            differences, self._differences = self._differences, []
            questions, self._questions = self._questions, []
            graceful_shutdown, complete = self._graceful_shutdown, self._complete
            reread, self._to_reread = self._to_reread, False
        try:
            self._render(differences)
            if graceful_shutdown is not None:
                self._rendering.set_graceful_shutdown(graceful_shutdown)
            if complete and reread:
                self._applying.reread()
            if complete:
                self._applying.apply()
            for daemon, command, future in questions:
                try:
                    future.set_result(self._applying.show(daemon, command))
                except (VtyError, ValueError) as error:
                    future.set_exception(error)
        finally:
            for _, _, future in questions:
                if not future.done():
                    future.set_exception(VtyError("the driver failed"))
        return True

    def _render(self, differences: list[Difference]) -> None:
        """Take differences into the rendering; what fails there, and all after it, is left for the next time."""
        taken = 0
        try:
            if self._half_rendered:
                self._rendering.rebuild()
            self._half_rendered = True
            for difference in differences:
                self._rendering.update(difference)
                taken += 1
            self._half_rendered = False
        finally:
            if taken < len(differences):
                with self._lock:
                    self._differences[:0] = differences[taken:]

    def _wait(self, timeout_seconds: float | None) -> None:
        """Wait for something to do, and then a moment for more."""
        # Not select(), which knows no number from 1,024 on: a node with many interfaces has as many sockets.
        watched = select.poll()
        for end in (self._wake_in.fileno(), *(link.fileno() for link in self._applying.links.values())):
            watched.register(end, select.POLLIN)
        ready = dict(watched.poll(None if timeout_seconds is None else 1000 * timeout_seconds))
        if self._wake_in.fileno() in ready:
            time.sleep(self._coalesce_seconds)
            try:
                while self._wake_in.recv(4096):
                    pass
            except BlockingIOError:
                return

"""Whether nodes whose speakers are away still run: asked of their kernels."""

from __future__ import annotations

import contextlib
import errno
import select
import socket
import threading
from collections import deque
from collections.abc import Callable, Mapping

from allocator.process.logs import EventLog
from speaker.membership.durations import DEFAULT_DEAD_AFTER_SECONDS
from speaker.membership.fence import clock

log = EventLog("hosts")

ASK_SECONDS = 0.1
GONE_AFTER_SECONDS = DEFAULT_DEAD_AFTER_SECONDS
MOST_ASKED = 10
"""How many are asked at a time, in turn, besides those that have just not answered. Where heartbeats are blocked
everywhere each node asks all others: ten times a second, that is two thousand connections a second from each of two
hundred nodes, and their kernels' tables of connections fill up."""


class HostWatch:
    """Knocks at a closed TCP port of each node and calls `on_gone` with those whose kernel no longer refuses.

    A refused connection is as good a sign of life as an accepted one, and needs nobody to listen. A firewall that
    swallows it makes a node look gone, which costs no more than its connections. `_hosts` is guarded by `_wake`; the
    rest belongs to the thread, which sleeps while there is nobody to ask. `_turn` has the nodes in the order in which
    they are asked, `_silent` since when each has not answered though it was asked.
    """

    def __init__(self, port: int) -> None:
        self._port = port
        self._on_gone: Callable[[frozenset[str]], None] = lambda _: None
        self._wake = threading.Condition()
        self._hosts: Mapping[str, str] = {}
        self._stopping = False
        self._asked: Mapping[str, str] = {}
        self._turn: deque[str] = deque()
        self._silent: dict[str, float] = {}
        self._reported: frozenset[str] = frozenset()
        self._thread = threading.Thread(target=self._run, name="hosts", daemon=True)

    def report_to(self, on_gone: Callable[[frozenset[str]], None]) -> None:
        """Name the listener; before `start`."""
        self._on_gone = on_gone

    def start(self) -> None:
        """Begin, with nobody to ask."""
        self._thread.start()

    def stop(self) -> None:
        """End the thread."""
        with self._wake:
            self._stopping = True
            self._wake.notify()
        if self._thread.is_alive():
            self._thread.join(timeout=5)

    @property
    def alive(self) -> bool:
        """Whether the thread still runs."""
        return self._thread.is_alive()

    def watch(self, hosts: Mapping[str, str]) -> None:
        """Ask exactly these from now on, by node name and IP address; returns at once."""
        with self._wake:
            if hosts != self._hosts:
                self._hosts = dict(hosts)
                self._wake.notify()

    def _run(self) -> None:
        while True:
            with self._wake:
                # With nobody to ask, one round finds nobody gone; then there is nothing to do.
                self._wake.wait_for(lambda: self._stopping or self._hosts or self._asked)
                if self._stopping:
                    return
            begun = clock()
            self._round()
            with self._wake:
                rest = max(0.0, begun + ASK_SECONDS - clock())
                self._wake.wait_for(self._is_told_otherwise, rest)

    def _is_told_otherwise(self) -> bool:
        return self._stopping or self._hosts is not self._asked

    def _round(self) -> None:
        """Ask those whose turn it is, and report who is gone."""
        with self._wake:
            hosts = self._hosts
        if hosts is not self._asked:
            # Who has been asked without a break stays gone until it answers.
            still = {node for node, address in hosts.items() if self._asked.get(node) == address}
            self._silent = {node: at for node, at in self._silent.items() if node in still}
            self._turn = deque([*(node for node in self._turn if node in still), *sorted(hosts.keys() - still)])
            self._asked = hosts
        self._ask(hosts)

    def _ask(self, hosts: Mapping[str, str]) -> None:
        now = clock()
        asked = {node for node in self._silent if node not in self._reported}
        for _ in range(min(MOST_ASKED, len(self._turn))):
            asked.add(self._turn[0])
            self._turn.rotate(-1)
        answering = _answering({node: hosts[node] for node in asked}, self._port)
        for node in asked:
            if node in answering:
                self._silent.pop(node, None)
            else:
                self._silent.setdefault(node, now)
        gone = frozenset(node for node, since in self._silent.items() if clock() - since >= GONE_AFTER_SECONDS)
        if gone != self._reported:
            for node in sorted(gone - self._reported):
                log.info("host.gone", node=node)
            self._reported = gone
            self._on_gone(gone)


def _answering(hosts: Mapping[str, str], port: int) -> set[str]:
    """Return the nodes whose kernel says anything to a connection within the time for one round."""
    poll = select.poll()
    answering: set[str] = set()
    with contextlib.ExitStack() as opened:
        asked: dict[int, tuple[str, socket.socket]] = {}
        for node, address in hosts.items():
            family = socket.AF_INET6 if ":" in address else socket.AF_INET
            try:
                sock = opened.enter_context(socket.socket(family, socket.SOCK_STREAM | socket.SOCK_NONBLOCK))
                code = sock.connect_ex((address, port))
            except OSError:
                # This node has no such family, or no descriptor left: nothing can be said of the other one.
                continue
            if code == errno.EINPROGRESS:
                asked[sock.fileno()] = (node, sock)
                poll.register(sock, select.POLLOUT)
            elif code in (0, errno.ECONNREFUSED):
                answering.add(node)
        deadline = clock() + ASK_SECONDS
        while asked and (left := deadline - clock()) > 0:
            for descriptor, _ in poll.poll(int(left * 1000) + 1):
                node, sock = asked.pop(descriptor)
                poll.unregister(descriptor)
                if sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) in (0, errno.ECONNREFUSED):
                    answering.add(node)
    return answering

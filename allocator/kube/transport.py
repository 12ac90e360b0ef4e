"""Connections to the API server that neither a silent nor a dripping peer can hold for longer than a call may take.

A socket's timeout begins anew with every byte that arrives; a deadline does not. And a peer that has gone silently
(a node that lost power, a firewall that forgot the connection) is noticed by the kernel: by keepalive while nothing
is on its way, by TCP_USER_TIMEOUT while something is.
"""

from __future__ import annotations

import io
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.client import HTTPResponse
from typing import Any

from urllib3 import HTTPConnectionPool, HTTPSConnectionPool, PoolManager
from urllib3.connection import HTTPConnection, HTTPSConnection

_IDLE_SECONDS = 10
_PROBE_SECONDS = 5
_PROBES = 3
_UNANSWERED_SECONDS = 20

SOCKET_OPTIONS = [
    # What is given replaces urllib3's own, so Nagle's algorithm has to be turned off here as well.
    (socket.IPPROTO_TCP, socket.TCP_NODELAY, 1),
    (socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1),
    (socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, _IDLE_SECONDS),
    (socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, _PROBE_SECONDS),
    (socket.IPPROTO_TCP, socket.TCP_KEEPCNT, _PROBES),
    (socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, _UNANSWERED_SECONDS * 1000),
]

_SEND_BYTES = 16 * 1024


class Deadline:
    """Until when one call may take; for an answer that is streamed, how long it may be silent. One thread's."""

    def __init__(self, seconds: float) -> None:
        self._until = time.monotonic() + seconds
        self._silence_seconds: float | None = None

    def stream(self, silence_seconds: float) -> None:
        """Let the answer go on for as long as it likes, but not be silent for longer than this."""
        self._silence_seconds = silence_seconds

    def remaining(self) -> float:
        """Return how many seconds the next read or write may take. Raises TimeoutError when none are left."""
        if self._silence_seconds is not None:
            return self._silence_seconds
        seconds = self._until - time.monotonic()
        if seconds <= 0:
            raise TimeoutError("the deadline of the call has passed")
        return seconds


class _Current(threading.local):
    deadline: Deadline | None = None


_current = _Current()


@contextmanager
def deadline(seconds: float) -> Iterator[Deadline]:
    """Bound all that this thread does on connections of `bind_deadlines`, from connecting to the end of the headers.

    Reading the body is bounded too, also after the block. The name of a host is looked up without a bound: the
    system's resolver has none to set.
    """
    _current.deadline = Deadline(seconds)
    try:
        yield _current.deadline
    finally:
        _current.deadline = None


def bind_deadlines(pools: PoolManager) -> None:
    """Make every connection of the pools keep the deadline of the call it is used for."""
    pools.pool_classes_by_scheme = {"http": _HTTPPool, "https": _HTTPSPool}


class _TimedReader(io.RawIOBase):
    """A socket's reading end that gives every read what is left of the call."""

    def __init__(self, raw: io.RawIOBase, sock: socket.socket, deadline: Deadline) -> None:
        super().__init__()
        self._raw = raw
        self._sock = sock
        self._deadline = deadline

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int | None:
        self._sock.settimeout(self._deadline.remaining())
        count: int | None = self._raw.readinto(buffer)
        return count

    def close(self) -> None:
        if not self.closed:
            self._raw.close()
        super().close()


class _TimedResponse(HTTPResponse):
    def __init__(self, sock: socket.socket, *args: Any, **kwargs: Any) -> None:
        super().__init__(sock, *args, **kwargs)
        if _current.deadline is not None:
            reader = _TimedReader(self.fp.detach(), sock, _current.deadline)
            self.fp = io.BufferedReader(reader)


class _Timed(HTTPConnection):
    response_class = _TimedResponse

    def __str__(self) -> str:
        """How errors of urllib3 name it, which people read."""
        return f"{self.host}:{self.port}"

    def _new_conn(self) -> socket.socket:
        if _current.deadline is not None:
            self.timeout = _current.deadline.remaining()
        sock = super()._new_conn()
        if _current.deadline is not None:
            # What connecting took is not there for the handshake.
            sock.settimeout(_current.deadline.remaining())
        return sock

    def send(self, data: Any) -> None:
        if _current.deadline is None or not isinstance(data, bytes):
            super().send(data)
            return
        for start in range(0, len(data), _SEND_BYTES):
            if self.sock is None:
                self.connect()
            self.sock.settimeout(_current.deadline.remaining())
            super().send(data[start : start + _SEND_BYTES])


class _TimedTLS(_Timed, HTTPSConnection):
    pass


class _HTTPPool(HTTPConnectionPool):
    ConnectionCls = _Timed


class _HTTPSPool(HTTPSConnectionPool):
    ConnectionCls = _TimedTLS

"""Whether kube-proxy of this node is ready to pass on what routers send here.

A node that comes back would attract traffic for which it has no rules yet. kube-proxy, and what takes its place
(Cilium), answers 200 once it has written them (kubernetes pkg/proxy/healthcheck). Where connections are refused for
ABSENT_SECONDS without a break, there is none, and its port is no reason to wait; one that does not answer in time is
there, and not ready.
"""

from __future__ import annotations

import socket
import time
from collections.abc import Callable
from ipaddress import ip_address
from urllib.parse import urlsplit

ABSENT_SECONDS = 30.0
LOOK_SECONDS = 0.5
_ANSWER_SECONDS = 1.0
_OK = 200


class KubeProxyGate:
    """Says whether to begin. Belongs to one thread, which it holds up for a second at most, twice a second."""

    def __init__(self, url: str, *, clock: Callable[[], float] = time.monotonic) -> None:
        """`url` is empty where nobody is to be asked. Raises ValueError for one that `check_url` refuses."""
        check_url(url)
        self._url = url
        self._clock = clock
        self._refused_since: float | None = None
        """When the first connection was refused of those in a row up to now."""
        self._looked_at: float | None = None
        self._opened = not url
        self.said = ""
        """Why not yet, in words."""

    @property
    def open(self) -> bool:
        """Whether kube-proxy is ready, or there is none; asks where that is not known and the last time is over."""
        now = self._clock()
        if self._opened or (self._looked_at is not None and now < self._looked_at + LOOK_SECONDS):
            return self._opened
        self._looked_at = now
        try:
            status = http_status(self._url, _ANSWER_SECONDS)
        except ConnectionRefusedError as error:
            self.said = f"kube-proxy at {self._url}: {error}"
            if self._refused_since is None:
                self._refused_since = now
            self._opened = now - self._refused_since >= ABSENT_SECONDS
        except OSError as error:
            self._refused_since = None
            self.said = f"kube-proxy at {self._url}: {error}"
        else:
            self._refused_since = None
            self.said = f"kube-proxy at {self._url} answers {status}, not {_OK}: it has not written its rules"
            self._opened = status == _OK
        return self._opened


def check_url(url: str) -> None:
    """Raise ValueError unless it is empty or http:// with an IP address: a look-up of a name has no deadline."""
    if not url:
        return
    parts = urlsplit(url)
    try:
        ip_address(parts.hostname or "")
        fits = parts.scheme == "http" and parts.port != 0
    except ValueError:
        fits = False
    if not fits:
        raise ValueError(f"{url} is not http://, an IP address and a port: write http://127.0.0.1:10256/healthz")


def http_status(url: str, timeout_seconds: float) -> int:
    """Return the status of an HTTP answer. Raises OSError, also for no HTTP.

    The timeout is for all of it, where the URL has an IP address.
    """
    deadline = time.monotonic() + timeout_seconds
    parts = urlsplit(url)
    with socket.create_connection((parts.hostname or "", parts.port or 80), timeout=timeout_seconds) as connection:
        path = f"{parts.path or '/'}?{parts.query}" if parts.query else parts.path or "/"
        host = parts.netloc.rpartition("@")[2]
        connection.sendall(f"GET {path} HTTP/1.0\r\nHost: {host}\r\nConnection: close\r\n\r\n".encode())
        received = b""
        while b"\r\n" not in received and len(received) < 1024:
            left = deadline - time.monotonic()
            if left <= 0:
                raise TimeoutError("timed out")
            connection.settimeout(left)
            part = connection.recv(1024)
            if not part:
                break
            received += part
    words = received.split(b"\r\n", 1)[0].split()
    if len(words) < 2 or not words[0].startswith(b"HTTP/") or not words[1].isdigit():
        raise OSError("it does not answer HTTP")
    return int(words[1])

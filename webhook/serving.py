"""gunicorn, embedded: one process that decides (gthread, many threads) under one that restarts it.

The parent never starts a thread or opens a connection: everything that lives does so in the worker, after the
fork. A worker whose own threads die ends the whole process, so that it is seen and restarted from outside.
"""

from __future__ import annotations

import ctypes
import logging
import os
import signal
import socket
import ssl
import time
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any, Protocol

from flask import Flask
from gunicorn.app.base import BaseApplication
from gunicorn.config import Config
from gunicorn.glogging import Logger

from allocator.process import logs
from allocator.process.logs import EventLog
from webhook.patient_worker import FORBIDDEN, NOT_YET, PatientWorker
from webhook.routes import masked

log = EventLog("serving")

THREADS = 16
KEEP_ALIVE_SECONDS = 75
GRACE_SECONDS = 10
"""For requests in flight and idle connections, once the drain is over."""

_NOTIFY_SECONDS = 0.5
"""gunicorn notifies with every turn of its loop, several times a request."""

_PR_SET_PDEATHSIG = 1
FATAL = 3
"""A worker's exit code that ends its parent with the same code instead of being replaced (gunicorn's own)."""


class Component(Protocol):
    """What the worker runs; all methods are called in the worker process, on its main thread."""

    def app(self) -> Flask:
        """Return the application to serve."""

    def start(self) -> None:
        """Start every thread, without waiting for any of them; called once, before the first request."""

    def dead_threads(self) -> list[str]:
        """Name the threads that should run and do not; asked about once a second, must not block."""

    def drain(self) -> None:
        """Report not ready from now on; requests still come and must be answered. Runs in a signal handler."""

    def stop(self) -> None:
        """End every thread."""

    def tls_context(self) -> ssl.SSLContext:
        """Return the context of the next handshake. Raises OSError while there is none yet."""

    @property
    def has_tokens(self) -> bool:
        """Whether paths can be judged yet."""

    def route(self, path: str) -> str | None:
        """Return the application's route that a request's path opens; called on serving threads too."""


def listen(port: int) -> socket.socket:
    """Return a socket listening on every address of the machine, of both families where it has both."""
    try:
        return socket.create_server(("::", port), family=socket.AF_INET6, dualstack_ipv6=True, backlog=512)
    except OSError as error:
        if _has_ipv6():
            raise
        log.debug("listen.ipv4_only", error=error)
        return socket.create_server(("0.0.0.0", port), backlog=512)  # noqa: S104


def serve(component_factory: Callable[[], Component], *, listener: socket.socket, drain_seconds: float) -> None:
    """Serve until SIGTERM or SIGINT; exits the process (SystemExit), non-zero if the component failed.

    On SIGTERM the component reports not ready at once, goes on answering for `drain_seconds` so that callers
    find another replica, then finishes what is in flight.
    """
    _Server(component_factory, listener=listener, drain_seconds=drain_seconds).run()


def _has_ipv6() -> bool:
    try:
        with socket.socket(socket.AF_INET6, socket.SOCK_STREAM) as probe:
            probe.bind(("::1", 0))
    except OSError:
        return False
    return True


class _Config(Config):  # type: ignore[misc]
    @property
    def is_ssl(self) -> bool:
        """gunicorn looks for certificate files; ours comes from memory by the ssl_context hook."""
        return True


class _Server(BaseApplication):  # type: ignore[misc]
    def __init__(
        self, component_factory: Callable[[], Component], *, listener: socket.socket, drain_seconds: float
    ) -> None:
        self._component_factory = component_factory
        self._listener_fd = listener.detach()
        self.drain_seconds = drain_seconds
        self.component: Component | None = None
        super().__init__()

    def load_default_config(self) -> None:
        self.cfg = _Config(self.usage, prog=self.prog)

    def load_config(self) -> None:
        settings: dict[str, Any] = {
            "bind": f"fd://{self._listener_fd}",
            "workers": 1,
            "worker_class": ReviewWorker,
            "threads": THREADS,
            "keepalive": KEEP_ALIVE_SECONDS,
            "graceful_timeout": int(self.drain_seconds + GRACE_SECONDS) + 1,
            "worker_tmp_dir": _heartbeat_directory(),
            "control_socket_disable": True,
            "logger_class": _PropagatingLogger,
            "ssl_context": self._tls_context,
            "post_fork": _die_with_parent,
        }
        for name, value in settings.items():
            self.cfg.set(name, value)

    def load(self) -> Flask:
        self.component = self._component_factory()
        app = self.component.app()
        self.component.start()
        return app

    def _tls_context(self, _config: object, _default_factory: object) -> ssl.SSLContext:
        if self.component is None:
            raise RuntimeError("only workers do TLS")
        return self.component.tls_context()


class ReviewWorker(PatientWorker):
    """The worker of this program: lets in what has a token, watches its component and takes leave slowly."""

    _drained_at: float | None = None
    _notified_at = float("-inf")

    def notify(self) -> None:
        """Let the parent know that the main loop runs, and look after the component; about once a second."""
        now = time.monotonic()
        if now < self._notified_at + _NOTIFY_SECONDS:
            return
        self._notified_at = now
        super().notify()
        component = self.app.component
        if component is None or not self.alive:
            return
        if dead := component.dead_threads():
            log.error("thread.died", threads=",".join(dead))
            logs.flush()
            # Not sys.exit: it would wait for serving threads, which may wait for the dead one.
            os._exit(FATAL)
        if self._drained_at is not None and now >= self._drained_at:
            super().handle_exit(signal.SIGTERM, None)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """On SIGTERM: not ready now, and the end once the drain is over.

        A signal handler may interrupt its thread inside a lock, so it only sets values; `notify` acts on them.
        """
        if self.app.component is None:
            super().handle_exit(sig, frame)
        elif self._drained_at is None:
            self.app.component.drain()
            self._drained_at = time.monotonic() + self.app.drain_seconds

    def tls_context(self) -> ssl.SSLContext:
        """Return the context of the next handshake."""
        context: ssl.SSLContext = self.app.component.tls_context()
        return context

    def opens(self, path: str) -> bool:
        """Whether a path opens a route."""
        return self.app.component.route(path) is not None

    def identifies(self, path: str) -> bool:
        """Whether a path that opens has a token: the bare route, answered during an upgrade, everybody knows."""
        route: str | None = self.app.component.route(path)
        return route is not None and route != path

    def refusal(self) -> bytes:
        """Return the answer to a path that opens none."""
        return FORBIDDEN if self.app.component.has_tokens else NOT_YET

    def handle_request(self, req: Any, conn: Any) -> Any:
        """Answer one request by its route; while draining, or without a token, close its connection with the answer.

        While draining callers then go elsewhere, and without a token nobody holds a connection. Not by setting
        keepalive to 0: that also closes connections whose last answer said otherwise. From here on the token is
        gone: application, log and metrics know the route alone.
        """
        route = self.app.component.route(req.path)
        if route is None:
            conn.sock.sendall(self.refusal())
            return False
        without_token = not self.identifies(req.path)
        req.path, req.uri = route, f"{route}?{req.query}" if req.query else route
        if self._drained_at is not None or without_token:
            req.force_close()
        return super().handle_request(req, conn)

    def run(self) -> None:
        """Serve until the drain is over, then stop the component."""
        super().run()
        if self.app.component is not None:
            self.app.component.stop()


class _PropagatingLogger(Logger):  # type: ignore[misc]
    """gunicorn's log through the process's own handler and format: no access log, no token, silent when idle."""

    def setup(self, cfg: Config) -> None:
        super().setup(cfg)
        self.error_log.handlers.clear()
        self.error_log.propagate = True
        self.error_log.addFilter(_mask)
        debugging = logging.getLogger().isEnabledFor(logging.DEBUG)
        self.error_log.setLevel(logging.DEBUG if debugging else logging.WARNING)


def _mask(record: logging.LogRecord) -> bool:
    record.msg, record.args = masked(record.getMessage()), ()
    return True


def _heartbeat_directory() -> str | None:
    shared_memory = Path("/dev/shm")  # noqa: S108  gunicorn keeps an unlinked file there
    return str(shared_memory) if os.access(shared_memory, os.W_OK) else None


def _die_with_parent(_arbiter: object, _worker: object) -> None:
    """Have the kernel kill this worker when its parent is killed, so that the port is free for the next one."""
    parent = os.getppid()
    ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(1)

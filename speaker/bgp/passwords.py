"""The passwords of sessions, read from the Secrets that BGPPeers name.

Each is asked for by its name, so that the right to list Secrets is not needed, and only those of BGPPeers that select
this node: a Secret that was read costs a node two requests a minute, one that is missing six. As in MetalLB it is of
the type kubernetes.io/basic-auth, has the key `password`, and is in the installation's namespace
(internal/config/config.go passwordFromSecretForPeer).
"""

from __future__ import annotations

import base64
import binascii
import threading
import time
from collections.abc import Callable, Mapping

from allocator.bgp.inputs import Password
from allocator.kube.client import ApiError, Cluster, NotFound, Object
from allocator.kube.resource import SECRETS
from allocator.objects.bgp_peer_fields import password_from
from allocator.objects.document import InvalidDocument, Problems
from allocator.process.background import Background
from allocator.process.logs import EventLog

log = EventLog("bgp")

REREAD_SECONDS = 30.0
"""How long a new password waits at most: the router gets it as well, and a session bears that for its hold time."""
MISSING_SECONDS = 10.0
"""How long a Secret waits at most that comes later, or could not be read."""
UNREAD_SECONDS = 30.0
"""A Secret that cannot be read for so long counts as asked for: one must not keep a node from beginning."""
_TYPE = "kubernetes.io/basic-auth"
_KEY = "password"
_FORBIDDEN = 403


class PasswordWatch(Background):
    """Reads the Secrets that are needed, again and again, and passes on what has changed.

    `need` replaces which those are, and new ones are read at once; any thread. `on_read` is called on the watch's
    thread with all passwords, the names that were asked for so far, and what is wrong with some of these. The last
    password of a Secret that is deleted, or made unreadable, stays: a session that runs loses nothing. A Secret for
    which the API server fails (5xx, no answer) counts as asked for after UNREAD_SECONDS; a session goes on with the
    password that FRR has.
    """

    def __init__(
        self,
        cluster: Cluster,
        *,
        namespace: str,
        on_read: Callable[[Mapping[str, Password], frozenset[str], Mapping[str, str]], None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        super().__init__("bgp-passwords")
        self._cluster = cluster
        self._namespace = namespace
        self._on_read = on_read
        self._clock = clock
        self._wake = threading.Event()
        self._needed: frozenset[str] = frozenset()
        """Replaced whole by whoever needs; read whole."""
        self._passwords: dict[str, Password] = {}
        self._asked: frozenset[str] = frozenset()
        self._due: dict[str, float] = {}
        """When to read each again."""
        self._unread_since: dict[str, float] = {}
        self._problems: dict[str, str] = {}
        """What is wrong with a Secret as it was last read, in words."""

    def need(self, names: frozenset[str]) -> None:
        """Read these from now on; returns at once."""
        self._needed = names
        self._wake.set()

    def stop(self) -> None:
        """End the thread."""
        self._stopping.set()
        self._wake.set()
        super().stop()

    def _run(self) -> None:
        while not self._stopping.is_set():
            self._wake.clear()
            self._read(self._needed)
            self._wake.wait(max(0.0, min(self._due.values()) - self._clock()) if self._due else None)

    def _read(self, names: frozenset[str]) -> None:
        before = dict(self._passwords), self._asked, dict(self._problems)
        self._passwords = {name: each for name, each in self._passwords.items() if name in names}
        self._problems = {name: each for name, each in self._problems.items() if name in names}
        self._asked &= names
        self._unread_since = {name: since for name, since in self._unread_since.items() if name in names}
        now = self._clock()
        self._due = {name: due for name, due in self._due.items() if name in names}
        for name in sorted(name for name in names if self._due.get(name, now) <= now):
            if self._stopping.is_set():
                return
            problem = ""
            self._due[name] = now + MISSING_SECONDS
            try:
                self._passwords[name] = _password(self._cluster.get(SECRETS, name, self._namespace))
                self._due[name] = now + REREAD_SECONDS
            except InvalidDocument as error:
                problem = str(error)
            except ApiError as error:
                if not isinstance(error, NotFound) and error.status != _FORBIDDEN:
                    since = self._unread_since.setdefault(name, self._clock())
                    log.debug("bgp.secret-unread", secret=name, error=error)
                    if name in self._asked or self._clock() - since < UNREAD_SECONDS:
                        continue
                problem = "is not there (yet)" if isinstance(error, NotFound) else str(error)
            self._asked |= {name}
            self._note(name, problem)
        if (self._passwords, self._asked, self._problems) != before:
            self._on_read(dict(self._passwords), self._asked, dict(self._problems))

    def _note(self, name: str, problem: str) -> None:
        if not problem:
            self._problems.pop(name, None)
        elif self._problems.get(name) != problem:
            log.warning("bgp.secret", secret=f"{self._namespace}/{name}", error=problem)
            self._problems[name] = problem


def _password(secret: Object) -> Password:
    """Return the password of a Secret. Raises InvalidDocument, with nothing of it in the message."""
    problems = Problems()
    if secret.get("type") != _TYPE:
        problems.add("type", f"{secret.get('type') or 'none'} is not {_TYPE}; create the Secret anew with that type")
    text = ""
    try:
        text = base64.b64decode((secret.get("data") or {}).get(_KEY) or "", validate=True).decode()
    except (binascii.Error, UnicodeDecodeError):
        problems.add(f"data.{_KEY}", "is no text")
    else:
        if text:
            password_from({"password": text}, problems, path=f"data.{_KEY}")
        else:
            problems.add(f"data.{_KEY}", "is missing")
    problems.raise_if_any()
    return Password(text)

"""FRR's daemons as processes: how each is started, asked whether it lives, and ended."""

from __future__ import annotations

import logging
import os
import pwd
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from speaker.bgp.vty import Vty, VtyError

_log = logging.getLogger("frr")

PROGRAMS = Path("/usr/lib/frr")
STATE = Path("/run/frr")
"""Where FRR keeps what concerns only its own daemons; some of it cannot be put elsewhere."""

_USER = "frr"
_ANSWER_SECONDS = 1.0
_POLL_SECONDS = 0.02


class CannotStart(Exception):
    """FRR is not to be started, or does not start; the message says why and what to do."""


@dataclass(frozen=True, slots=True)
class Plan:
    """One daemon: its options, and whether it needs the capabilities of root's start."""

    name: str
    options: tuple[str, ...] = ()
    unprivileged: bool = False


PLANS = (
    Plan("mgmtd"),
    Plan("zebra", ("-f", "/dev/null")),
    Plan("bfdd", ("-f", "/dev/null")),
    # Nodes dial: it listens nowhere, and then needs no capability and no change of user by itself.
    Plan("bgpd", ("-f", "/dev/null", "-S", "-p", "0"), unprivileged=True),
)
"""In the order of starting. mgmtd, which FRR 8.4 has not, has no file to read."""


class Daemon:
    """One daemon's process, started anew after each end. Belongs to the supervisor's thread."""

    def __init__(self, plan: Plan, sockets: Path, group: int) -> None:
        self.name = plan.name
        self._plan = plan
        self._sockets = sockets
        self._group = group
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def socket(self) -> Path:
        """Where it takes commands."""
        return self._sockets / f"{self.name}.vty"

    @property
    def exit_code(self) -> int | None:
        """How it ended; None while it runs."""
        return self._process.poll() if self._process is not None else None

    def start(self, *, within_seconds: float) -> None:
        """Start it and wait until it answers. Raises CannotStart."""
        account = pwd.getpwnam(_USER)
        words = [
            str(PROGRAMS / self.name),
            *("--vty_socket", str(self._sockets), "-z", str(self._sockets / "zserv.api")),
            *("-i", str(STATE / f"{self.name}.pid")),
            # No TCP port for commands, which each daemon would otherwise have on every address of the node.
            *("-P", "0", "--log", "stdout", "--log-level", "informational"),
            *self._plan.options,
        ]
        try:
            if not self._plan.unprivileged:
                self._process = subprocess.Popen([*words, "-u", _USER, "-g", _USER])
            elif account.pw_uid == os.geteuid():
                self._process = subprocess.Popen(words)
            else:
                self._process = subprocess.Popen(words, user=account.pw_uid, group=self._group, extra_groups=[])
        except OSError as error:
            raise CannotStart(f"{self.name} cannot be started: {error}") from error
        deadline = time.monotonic() + within_seconds
        while not self.answers():
            if self.exit_code is not None:
                raise CannotStart(f"{self.name} ended with {self.exit_code} at its start; its log is above")
            if time.monotonic() > deadline:
                self.kill()
                raise CannotStart(f"{self.name} did not answer within {within_seconds:.0f} s of its start")
            time.sleep(_POLL_SECONDS)

    def answers(self) -> bool:
        """Ask whether it lives; takes a second at most."""
        try:
            Vty(self.socket, timeout_seconds=_ANSWER_SECONDS).close()
        except VtyError:
            return False
        return True

    def socket_inodes(self) -> frozenset[int] | None:
        """Return the inodes of the sockets that it has open; None where that cannot be read."""
        if self._process is None:
            return frozenset()
        folder, links = Path(f"/proc/{self._process.pid}/fd"), []
        user = pwd.getpwnam(_USER).pw_uid
        try:
            # Without the capability SYS_PTRACE only who has its user and group may read them.
            with _as_user(user, self._group if user != os.geteuid() else None):
                for each in folder.iterdir():
                    with suppress(FileNotFoundError):
                        links.append(str(each.readlink()))
        except FileNotFoundError:
            return frozenset()
        except OSError as error:
            _log.debug("the sockets of %s cannot be read: %s", self.name, error)
            return None
        return frozenset(int(link[8:-1]) for link in links if link.startswith("socket:["))

    def end(self, within_seconds: float) -> None:
        """SIGTERM it, and after a time SIGKILL."""
        if self._process is None:
            return
        self._signal(signal.SIGTERM)
        try:
            self._process.wait(within_seconds)
        except subprocess.TimeoutExpired:
            self.kill()

    def kill(self) -> None:
        """SIGKILL it and wait for its end."""
        if self._process is not None:
            self._signal(signal.SIGKILL)
            self._process.wait()

    def _signal(self, number: signal.Signals) -> None:
        process = self._process
        if process is None or process.poll() is not None:
            return
        # It is of another user by now, and root may end only its own without the capability KILL.
        with _as_user(pwd.getpwnam(_USER).pw_uid), suppress(ProcessLookupError):
            process.send_signal(number)


@contextmanager
def _as_user(user: int, group: int | None = None) -> Iterator[None]:
    own, own_group = os.geteuid(), os.getegid()
    try:
        if group is not None:
            os.setegid(group)
        os.seteuid(user)
        yield
    finally:
        os.seteuid(own)
        os.setegid(own_group)

"""bgpd and bfdd of one release of FRR, in a network namespace of their own, without zebra: nothing gets routed."""

from __future__ import annotations

import re
import shutil
import tempfile
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Self

from tests.frr.commands import Commands
from tests.frr.vty import Reply, Vty
from tests.lab import namespaces
from tests.lab.debian_root import DebianRoot
from tests.lab.processes import Process

_STARTED_SECONDS = 20.0
_PROGRAMS = "/usr/lib/frr"
_SOCKETS = "/run/frr"
_OPTIONS: dict[str, tuple[str, ...]] = {
    # No listener, no privileges: as the daemon of a node runs.
    "bgpd": ("-S", "-p", "0", "-Z"),
    "bfdd": (),
}


class Daemons:
    """Both daemons, started by `with` and ended with it; `bgpd` and `bfdd` are connections to them."""

    bgpd: Vty
    bfdd: Vty

    def __init__(self, release: str, root: DebianRoot, logs: Path) -> None:
        self.release = release
        self._root = root
        self._logs = logs
        self._ending = ExitStack()

    def __enter__(self) -> Self:
        with ExitStack() as starting:
            # In /run, as the path of a socket may have 107 bytes.
            sockets = Path(tempfile.mkdtemp(prefix=f"frr-{self.release}-", dir="/run"))
            starting.callback(shutil.rmtree, sockets)
            netns = f"frr-{self.release}"
            starting.callback(namespaces.remove, namespaces.create(netns))
            processes = {daemon: self._start(daemon, sockets, netns) for daemon in _OPTIONS}
            for process in processes.values():
                starting.callback(process.sigkill)
            self.bgpd, self.bfdd = (
                starting.enter_context(_connected(process, sockets / f"{daemon}.vty"))
                for daemon, process in processes.items()
            )
            self._ending = starting.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ending.close()

    def refusals(self, commands: Commands) -> list[Reply]:
        """Send the commands, and return the answers to those that had no effect; then take all back.

        Beside the answers its configuration is read: FRR answers `graceful-restart` as if it did not take it, and
        stores other commands otherwise than they were sent, without a word.
        """
        found = []
        if commands.bgpd:
            found += _without_effect(self.bgpd, commands.bgpd)
            self.bgpd.configure(*commands.undone_by)
        if commands.bfdd:
            found += _without_effect(self.bfdd, commands.bfdd)
            self.bfdd.configure("no bfd")
        return found

    def _start(self, daemon: str, sockets: Path, netns: str) -> Process:
        arguments = [
            *("-u", "root", "-g", "root", "-f", "/dev/null"),
            *("-P", "0", "-i", f"{_SOCKETS}/{daemon}.pid", "--vty_socket", _SOCKETS, "--log", "stdout"),
            *_OPTIONS[daemon],
        ]
        command = self._root.command(f"{_PROGRAMS}/{daemon}", *arguments, binds={sockets: _SOCKETS})
        return Process(command, log=self._logs / f"{daemon}-{self.release}.log", name=daemon, netns=netns)


def _connected(process: Process, path: Path) -> Vty:
    return process.wait_until(
        lambda: Vty(path), _STARTED_SECONDS, "its socket takes a connection", retry_on=(OSError,)
    )


def _without_effect(vty: Vty, commands: tuple[str, ...]) -> list[Reply]:
    replies = vty.configure(*commands)
    stored = {line.strip() for line in vty.run("show running-config").text.splitlines()}
    return [reply for reply in replies if not _has_effect(reply, stored)]


def _has_effect(reply: Reply, stored: set[str]) -> bool:
    if reply.refused and not reply.command.endswith(" graceful-restart"):
        return False
    return reply.command in stored or not _STORED_AS_SENT.match(reply.command)


_STORED_AS_SENT = re.compile(r"profile |neighbor \S+ (?!activate|port 179$|ebgp-multihop|timers \d+ \d)")
"""All but defaults, which FRR does not show, and keepalive times over a third of the hold time, which it lowers."""

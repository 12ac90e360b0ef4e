"""FRR's daemons in a network namespace, as on a node (they dial only) or as a router; killed one by one."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

from tests.lab.debian_root import DebianRoot
from tests.lab.processes import Process

_PROGRAMS = "/usr/lib/frr"
_SOCKETS = "/run/frr"
_STARTED_SECONDS = 20.0

NODE: Mapping[str, tuple[str, ...]] = {"mgmtd": (), "zebra": (), "bgpd": ("-S", "-p", "0"), "bfdd": ()}
"""As a node has them: bgpd without a listener and without capabilities.

bgpd alone (`-Z`) knows of no interface: 10.3 then refuses the second family on a session ("No local IPv6 address"),
and BFD has nobody to carry its messages.
"""

ROUTER: Mapping[str, tuple[str, ...]] = {"mgmtd": (), "zebra": ("--v6-rr-semantics",), "bgpd": (), "bfdd": ()}
"""As a router has them: routes go into the kernel's table. Those that a release has not are left out.

Without the option zebra of 8.4 deletes an IPv6 route to change it, and adds another: no route could be seen to stay.
"""
_WITHOUT_FILE = frozenset({"mgmtd"})


class FrrDaemons:
    """Daemons of one instance; its sockets are in `sockets`. `with` ends what was started."""

    def __init__(
        self, root: DebianRoot, *, netns: str, logs: Path, daemons: Mapping[str, Sequence[str]] = NODE
    ) -> None:
        self._root = root
        self._netns = netns
        self._logs = logs
        self._options = {name: options for name, options in daemons.items() if self._has(name)}
        # In /run, as the path of a socket may have 107 bytes.
        self.sockets = Path(tempfile.mkdtemp(prefix="frr-", dir="/run"))
        self.processes: dict[str, Process] = {}

    def __enter__(self) -> Self:
        try:
            for daemon in self._options:
                self.start(daemon)
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Kill all daemons and remove their sockets."""
        for daemon in list(self.processes):
            self.kill(daemon)
        shutil.rmtree(self.sockets, ignore_errors=True)

    def start(self, daemon: str) -> None:
        """Start a daemon and wait for its socket."""
        arguments = [
            *("-u", "root", "-g", "root"),
            *(() if daemon in _WITHOUT_FILE else ("-f", "/dev/null")),
            *("-i", f"{_SOCKETS}/{daemon}.pid", "--vty_socket", _SOCKETS, "--log", "stdout"),
            *self._options[daemon],
        ]
        command = self._root.command(f"{_PROGRAMS}/{daemon}", *arguments, binds={self.sockets: _SOCKETS})
        path = self.sockets / f"{daemon}.vty"
        path.unlink(missing_ok=True)
        process = Process(command, log=self._logs / f"{daemon}.log", name=daemon, netns=self._netns)
        self.processes[daemon] = process
        process.wait_until(path.exists, _STARTED_SECONDS, "its socket is there")

    def start_missing(self) -> None:
        """Start the daemons that do not run."""
        for daemon in self._options:
            if daemon not in self.processes:
                self.start(daemon)

    def restart(self) -> None:
        """Kill all daemons and start them again, without any configuration."""
        for daemon in list(self.processes):
            self.kill(daemon)
        self.start_missing()

    def kill(self, daemon: str) -> None:
        """SIGKILL a daemon."""
        self.processes.pop(daemon).sigkill()

    def _has(self, daemon: str) -> bool:
        return (self._root.path / _PROGRAMS.lstrip("/") / daemon).exists()

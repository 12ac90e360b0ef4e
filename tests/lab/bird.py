"""BIRD 2 as a router: sessions from nodes, routes into the kernel's table, and what it says of both."""

from __future__ import annotations

import re
import shutil
import socket
import tempfile
from pathlib import Path
from types import TracebackType
from typing import Self

from tests.lab.debian_root import DebianRoot
from tests.lab.processes import Process
from tests.lab.waiting import wait_until

_RUN = "/run/bird"
_SECONDS = 20.0
_PART_BYTES = 1 << 16

CONFIGURATION = """
log stderr all;
router id {router_id};
protocol device {{}}
protocol kernel {{ ipv4 {{ export all; }}; merge paths on; }}
protocol kernel {{ ipv6 {{ export all; }}; merge paths on; }}
{sessions}
"""

SESSION = """
protocol bgp {name} {{
  local as {local_asn};
  neighbor {neighbor} as {asn};
  passive on;
  # Its defaults keep a session down for a minute after a reset.
  error wait time 1,2;
  connect delay time 1;
  ipv4 {{ import all; export none; }};
  ipv6 {{ import all; export none; }};
{more}
}}
"""


class Bird:
    """One BIRD in a network namespace; `with` ends it. `sessions` are `protocol` blocks."""

    def __init__(self, root: DebianRoot, *, netns: str, logs: Path, router_id: str, sessions: str) -> None:
        self._folder = Path(tempfile.mkdtemp(prefix="bird-", dir="/run"))
        text = CONFIGURATION.format(router_id=router_id, sessions=sessions)
        (self._folder / "bird.conf").write_text(text)
        arguments = ["-f", "-c", f"{_RUN}/bird.conf", "-s", f"{_RUN}/bird.ctl", "-P", f"{_RUN}/bird.pid"]
        self._command = root.command("/usr/sbin/bird", *arguments, binds={self._folder: _RUN})
        self._log = logs / "bird.log"
        self._netns = netns
        try:
            self.start()
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def start(self) -> None:
        """Start it, after `stop` as well."""
        socket_path = self._folder / "bird.ctl"
        socket_path.unlink(missing_ok=True)
        self.process = Process(self._command, log=self._log, name="bird", netns=self._netns)
        self.process.wait_until(socket_path.exists, _SECONDS, "its control socket is there")

    def stop(self) -> None:
        """Kill it; the routes that it entered stay in the kernel."""
        self.process.sigkill()

    def close(self) -> None:
        """Kill it and remove its socket."""
        self.stop()
        shutil.rmtree(self._folder, ignore_errors=True)

    def ask(self, command: str) -> str:
        """Return what BIRD answers a command (BIRD's doc/reply_codes: a line with code and blank ends it)."""
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(_SECONDS)
            connection.connect(str(self._folder / "bird.ctl"))
            self._answer(connection)
            connection.sendall(f"{command}\n".encode())
            return self._answer(connection)

    def established(self, name: str) -> bool:
        """Return whether a session is up."""
        return "Established" in self.ask(f"show protocols {name}")

    def route_count(self, table: str = "master4") -> int:
        """Return how many routes BGP brought into a table."""
        answer = self.ask(f"show route table {table} where source = RTS_BGP count")
        found = re.search(r"(\d+) of \d+ routes", answer)
        if found is None:
            raise ValueError(f"BIRD answers {answer!r}")
        return int(found.group(1))

    def route(self, prefix: str) -> str:
        """Return all that is known of a prefix."""
        return self.ask(f"show route {prefix} all")

    def updates_received(self, name: str) -> int:
        """Return how many routes a session brought, added up over its families: repetitions count."""
        answer = self.ask(f"show protocols all {name}")
        return sum(int(each) for each in re.findall(r"Import updates:\s+(\d+)", answer))

    def withdrawals_received(self, name: str) -> int:
        """Return how many withdrawals a session brought."""
        answer = self.ask(f"show protocols all {name}")
        return sum(int(each) for each in re.findall(r"Import withdraws:\s+(\d+)", answer))

    def wait_established(self, name: str, seconds: float = _SECONDS) -> None:
        """Wait until a session is up."""
        wait_until(lambda: self.established(name), seconds, f"{name} is established at BIRD")

    @staticmethod
    def _answer(connection: socket.socket) -> str:
        received = b""
        while not re.search(rb"(?:^|\n)\d{4} [^\n]*\n\Z", received):
            part = connection.recv(_PART_BYTES)
            if not part:
                break
            received += part
        return received.decode(errors="replace")

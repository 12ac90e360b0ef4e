"""What a storm of Services costs: processor time by program, and writes by whoever makes them."""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from tests.bench.memory import process_tree

_WRITES = frozenset({"create", "update", "patch", "delete"})
_TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK")
_PROXY = "kube-proxy"
_LAB = "clients, kubelets and ended containers"
"""This process: what the lab's nodes and the storm's clients run in. A container that is restarted counts here from
then on, and what its next process uses as the program's."""


@dataclass(frozen=True, slots=True)
class ProgramTimes:
    """Processor seconds used so far, by program."""

    seconds: Mapping[str, float]

    @classmethod
    def of(cls, programs: Iterable[tuple[str, int]]) -> ProgramTimes:
        """Read those of programs, each with its name and pid, and of this one; children that have ended included."""
        seconds: dict[str, float] = {}
        for name, pid in programs:
            # The same program of every node and replica is one.
            program = name.rpartition("/")[2]
            seconds[program] = seconds.get(program, 0.0) + sum(map(_used, process_tree(pid)))
        own = os.times()
        seconds[_LAB] = own.user + own.system + own.children_user + own.children_system
        return cls(seconds)

    def __sub__(self, earlier: ProgramTimes) -> ProgramTimes:
        return ProgramTimes({name: used - earlier.seconds.get(name, 0.0) for name, used in self.seconds.items()})

    @property
    def without_proxies(self) -> float:
        """All of it but kube-proxy's, whose share follows the time that a storm takes."""
        return sum(used for name, used in self.seconds.items() if name != _PROXY)

    def each(self, services: int) -> str:
        """Say what each program has used for a Service, the most first."""
        most_first = sorted(self.seconds.items(), key=lambda item: -item[1])
        parts = (f"{name} {1000 * used / services:.1f}" for name, used in most_first if used)
        return ", ".join(parts) + " ms"


def _used(pid: int) -> float:
    """What a process has used, and those of its children that have ended (kube-proxy runs iptables-restore)."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except FileNotFoundError:
        return 0.0
    fields = stat.rpartition(")")[2].split()
    return sum(map(int, fields[11:15])) / _TICKS_PER_SECOND


@dataclass(frozen=True, slots=True)
class WritesByUser:
    """Requests that wrote or tried to, Leases apart, by user and kind: `create events`, `patch services/status`."""

    counts: Mapping[tuple[str, str], int]

    @classmethod
    def logged(cls, log: Path) -> WritesByUser:
        """Read an audit log."""
        counts: Counter[tuple[str, str]] = Counter()
        # The last line may still be on its way.
        for line in log.read_text().rpartition("\n")[0].splitlines():
            event = json.loads(line)
            reference = event.get("objectRef") or {}
            if event["stage"] != "ResponseComplete" or event["verb"] not in _WRITES:
                continue
            if reference.get("resource") == "leases":
                continue
            kind = "/".join(filter(None, (reference.get("resource"), reference.get("subresource"))))
            refused = "" if event["responseStatus"]["code"] < 400 else f" ({event['responseStatus']['code']})"
            counts[event["user"]["username"].rpartition(":")[2], f"{event['verb']} {kind}{refused}"] += 1
        return cls(counts)

    def total(self) -> int:
        """Count all of them."""
        return sum(self.counts.values())

    def each(self, services: int) -> str:
        """Say how many of each kind come to a Service, the most first."""
        listed = sorted(self.counts.items(), key=lambda item: -item[1])
        return "; ".join(f"{user}: {kind} {count / services:.2f}" for (user, kind), count in listed)

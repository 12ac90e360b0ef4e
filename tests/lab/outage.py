"""What a client sees of an outage: a request loop beside the cluster, and what it counted."""

from __future__ import annotations

import json
import sys
import tempfile
from collections import Counter
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Self

from tests.lab.container import PROJECT, base_environment
from tests.lab.network import Host
from tests.lab.processes import Process
from tests.lab.waiting import wait_until

_START_SECONDS = 15.0


@dataclass(frozen=True, slots=True)
class Failure:
    """One request that got no 200: when it started and ended (CLOCK_MONOTONIC seconds), and why."""

    started: float
    ended: float
    reason: str


@dataclass(frozen=True, slots=True)
class Gap:
    """A time in which no request succeeded, from one success to the next (CLOCK_MONOTONIC seconds)."""

    begun: float
    ended: float

    @property
    def milliseconds(self) -> float:
        """Its length."""
        return (self.ended - self.begun) * 1000


@dataclass(frozen=True, slots=True)
class Report:
    """Everything one loop of requests met.

    `successes` are the times at which successful requests ended, in order; `latest_start_seconds` is by how much
    the loop itself was late at worst: a gap of that size may be the measuring machine's own.
    """

    begun: float
    ended: float
    successes: tuple[float, ...]
    failures: tuple[Failure, ...]
    latest_start_seconds: float

    @property
    def requests(self) -> int:
        """How many requests were made."""
        return len(self.successes) + len(self.failures)

    @property
    def gaps(self) -> list[Gap]:
        """Every time between successes, the loop's own begin and end counting as such: nothing is cut off."""
        inside = [instant for instant in self.successes if instant < self.ended]
        edges = [self.begun, *inside, self.ended]
        return [Gap(begun, ended) for begun, ended in pairwise(edges)]

    @property
    def longest_gap(self) -> Gap:
        """The longest time without a success."""
        return max(self.gaps, key=lambda gap: gap.ended - gap.begun)

    @property
    def longest_gap_ms(self) -> float:
        """The length of the longest time without a success."""
        return self.longest_gap.milliseconds

    def summary(self) -> str:
        """Return one line for people."""
        reasons = ", ".join(f"{count} x {what}" for what, count in Counter(f.reason for f in self.failures).items())
        return (
            f"{self.requests} requests, {len(self.failures)} failed{f' ({reasons})' if reasons else ''}, "
            f"longest gap {self.longest_gap_ms:.0f} ms"
        )


class OutageMeter:
    """Runs a request loop on a host: `with meter: ...`, then `meter.report`.

    The block begins once the first request is under way. Owned by one thread.
    """

    def __init__(
        self,
        host: Host,
        url: str,
        *,
        rate_per_second: float = 100.0,
        connect_seconds: float = 1.0,
        read_seconds: float = 1.0,
    ) -> None:
        self._host = host
        self._url = url
        self._options = [f"--rate={rate_per_second}", f"--connect-seconds={connect_seconds}"]
        self._options.append(f"--read-seconds={read_seconds}")
        self._last_answer_seconds = connect_seconds + read_seconds
        self._report: Report | None = None

    def __enter__(self) -> Self:
        self._directory = tempfile.TemporaryDirectory(prefix="admitlb-outage-")
        folder = Path(self._directory.name)
        started = folder / "started"
        self._report_file = folder / "report.json"
        self._process = Process(
            [
                sys.executable,
                "-m",
                "tests.lab.request_loop",
                f"--url={self._url}",
                f"--started={started}",
                f"--report={self._report_file}",
                *self._options,
            ],
            log=folder / "log",
            env=base_environment(),
            netns=self._host.name,
            cwd=PROJECT,
        )
        self._process.wait_until(started.exists, _START_SECONDS, f"requests to {self._url} begin")
        return self

    def __exit__(self, *_: object) -> None:
        try:
            self._process.terminate(self._last_answer_seconds + 5.0)
            wait_until(self._report_file.exists, 1.0, f"the request loop reports: {self._process.log_tail()}")
            self._report = _read(self._report_file)
        finally:
            self._directory.cleanup()

    @property
    def report(self) -> Report:
        """What was met; there is one once the block has ended."""
        if self._report is None:
            raise RuntimeError("the request loop still runs")
        return self._report


def _read(path: Path) -> Report:
    document = json.loads(path.read_text())
    records = sorted(document["records"], key=lambda record: record[1])
    return Report(
        begun=document["begun"],
        ended=document["ended"],
        successes=tuple(ended for _, ended, reason in records if reason is None),
        failures=tuple(Failure(*record) for record in records if record[2] is not None),
        latest_start_seconds=document["latest_start_seconds"],
    )

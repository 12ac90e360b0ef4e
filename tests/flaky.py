"""A pytest plugin for the run that repeats what failed: what passes now is flaky, is named and is written down.

`.ci/run` uses it with `--last-failed`. Each flaky test is a line of `build/flaky.txt`: the time, then its name.
"""

from __future__ import annotations

import time
from collections.abc import Iterable
from pathlib import Path

import pytest

RECORD = Path("build", "flaky.txt")
"""Below pytest's root folder."""


def passed(reports: Iterable[pytest.TestReport]) -> list[str]:
    """Return the tests of which every part passed, in the order in which they ran."""
    seen: dict[str, bool] = {}
    for report in reports:
        seen[report.nodeid] = seen.get(report.nodeid, True) and report.passed
    return [nodeid for nodeid, sound in seen.items() if sound]


class SecondRun:
    """Collects the reports of the second run; registered where those of all workers arrive."""

    def __init__(self, record: Path) -> None:
        self._record = record
        self._reports: list[pytest.TestReport] = []

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Keep the report."""
        self._reports.append(report)

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        """Name what failed before and passed now, and write it down."""
        flaky = passed(self._reports)
        if not flaky:
            return
        terminalreporter.section(f"flaky: {len(flaky)} failed in the first run and passed in the second")
        for nodeid in flaky:
            terminalreporter.line(nodeid)
        terminalreporter.line(f"(written down in {self._record})")
        self._record.parent.mkdir(exist_ok=True)
        now = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        with self._record.open("a") as record:
            record.writelines(f"{now} {nodeid}\n" for nodeid in flaky)


def pytest_configure(config: pytest.Config) -> None:
    """Register the collection in the process that prints the summary."""
    if not hasattr(config, "workerinput"):
        config.pluginmanager.register(SecondRun(config.rootpath / RECORD), "admitlb-flaky")

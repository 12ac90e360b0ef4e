"""A pytest plugin: writes down how long each test file took, and says at the end where the time went.

A whole run leaves `build/durations.txt`, one line a file: seconds, then the path. What is committed beside this
module is such a file of an idle machine with two cores; `make test` starts the longest files first by the two.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from pathlib import Path

import pytest

COMMITTED = Path(__file__).with_name("durations.txt")
LATEST = Path("build", "durations.txt")
"""Below pytest's root folder."""
UNKNOWN_SECONDS = 5.0
"""What a file counts that no run has written down yet: more than most unit tests, less than what starts a cluster."""
_SLOWEST = 15


def file_of(nodeid: str) -> str:
    """Return the path of the file that a test is in."""
    return nodeid.split("::", 1)[0]


def tier_of(file: str) -> str:
    """Return the folder below `tests` that a file is in."""
    return "/".join(file.split("/")[:2])


def known(root: Path) -> dict[str, float]:
    """Return the seconds of each file that was written down; those of the latest run in `root` go first."""
    return read(COMMITTED) | read(root / LATEST)


def read(path: Path) -> dict[str, float]:
    """Return the seconds by file; nothing where there is no such file."""
    if not path.exists():
        return {}
    pairs = (line.split(maxsplit=1) for line in path.read_text().splitlines() if line and not line.startswith("#"))
    return {file: float(seconds) for seconds, file in pairs}


def write(path: Path, seconds: Mapping[str, float]) -> None:
    """Write the seconds by file, longest first."""
    path.parent.mkdir(exist_ok=True)
    lines = [f"{taken:7.1f} {file}\n" for file, taken in sorted(seconds.items(), key=lambda each: -each[1])]
    path.write_text("".join(lines))


def summary(seconds: Mapping[str, float]) -> list[str]:
    """Return the lines that say where the time went, by folder and by file."""
    tiers: Counter[str] = Counter()
    for file, taken in seconds.items():
        tiers[tier_of(file)] += taken  # type: ignore[assignment]  # seconds are counted, not occurrences
    by_tier = ", ".join(f"{tier} {taken:.0f} s" for tier, taken in tiers.most_common())
    slowest = sorted(seconds.items(), key=lambda each: -each[1])[:_SLOWEST]
    return [by_tier, *(f"{taken:7.1f} s {file}" for file, taken in slowest)]


class Durations:
    """Adds up what the reports say. Registered where reports of all workers arrive."""

    def __init__(self, latest: Path | None) -> None:
        """`latest` is where to keep what was measured; None where the run leaves out tests of its files."""
        self._latest = latest
        self._seconds: dict[str, float] = {}

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Count set-up, call and teardown of a test."""
        file = file_of(report.nodeid)
        self._seconds[file] = self._seconds.get(file, 0.0) + report.duration

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter, exitstatus: int) -> None:
        """Print where the time went, and write it down unless the run was cut short."""
        if not self._seconds:
            return
        terminalreporter.section("time by folder and by file")
        for line in summary(self._seconds):
            terminalreporter.line(line)
        if self._latest is not None and exitstatus in (pytest.ExitCode.OK, pytest.ExitCode.TESTS_FAILED):
            write(self._latest, read(self._latest) | self._seconds)


def pytest_configure(config: pytest.Config) -> None:
    """Register the count in the process that prints the summary."""
    if not hasattr(config, "workerinput"):
        option = config.option
        chosen = option.keyword or option.markexpr or option.deselect or option.lf
        whole = not chosen and not any("::" in argument for argument in config.args)
        config.pluginmanager.register(Durations(config.rootpath / LATEST if whole else None), "admitlb-durations")

"""A pytest plugin: prints each failure when it happens, so that a run that is cut short has named what failed."""

from __future__ import annotations

import pytest

_LINE_CHARACTERS = 300


def line(report: pytest.TestReport) -> str:
    """Return the test, its worker where there are several, the phase that failed, and the first line of why."""
    worker = getattr(report, "worker_id", "")
    crash = getattr(report.longrepr, "reprcrash", None)
    reason = (crash.message if crash else str(report.longrepr)).strip().partition("\n")[0]
    where = " ".join(word for word in (worker, report.when) if word)
    return f"FAILED {report.nodeid} ({where}): {reason}"[:_LINE_CHARACTERS]


class Failures:
    """Prints; registered where the reports of all workers arrive."""

    def __init__(self, config: pytest.Config) -> None:
        self._config = config

    @pytest.hookimpl(trylast=True)
    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Print a failure on a line of its own, between the dots."""
        if report.failed:
            terminal = self._config.pluginmanager.getplugin("terminalreporter")
            terminal.write(f"\n{line(report)}\n", flush=True, red=True)


def pytest_configure(config: pytest.Config) -> None:
    """Register the printer in the process that prints the dots."""
    if not hasattr(config, "workerinput"):
        config.pluginmanager.register(Failures(config), "admitlb-failures")

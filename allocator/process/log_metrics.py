"""What a process measures of its own log. Apart from the log itself: `lint` logs too, and must start at once."""

from __future__ import annotations

from collections.abc import Iterator

from prometheus_client.core import CounterMetricFamily, Metric
from prometheus_client.registry import Collector

from allocator.process.log_thread import LogThread


class DroppedLines(Collector):
    """The metric that counts what a log's thread had to drop."""

    def __init__(self, thread: LogThread | None) -> None:
        """Without a thread nothing is dropped."""
        self._thread = thread

    def collect(self) -> Iterator[Metric]:
        """Report it."""
        yield CounterMetricFamily(
            "admitlb_log_lines_dropped",
            "Log lines dropped because standard error was not read fast enough",
            value=0 if self._thread is None else self._thread.dropped,
        )

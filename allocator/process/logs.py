"""Structured logs: one event, one line, `key=value`; every state change of an address can be grepped by it."""

from __future__ import annotations

import logging
import sys

from allocator.process.log_levels import LEVELS
from allocator.process.log_line import LogLine
from allocator.process.log_thread import LogThread, log_exceptions


def configure(level: str = "info", *, as_json: bool = False) -> None:
    """Send every log line of the process to standard error in one format, at `level` and above.

    Whoever logs writes: see `write_in_background`.
    """
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_Formatter(as_json=as_json))
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(LEVELS[level])
    # The transport logs each retried connection; our own line says what it means for us.
    logging.getLogger("urllib3").setLevel(logging.ERROR)


def write_in_background() -> LogThread:
    """Have a thread write every line from now on, exceptions and warnings included; after `configure`.

    For a lasting process, after its last fork. What waits at its end is written by `logging.shutdown`, which Python
    calls, or by `flush` before `os._exit`. Raises OSError where there is no standard error.
    """
    thread = LogThread(sys.stderr.fileno(), LogLine.text)
    thread.start()
    logging.getLogger().handlers[:] = [thread]
    log_exceptions()
    return thread


def flush() -> None:
    """Wait, at most two seconds, until everything logged until now is written."""
    for handler in logging.getLogger().handlers:
        handler.flush()


class EventLog:
    """A named log whose lines are events with fields: `log.info("address.bound", ip="192.0.2.1")`."""

    def __init__(self, name: str) -> None:
        self._logger = logging.getLogger(name)

    def debug(self, event: str, /, **fields: object) -> None:
        """An event only someone hunting a defect wants to see."""
        self._emit(logging.DEBUG, event, fields)

    def info(self, event: str, /, **fields: object) -> None:
        """A change of state; an idle cluster emits none."""
        self._emit(logging.INFO, event, fields)

    def warning(self, event: str, /, **fields: object) -> None:
        """Something that heals by itself or by the user's next change, but should be seen."""
        self._emit(logging.WARNING, event, fields)

    def error(self, event: str, /, **fields: object) -> None:
        """Something that will not heal without a person."""
        self._emit(logging.ERROR, event, fields)

    def exception(self, event: str, /, **fields: object) -> None:
        """An unexpected exception, with its trace."""
        self._logger.error(event, extra={"fields": fields}, exc_info=True)

    def _emit(self, level: int, event: str, fields: dict[str, object]) -> None:
        if self._logger.isEnabledFor(level):
            self._logger.log(level, event, extra={"fields": fields})


class _Formatter(logging.Formatter):
    def __init__(self, *, as_json: bool) -> None:
        super().__init__()
        self._as_json = as_json

    def format(self, record: logging.LogRecord) -> str:
        line = LogLine.of(record)
        return line.json() if self._as_json else line.text()

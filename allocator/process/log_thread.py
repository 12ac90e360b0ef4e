"""The thread that writes the log: a slow or full standard error delays nobody who logs."""

from __future__ import annotations

import logging
import os
import queue
import select
import sys
import threading
import time
from collections.abc import Callable
from types import TracebackType

from allocator.process.log_line import LogLine

WAITING_LINES = 8192
"""How many lines wait at most: one change of an address each of 5,000 addresses, with room for others."""
FLUSH_SECONDS = 2.0
"""How long an ending process waits at most for its last lines to be taken."""
_LINES_A_WRITE = 64

log = logging.getLogger("log")


class LogThread(logging.Handler):
    """Queues lines and has one thread render and write them to a descriptor, in order.

    Beyond `limit` waiting lines new ones are dropped; how many, the next line written reports. `_dropped` is guarded
    by the handler's lock, `_reported` belongs to the thread.
    """

    def __init__(self, descriptor: int, render: Callable[[LogLine], str], *, limit: int = WAITING_LINES) -> None:
        super().__init__()
        self._descriptor = descriptor
        self._render = render
        self._limit = limit
        self._waiting: queue.SimpleQueue[LogLine | threading.Event] = queue.SimpleQueue()
        self._dropped = 0
        self._reported = 0
        self._thread = threading.Thread(target=self._run, name="log", daemon=True)

    def start(self) -> None:
        """Begin writing."""
        self._thread.start()

    @property
    def alive(self) -> bool:
        """Whether the thread still runs."""
        return self._thread.is_alive()

    @property
    def dropped(self) -> int:
        """How many lines were dropped because too many waited."""
        return self._dropped

    def emit(self, record: logging.LogRecord) -> None:
        """Queue the record, or count it as dropped. Never waits; a signal handler may call it."""
        if self._waiting.qsize() >= self._limit:
            self._dropped += 1
            return
        self._waiting.put(LogLine.of(record))

    def flush(self) -> None:
        """Wait until everything queued until now is written, at most FLUSH_SECONDS; `logging.shutdown` calls it."""
        if self.alive and threading.current_thread() is not self._thread:
            written = threading.Event()
            self._waiting.put(written)
            written.wait(FLUSH_SECONDS)

    def _run(self) -> None:
        while True:
            batch = [self._waiting.get()]
            while len(batch) < _LINES_A_WRITE and not self._waiting.empty():
                batch.append(self._waiting.get())
            lines = [self._render(each) for each in batch if isinstance(each, LogLine)]
            if dropped := self._dropped - self._reported:
                self._reported += dropped
                lines.append(self._render(_lines_dropped(dropped)))
            self._write("".join(f"{line}\n" for line in lines).encode(errors="backslashreplace"))
            for each in batch:
                if isinstance(each, threading.Event):
                    each.set()

    def _write(self, data: bytes) -> None:
        rest = memoryview(data)
        while rest:
            try:
                rest = rest[os.write(self._descriptor, rest) :]
            except BlockingIOError:
                # Whoever gave us the descriptor made it non-blocking.
                select.select([], [self._descriptor], [])
            except OSError:
                # Nobody reads any more: there is nowhere left to report it.
                return


def log_exceptions() -> None:
    """Have what Python prints to standard error by itself go through the log: printing would wait for a reader.

    That is exceptions that end a thread or the process, exceptions that nobody can catch, and warnings.
    """

    def in_thread(arguments: threading.ExceptHookArgs) -> None:
        if arguments.exc_value is not None and arguments.exc_type is not SystemExit:
            name = arguments.thread.name if arguments.thread is not None else None
            _failed("thread.failed", arguments.exc_value, thread=name)

    def in_process(_kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
        _failed("process.failed", error.with_traceback(trace))

    def unraisable(arguments: sys.UnraisableHookArgs) -> None:
        if arguments.exc_value is not None:
            _failed("exception.ignored", arguments.exc_value, where=arguments.object)

    threading.excepthook = in_thread
    sys.excepthook = in_process
    sys.unraisablehook = unraisable
    logging.captureWarnings(capture=True)


def _failed(event: str, error: BaseException, **fields: object) -> None:
    log.error(event, extra={"fields": fields}, exc_info=(type(error), error, error.__traceback__))


def _lines_dropped(lines: int) -> LogLine:
    fields = {"lines": lines, "reason": "standard error was not read fast enough"}
    return LogLine(at=time.time(), level="warning", logger=log.name, event="log.dropped", fields=fields)

"""Telling a person, or a CI log, what takes so long: one line per stage, with the seconds since the start."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.markup import escape

Progress = Callable[[str], None]
"""Called with one line at the beginning of every stage."""

_HEARTBEAT_SECONDS = 30.0


class Reporter:
    """A Progress that writes to standard error; used as a context manager it also shows that a stage is alive.

    On a terminal the current stage has a spinner and a clock; in a log it is repeated every 30 s. `_stage` and
    `_stage_began` are written by the caller's thread and only read by the heartbeat's.
    """

    def __init__(self, console: Console | None = None) -> None:
        self._console = console or Console(stderr=True, highlight=False, soft_wrap=True)
        self._began = time.monotonic()
        self._stage = ""
        self._stage_began = self._began
        self._stopping = threading.Event()
        self._status = self._console.status("")
        self._heartbeat = threading.Thread(target=self._beat, name="progress", daemon=True)

    def __call__(self, line: str) -> None:
        """Begin a stage."""
        now = time.monotonic()
        self._console.print(f"[{now - self._began:6.1f} s] {line}", markup=False)
        self._stage_began = now
        self._stage = line

    def __enter__(self) -> Self:
        if self._console.is_terminal:
            self._status.start()
        self._heartbeat.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stopping.set()
        self._heartbeat.join()
        self._status.stop()

    def _beat(self) -> None:
        interval = 1.0 if self._console.is_terminal else _HEARTBEAT_SECONDS
        while not self._stopping.wait(interval):
            seconds = time.monotonic() - self._stage_began
            if self._console.is_terminal:
                self._status.update(f"{escape(self._stage)} ({seconds:.0f} s)")
            elif seconds >= interval:
                self._console.print(f"           still: {self._stage} ({seconds:.0f} s)", markup=False)

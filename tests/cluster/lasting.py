"""What many files use, one after the other: the first to need it starts it, and it ends when the next does not."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack
from typing import Generic, TypeVar

T = TypeVar("T")


class Lasting(Generic[T]):
    """At most one of its kind at a time; started again when it is needed after its end."""

    def __init__(self, start: Callable[[], AbstractContextManager[T]]) -> None:
        self._start = start
        self._stack = ExitStack()
        self._running: T | None = None

    def running(self) -> T:
        """Return the one that runs; start it if none does."""
        if self._running is None:
            self._running = self._stack.enter_context(self._start())
        return self._running

    def end(self) -> None:
        """End it, if it runs: an API server that idles takes a twentieth of a core."""
        self._running = None
        self._stack.close()

"""What every part with a loop of its own has: a thread with a name, a stop, and an owner that notices its death."""

from __future__ import annotations

import threading
from abc import ABC, abstractmethod


class Background(ABC):
    """Runs `_run` on a daemon thread of this name; that has to return soon after `_stopping` is set."""

    def __init__(self, name: str) -> None:
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def stop(self) -> None:
        """End the thread, waiting for it for some seconds; what it has found out stays readable."""
        self._stopping.set()
        if self._thread.is_alive():
            self._thread.join(timeout=5)

    @property
    def alive(self) -> bool:
        """Whether the thread still runs; its owner must treat False as fatal unless it stopped it."""
        return self._thread.is_alive()

    @abstractmethod
    def _run(self) -> None:
        """What the thread does."""

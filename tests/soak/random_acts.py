"""A thread that does something at random moments until it is stopped."""

from __future__ import annotations

import random
import threading
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Iterator, Sequence


def in_turn(chance: random.Random, kinds: Sequence[str]) -> Iterator[str]:
    """Yield kinds without end, each before any a second time."""
    while True:
        yield from chance.sample(kinds, len(kinds))


class RandomActs(ABC):
    """One thread, whose own `chance` is. It writes `counts` and `failure`, which are read after `stop`."""

    def __init__(self, name: str, *, chance: random.Random, pause_seconds: tuple[float, float]) -> None:
        self.chance = chance
        self._pause_seconds = pause_seconds
        self._stopping = threading.Event()
        self.counts: Counter[str] = Counter()
        self.failure: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    @property
    def alive(self) -> bool:
        """Whether the thread runs."""
        return self._thread.is_alive()

    def stop(self) -> None:
        """End with everything whole again. Raises what the thread ended by."""
        self._stopping.set()
        self._thread.join()
        if self.failure is not None:
            raise self.failure

    @abstractmethod
    def _act(self) -> None:
        """Do one thing, and leave everything whole."""

    def _run(self) -> None:
        try:
            while not self._stopping.wait(self.chance.uniform(*self._pause_seconds)):
                self._act()
        except BaseException as error:  # told to whoever stops it
            self.failure = error

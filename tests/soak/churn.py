"""Services that come and go meanwhile, each with addresses of its own; their beginning and end are watched, too."""

from __future__ import annotations

import random
import threading
import time
from collections import Counter
from collections.abc import Callable

from allocator.kube.client import ApiError, NotFound
from allocator.kube.resource import SERVICES
from tests.soak.place import CHURNED, Place
from tests.soak.witness import Kind, Spell, Witness

THREADS = 3
_LOOK_SECONDS = 0.05
_PATIENCE_SECONDS = 60.0
_SILENT_SECONDS = 1.0


class Churn:
    """Threads that each create and delete Services over addresses of their own.

    `counts` is guarded by `_lock`; `failures` is only ever appended to.
    """

    def __init__(self, place: Place, witness: Witness, *, seed: int) -> None:
        self._place = place
        self._witness = witness
        self._stopping = threading.Event()
        self._lock = threading.Lock()
        self.counts: Counter[str] = Counter()
        self.failures: list[str] = []
        self._threads = [
            threading.Thread(target=self._run, args=(number, random.Random(seed + number)), name=f"churn-{number}")
            for number in range(THREADS)
        ]

    def start(self) -> None:
        """Begin."""
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """End with every Service deleted."""
        self._stopping.set()
        for thread in self._threads:
            thread.join()

    def _run(self, number: int, chance: random.Random) -> None:
        try:
            while not self._stopping.is_set():
                pair = chance.choice(CHURNED[number::THREADS])
                self._one_life(f"churn-{number}", chance.choice([pair, pair[:1], pair[1:]]), chance)
        except Exception as error:
            self.failures.append(f"churn-{number}: {error!r}")

    def _one_life(self, name: str, addresses: tuple[str, ...], chance: random.Random) -> None:
        if not self._done(lambda: self._place.create_service(name, addresses)):
            self._stopping.wait(0.5)
            return
        try:
            if self._until(lambda: self._ready_to_answer(name, addresses)):
                self._announced(addresses, time.monotonic())
                self._stopping.wait(chance.uniform(0.5, 5))
            else:
                self.failures.append(f"{name}: does not show {', '.join(addresses)} in {_PATIENCE_SECONDS:g} s")
        finally:
            for address in addresses:
                self._witness.excuse(address)
            self._until(lambda: self._deleted(name))
        self._withdrawn(addresses, time.monotonic())
        self._count("Services created, announced and deleted")

    def _ready_to_answer(self, name: str, addresses: tuple[str, ...]) -> bool:
        return set(self._place.shown(name)) == set(addresses) and self._place.has_endpoints(name)

    def _announced(self, addresses: tuple[str, ...], shown_at: float) -> None:
        for address in addresses:

            def answered(address: str = address) -> bool:
                return (self._witness.answered_at(address) or 0.0) >= shown_at

            self._until(answered)
            at = self._witness.answered_at(address) or 0.0
            ended = at if at >= shown_at else time.monotonic()
            self._witness.note(Spell(kind=Kind.LATE, address=address, begun=shown_at, ended=ended))
            self._witness.expect(address)

    def _withdrawn(self, addresses: tuple[str, ...], deleted_at: float) -> None:
        for address in addresses:

            def silent(address: str = address) -> bool:
                latest = max(self._witness.answered_at(address) or 0.0, deleted_at)
                return time.monotonic() - latest > _SILENT_SECONDS

            self._until(silent)
            ended = max(self._witness.answered_at(address) or 0.0, deleted_at)
            self._witness.note(Spell(kind=Kind.LINGERING, address=address, begun=deleted_at, ended=ended))

    def _deleted(self, name: str) -> bool:
        try:
            self._place.lab.cluster().delete(SERVICES, name, "default")
        except NotFound:
            return True
        return False

    def _done(self, attempt: Callable[[], bool]) -> bool:
        try:
            return attempt()
        except ApiError as error:
            self._count(f"refused: {type(error).__name__}")
            return False

    def _until(self, condition: Callable[[], bool]) -> bool:
        """Wait until it is so, whatever becomes of the API server; tell whether it came to be."""
        end = time.monotonic() + _PATIENCE_SECONDS
        while time.monotonic() < end:
            if self._done(condition):
                return True
            threading.Event().wait(_LOOK_SECONDS)
        return False

    def _count(self, what: str) -> None:
        with self._lock:
            self.counts[what] += 1

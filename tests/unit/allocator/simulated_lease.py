"""Replicas that contend for a Lease in simulated time: pauses, stalls, lost and late requests, wall clocks that jump.

Each replica runs the real election on a thread of its own, but one at a time and only when the simulation says so:
a run is determined by its seed.
"""

from __future__ import annotations

import copy
import heapq
import random
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Self, cast

from allocator.kube.client import AlreadyExists, Cluster, Conflict, NotFound, Unavailable
from allocator.kube.lease import REQUEST_SECONDS, Leadership
from allocator.kube.resource import Resource

Object = dict[str, Any]


class Ended(BaseException):
    """Unwinds the threads of a simulation that is over; nothing may catch it."""


class Simulation:
    """Virtual time and the threads in it; exactly one of them runs at any moment, or the simulation itself."""

    def __init__(self, seed: int) -> None:
        self.chance = random.Random(seed)
        self.now = 1000.0
        self.after_step: Callable[[], None] = lambda: None
        self._due: list[tuple[float, int, threading.Semaphore]] = []
        self._sequence = 0
        self._back = threading.Semaphore(0)
        self._over = False
        self._threads: list[threading.Thread] = []
        self._failures: list[BaseException] = []

    def spawn(self, work: Callable[[], object], *, after: float = 0.0) -> None:
        """Begin work of its own after a while."""
        started = threading.Semaphore(0)

        def run() -> None:
            started.acquire()
            try:
                if not self._over:
                    work()
            except Ended:
                pass
            except BaseException as error:
                self._failures.append(error)
            self._back.release()

        thread = threading.Thread(target=run, name="simulated", daemon=True)
        self._threads.append(thread)
        thread.start()
        self._push(after, started)

    def sleep(self, seconds: float) -> None:
        """Let simulated time pass for the calling thread."""
        woken = threading.Semaphore(0)
        self._push(seconds, woken)
        self._back.release()
        woken.acquire()
        if self._over:
            raise Ended

    @property
    def simulated_thread(self) -> bool:
        """Whether the caller is in the simulation."""
        return threading.current_thread() in self._threads

    def run(self, seconds: float) -> None:
        """Let time pass for everybody."""
        end = self.now + seconds
        while self._due and self._due[0][0] <= end:
            self.now, _, woken = heapq.heappop(self._due)
            woken.release()
            self._back.acquire()
            if self._failures:
                raise self._failures[0]
            self.after_step()
        self.now = end

    def end(self) -> None:
        """Unwind every thread."""
        self._over = True
        while self._due:
            _, _, woken = heapq.heappop(self._due)
            woken.release()
            self._back.acquire()
        for thread in self._threads:
            thread.join(timeout=5)

    def _push(self, seconds: float, woken: threading.Semaphore) -> None:
        self._sequence += 1
        heapq.heappush(self._due, (self.now + seconds, self._sequence, woken))


class ApiServer:
    """Keeps one Lease as the API server does: creation and compare-and-swap."""

    def __init__(self) -> None:
        self.lease: Object | None = None
        self._version = 0

    def get(self) -> Object:
        """Read it."""
        if self.lease is None:
            raise NotFound(404, "NotFound", "no lease")
        return copy.deepcopy(self.lease)

    def create(self, lease: Object) -> Object:
        """Store a first one."""
        if self.lease is not None:
            raise AlreadyExists(409, "AlreadyExists", "there is one")
        return self._store(lease)

    def replace(self, lease: Object) -> Object:
        """Store it if it is made from what stands there."""
        stored = self.get()["metadata"]
        if lease["metadata"]["resourceVersion"] != stored["resourceVersion"]:
            raise Conflict(409, "Conflict", "it changed")
        return self._store(lease)

    def mark(self) -> None:
        """Somebody writes an annotation."""
        if self.lease is not None:
            self._store(self.lease)

    def back_up(self) -> tuple[Object | None, int]:
        """Copy what is stored."""
        return copy.deepcopy(self.lease), self._version

    def restore(self, snapshot: tuple[Object | None, int], *, written_since: int = 0) -> None:
        """Put back what was stored; `written_since` counts writes of other objects before anybody reads."""
        lease, version = snapshot
        self.lease, self._version = copy.deepcopy(lease), version + written_since

    def _store(self, lease: Object) -> Object:
        self._version += 1
        self.lease = copy.deepcopy(lease)
        self.lease["metadata"]["resourceVersion"] = str(self._version)
        return copy.deepcopy(self.lease)


class Connection:
    """One replica's way to the API server, as the election uses it: `trouble` is the share of calls that go wrong,
    `pauses` the share after which the replica stands still with the answer in its hand.
    """

    def __init__(self, simulation: Simulation, server: ApiServer) -> None:
        self._simulation = simulation
        self._server = server
        self.trouble = 0.0
        self.pauses = 0.0
        self.cut = False
        self.refused = False
        """Whether the API server is down, so that connections are refused."""

    def within(self, _seconds: float) -> Self:
        """As Cluster's."""
        return self

    def get(self, _resource: Resource, _name: str, _namespace: str) -> Object:
        """As Cluster's."""
        return self._call(self._server.get)

    def create(self, _resource: Resource, lease: Object, _namespace: str) -> Object:
        """As Cluster's."""
        sent = copy.deepcopy(lease)
        return self._call(lambda: self._server.create(sent))

    def replace(self, _resource: Resource, lease: Object) -> Object:
        """As Cluster's."""
        sent = copy.deepcopy(lease)
        return self._call(lambda: self._server.replace(sent))

    def _call(self, carry_out: Callable[[], Object]) -> Object:
        simulation, chance = self._simulation, self._simulation.chance
        if self.refused:
            simulation.sleep(0.001)
            raise Unavailable(0, "Unavailable", "connection refused")
        if self.cut or chance.random() < self.trouble:
            fate = "lost" if self.cut else chance.choice(("lost", "late", "unanswered", "slow"))
            if fate == "late":
                # Stuck in the network: it arrives when its sender has given it up.
                simulation.spawn(lambda: _quietly(carry_out), after=REQUEST_SECONDS + chance.uniform(0, 8))
            elif fate == "unanswered":
                simulation.sleep(chance.uniform(0, REQUEST_SECONDS))
                _quietly(carry_out)
            elif fate == "slow":
                simulation.sleep(chance.uniform(0, REQUEST_SECONDS))
                return carry_out()
            simulation.sleep(REQUEST_SECONDS)
            raise Unavailable(0, "Unavailable", "no answer in time")
        simulation.sleep(chance.uniform(0.001, 0.05))
        answer = carry_out()
        stands_still = chance.random() < self.pauses
        simulation.sleep(chance.uniform(0, 12) if stands_still else chance.uniform(0.001, 0.05))
        return answer


def _quietly(carry_out: Callable[[], Object]) -> None:
    with suppress(AlreadyExists, Conflict, NotFound):
        carry_out()


class Replica:
    """One process that stands for election; it stands still after a share of its looks at the clock and calls."""

    def __init__(self, simulation: Simulation, server: ApiServer, identity: str) -> None:
        self._simulation = simulation
        self.identity = identity
        self.connection = Connection(simulation, server)
        self.leadership = Leadership(
            cast(Cluster, self.connection),
            namespace="test",
            lease="test",
            identity=identity,
            on_started=lambda: None,
            clock=self._clock,
            wait=simulation.sleep,
        )
        simulation.spawn(self.leadership.run)

    def _clock(self) -> float:
        now = self._simulation.now
        if self._simulation.simulated_thread and self._simulation.chance.random() < self.connection.pauses:
            # Stopped, or not given a processor, with the time it has just read in its hand.
            self._simulation.sleep(self._simulation.chance.uniform(0, 12))
        return now

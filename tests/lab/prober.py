"""When to probe a container, and what follows from the answers."""

from __future__ import annotations

import time

from allocator.kube.client import Object
from tests.lab.network import Host
from tests.lab.probes import Probe

_UNREADY_SECONDS = 0.1


class Prober:
    """The readiness and liveness of one container; owned by its Pod's thread.

    Readiness is asked from the start and often until there is some, whatever the probe's delay and period: what
    is ready is to be seen ready at once. Both probes keep their period and thresholds after that.
    """

    def __init__(self, container: Object) -> None:
        """Raises Unsupported for probes other than HTTP and TCP."""
        self._readiness = Probe.parse(container, "readinessProbe")
        self._liveness = Probe.parse(container, "livenessProbe")
        self._begin(0.0)

    def begin(self) -> None:
        """The container has just been started."""
        self._begin(time.monotonic())

    def _begin(self, now: float) -> None:
        self.ready = False
        self.unhealthy: str | None = None
        self._readiness_due = now
        self._liveness_due = now + (self._liveness.initial_delay_seconds if self._liveness else 0.0)
        self._readiness_failures = 0
        self._liveness_failures = 0

    def tend(self, host: Host, address: str) -> float:
        """Ask the running container what is due; update `ready` and `unhealthy`; return when to ask again."""
        return min(self._tend_readiness(host, address), self._tend_liveness(host, address))

    def _tend_readiness(self, host: Host, address: str) -> float:
        probe = self._readiness
        if probe is None:
            self.ready = True
            return float("inf")
        if time.monotonic() >= self._readiness_due:
            problem = _ask(probe, host, address)
            self._readiness_failures = self._readiness_failures + 1 if problem else 0
            if problem is None or self._readiness_failures >= probe.failure_threshold:
                self.ready = problem is None
            pause = probe.period_seconds if self.ready else min(probe.period_seconds, _UNREADY_SECONDS)
            self._readiness_due = time.monotonic() + pause
        return self._readiness_due

    def _tend_liveness(self, host: Host, address: str) -> float:
        probe = self._liveness
        if probe is None:
            return float("inf")
        if time.monotonic() >= self._liveness_due:
            problem = _ask(probe, host, address)
            self._liveness_failures = self._liveness_failures + 1 if problem else 0
            if self._liveness_failures >= probe.failure_threshold:
                self.unhealthy = problem
            self._liveness_due = time.monotonic() + probe.period_seconds
        return self._liveness_due


def _ask(probe: Probe, host: Host, address: str) -> str | None:
    # A node probes its Pods from its own network.
    with host.inside():
        return probe.ask(address)

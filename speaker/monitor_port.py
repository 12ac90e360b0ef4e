"""The monitoring port: opened when it can be, while announcing goes on."""

from __future__ import annotations

from collections.abc import Callable

from prometheus_client import REGISTRY, CollectorRegistry

from allocator.process.background import Background
from allocator.process.logs import EventLog
from allocator.process.monitor import Monitor, Reasons

log = EventLog("monitor")

RETRY_SECONDS = 2.0


class MonitorPort(Background):
    """Serves probes and metrics, from the start or as soon as no other program has the port.

    `_monitor` is written once, by the thread, which then watches over it.
    """

    def __init__(
        self,
        port: int,
        *,
        ready: Reasons,
        healthy: Reasons,
        on_held: Callable[[int, OSError], None],
        registry: CollectorRegistry = REGISTRY,
        option: str = "monitor-port",
    ) -> None:
        """`on_held` is called, once, where another program has the port that `option` names."""
        super().__init__(option)
        self._port = port
        self._registry = registry
        self._option = option
        self._ready = ready
        self._healthy = healthy
        self._on_held = on_held
        self._monitor: Monitor | None = None

    @property
    def alive(self) -> bool:
        """Whether the port is served, or tried again."""
        monitor = self._monitor
        return super().alive and (monitor is None or monitor.alive)

    def stop(self) -> None:
        """Stop answering and free the port."""
        super().stop()
        if self._monitor is not None:
            self._monitor.stop()

    def _run(self) -> None:
        held = False
        while not self._open(first=not held):
            held = True
            if self._stopping.wait(RETRY_SECONDS):
                return
        if held:
            log.info("port.free", port=f"TCP {self._port}", option=f"--{self._option}")
        self._stopping.wait()

    def _open(self, *, first: bool) -> bool:
        try:
            monitor = Monitor(
                self._port,
                ready=self._ready,
                healthy=self._healthy,
                registry=self._registry,
                name=self._option.removesuffix("-port"),
            )
        except OSError as error:
            if first:
                self._on_held(self._port, error)
            return False
        monitor.start()
        self._monitor = monitor
        return True

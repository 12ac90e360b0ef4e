"""The webhook's parts put together: what one serving process owns, starts, watches and stops."""

from __future__ import annotations

import ssl
import threading
from dataclasses import dataclass, field
from pathlib import Path

from flask import Flask
from prometheus_client import REGISTRY

from allocator.allocation.allocator import Allocator
from allocator.allocation.cache import ClaimCache
from allocator.core.pools import PriorityOrder
from allocator.core.reservation_cap import MAX_UNBOUND_RESERVATIONS
from allocator.kube.client import ApiError, Cluster
from allocator.objects.names import WEBHOOK_CONFIGURATION, WEBHOOK_SERVICE
from allocator.process.log_metrics import DroppedLines
from allocator.process.log_thread import LogThread
from allocator.process.logs import EventLog
from allocator.process.monitor import Monitor
from allocator.rules.kinds import KINDS
from allocator.rules.verdict import Rules
from webhook.adoption import Adoption
from webhook.app import Handler, NotReady, create_app
from webhook.certificates import Lifetimes
from webhook.config_admission import ConfigAdmission
from webhook.metrics import WebhookState
from webhook.review import AdmissionRequest, Answer
from webhook.routes import SERVICES, only_its_kinds
from webhook.service_admission import ServiceAdmission
from webhook.trust import Trust

log = EventLog("webhook")

API_TIMEOUT_SECONDS = 2.0
"""Less than the 3 s which the API server gives us for a Service: a late answer is an answer to nobody."""

_RETRY_SECONDS = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What the command line says."""

    namespace: str
    port: int
    monitor_port: int
    service: str = WEBHOOK_SERVICE
    configuration: str = WEBHOOK_CONFIGURATION
    lb_class: str = ""
    take_over_foreign: bool = False
    strict: bool = False
    priority_order: PriorityOrder = PriorityOrder.LOWEST_FIRST
    max_unbound_reservations: int = MAX_UNBOUND_RESERVATIONS
    certificate_dir: Path | None = None
    lifetimes: Lifetimes = field(default_factory=Lifetimes)
    kubeconfig: str | None = None


class Webhook:
    """One serving process. Built and started after the fork; its methods are called on the main thread."""

    def __init__(self, settings: Settings, *, log_thread: LogThread | None = None) -> None:
        """`log_thread` writes this process's log, unless whoever logs does."""
        self._log_thread = log_thread
        cluster = Cluster.from_environment(settings.kubeconfig, timeout_seconds=API_TIMEOUT_SECONDS)
        self._cache = ClaimCache(cluster, namespace=settings.namespace, order=settings.priority_order)
        self._trust = Trust(
            cluster,
            namespace=settings.namespace,
            service=settings.service,
            configuration=settings.configuration,
            port=settings.port,
            certificate_dir=settings.certificate_dir,
            lifetimes=settings.lifetimes,
        )
        self._adoption = Adoption(cluster, namespace=settings.namespace)
        self._monitor = Monitor(settings.monitor_port, ready=self.problems)
        rules = Rules(
            namespace=settings.namespace,
            lb_class=settings.lb_class,
            take_over_foreign=settings.take_over_foreign,
            strict=settings.strict,
            order=settings.priority_order,
        )
        claims = Allocator(cluster, self._cache, max_unbound=settings.max_unbound_reservations)
        self._handlers: dict[str, Handler] = {
            SERVICES: self._when_adopted(ServiceAdmission(self._cache, claims, rules=rules).answer),
            **self._configuration_handlers(ConfigAdmission(cluster, self._cache, rules=rules).answer),
        }
        # Both written once by the thread that starts the cache, and by the main thread's signal handler.
        self._cache_started = False
        self._draining = False
        self._stopping = threading.Event()
        self._starter = threading.Thread(target=self._start_cache, name="start-cache", daemon=True)

    def app(self) -> Flask:
        """Return the application to serve."""
        return create_app({route: only_its_kinds(route, handler) for route, handler in self._handlers.items()})

    def start(self) -> None:
        """Start every thread; none of them is waited for."""
        REGISTRY.register(WebhookState(problems=self.problems, certificate=self._trust.serving_certificate))
        REGISTRY.register(DroppedLines(self._log_thread))
        self._monitor.start()
        self._starter.start()
        self._trust.start()
        self._adoption.start()

    def dead_threads(self) -> list[str]:
        """Name the parts one of whose threads should run and does not."""
        alive = {
            "log": self._log_thread is None or self._log_thread.alive,
            "monitor": self._monitor.alive,
            **self._trust.alive(),
            "adoption": self._adoption.alive,
            "cache": not self._cache.dead_threads() if self._cache_started else self._starter.is_alive(),
        }
        return [name for name, living in alive.items() if not living]

    def drain(self) -> None:
        """Report not ready from now on."""
        self._draining = True

    def stop(self) -> None:
        """End every thread."""
        self._stopping.set()
        self._adoption.stop()
        self._trust.stop()
        self._cache.stop()
        self._monitor.stop()

    def tls_context(self) -> ssl.SSLContext:
        """Return the context of the next handshake."""
        return self._trust.tls_context()

    def route(self, path: str) -> str | None:
        """Return the route that a request's path opens; None, and nobody is to look at the request any further."""
        return self._trust.route(path)

    @property
    def has_tokens(self) -> bool:
        """Whether paths can be judged yet."""
        return self._trust.has_tokens

    def problems(self) -> list[str]:
        """Say why requests should not be sent here; empty when they should."""
        if self._draining:
            return ["shutting down"]
        return [
            *self._trust.problems(),
            *self._cache.problems(),
            *self._adoption.problems(),
        ]

    def _configuration_handlers(self, answer: Handler) -> dict[str, Handler]:
        return {kind.path: self._when_synced(answer) if kind.reads_cluster else answer for kind in KINDS}

    def _when_adopted(self, handler: Handler) -> Handler:
        """Reserve nothing while what looks free may be shown by a Service: connections outlive readiness."""

        def answer(request: AdmissionRequest) -> Answer:
            if missing := self._adoption.problems():
                raise NotReady("; ".join(missing))
            return handler(request)

        return self._when_synced(answer)

    def _when_synced(self, handler: Handler) -> Handler:
        """Refuse to decide on a part of the pools and claims: that would answer with reasons that are not true."""

        def answer(request: AdmissionRequest) -> Answer:
            if missing := self._cache.problems():
                raise NotReady("; ".join(missing))
            return handler(request)

        return answer

    def _start_cache(self) -> None:
        failing = False
        while not self._stopping.is_set():
            try:
                self._cache.start()
            except ApiError as error:
                if not failing:
                    log.warning("cache.not_started", error=error, retry_seconds=_RETRY_SECONDS)
                failing = True
                self._stopping.wait(_RETRY_SECONDS)
            else:
                self._cache_started = True
                return

"""Asks our own port as the API server will, by the registered name, path and trust, before we call ourselves ready.

A Service leads to ready Pods only, so nobody can come through it to a Pod that waits for that to become ready.
Checked is every link of that way instead: which Service the webhook configurations name, that it exists and leads to
our port, that the certificate there verifies against each `caBundle` registered, for the Service's name, and that a
registered path is answered.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from http import HTTPStatus

from allocator.kube.client import ApiError, Cluster, NotFound, Object
from allocator.kube.resource import SERVICES
from allocator.process.background import Background
from allocator.process.logs import EventLog
from webhook.configuration_patch import Caller
from webhook.https_get import CANNOT_ASK, status_of

log = EventLog("self_check")

_TIMEOUT_SECONDS = 2.0
_AGAIN_SECONDS = 5.0
_RETRY_SECONDS = (0.25, 0.25, 0.5, 1.0, 2.0)


class SelfCheck(Background):
    """Holds what was wrong with the way from the API server to our `port` when it was last walked.

    Walked again whenever the certificate or a configuration changes (`wake`), and every few seconds, for a Service
    may change and a certificate end unnoticed.
    """

    def __init__(
        self,
        cluster: Cluster,
        *,
        namespace: str,
        service: str,
        port: int,
        callers: Callable[[], frozenset[Caller]],
    ) -> None:
        super().__init__("self-check")
        self._cluster = cluster
        self._namespace = namespace
        self._service = service
        self._port = port
        self._callers = callers
        # Both written by the check's thread alone.
        self._failure = "not asked yet"
        self._passed_before = False
        self._work = threading.Event()

    def wake(self) -> None:
        """Ask again now; the former verdict holds until the answer."""
        self._work.set()

    def stop(self) -> None:
        """End the thread."""
        self._stopping.set()
        self._work.set()
        super().stop()

    def problems(self) -> list[str]:
        """Say why no API server could reach us, as far as can be seen from here."""
        return [f"self-check: {self._failure}"] if self._failure else []

    def _run(self) -> None:
        failures = 0
        while not self._stopping.is_set():
            failure = self._walk()
            if failure != self._failure:
                self._log(failure)
            self._failure = failure
            delay = _RETRY_SECONDS[min(failures, len(_RETRY_SECONDS) - 1)] if failure else _AGAIN_SECONDS
            failures = failures + 1 if failure else 0
            if self._work.wait(delay):
                failures = 0
            self._work.clear()

    def _log(self, failure: str) -> None:
        if not failure:
            if self._passed_before:
                log.info("self_check.passed", port=self._port)
            self._passed_before = True
        elif self._passed_before:
            log.warning("self_check.failed", port=self._port, error=failure)
        else:
            # Everything is waited for in turn after a start; /readyz says what is missing.
            log.debug("self_check.failed", port=self._port, error=failure)

    def _walk(self) -> str:
        """Return the first thing wrong on the way from the API server to us; empty when it is clear."""
        callers = self._callers()
        if not callers:
            return "no webhook configuration calls us"
        for caller in callers:
            if (caller.namespace, caller.service) != (self._namespace, self._service):
                return (
                    f"a webhook configuration calls Service {caller.namespace}/{caller.service}, "
                    f"not {self._namespace}/{self._service}"
                )
        if wrong := self._wrong_with_service({caller.port for caller in callers}):
            return f"Service {self._namespace}/{self._service} {wrong}"
        # One path for each bundle: which of them the gate opens, the registration knows without a handshake.
        asked = {caller.ca_bundle: (caller.path, caller.route) for caller in callers if caller.route}
        for bundle, (path, route) in sorted(asked.items()):
            if wrong := self._ask(bundle, path):
                return f"https://{self._server_name}{route} on port {self._port}: {wrong}"
        return ""

    def _wrong_with_service(self, ports: set[int]) -> str:
        try:
            service = self._cluster.get(SERVICES, self._service, self._namespace)
        except NotFound:
            return "does not exist"
        except ApiError as error:
            # Who does not answer us does not ask us either; what was known of the Service holds.
            log.debug("self_check.service_unknown", error=error)
            return ""
        return next((wrong for port in sorted(ports) if (wrong := wrong_with_port(service, port, self._port))), "")

    @property
    def _server_name(self) -> str:
        return f"{self._service}.{self._namespace}.svc"

    def _ask(self, ca_bundle: bytes, path: str) -> str:
        if not ca_bundle:
            return "the API server is given no caBundle to know us by"
        if not path:
            return "the API server is given no path to call us at"
        try:
            status = status_of(
                path,
                address="127.0.0.1",
                port=self._port,
                server_name=self._server_name,
                ca_bundle=ca_bundle,
                timeout=_TIMEOUT_SECONDS,
            )
        except CANNOT_ASK as error:
            return str(error) or type(error).__name__
        return "" if status == HTTPStatus.OK else f"answers {status}"


def wrong_with_port(service: Object, port: int, target: int) -> str:
    """Say why a Service's `port` does not lead to our `target`; a target given by name is another Pod's to know."""
    for entry in service["spec"].get("ports") or []:
        if entry["port"] == port:
            leads_to = entry.get("targetPort") or port
            return (
                "" if isinstance(leads_to, str) or leads_to == target else f"leads to port {leads_to}, not {target}"
            )
    return f"has no port {port}"

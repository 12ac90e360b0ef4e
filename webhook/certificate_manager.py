"""Keeps the certificate Secret sound and tells its owner what to serve with."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from datetime import UTC, datetime

from allocator.cluster import AlreadyExists, ApiError, Cluster, Conflict, NotFound, Object
from allocator.logs import EventLog
from allocator.names import SECRETS, WEBHOOK_CERTIFICATE_SECRET
from webhook.certificates import Credentials, mend

log = EventLog("certificate")

_RETRY_SECONDS = (0.2, 0.5, 1.0, 2.0, 5.0)
_RACES = 5


def service_dns_names(service: str, namespace: str) -> tuple[str, ...]:
    """Return the names under which the API server (first) and others reach the Service `service` of `namespace`."""
    name = f"{service}.{namespace}.svc"
    return (name, f"{name}.cluster.local", f"{service}.{namespace}", service)


class CertificateManager:
    """Owns one replica's view of the Secret; several replicas agree through create and compare-and-swap.

    Whoever notices a flaw (no Secret yet, a certificate near its end, a damaged field) mends it; whoever loses
    that race adopts the winner's. The Secret is asked for every `check_seconds`, so all replicas serve with
    what it holds soon after it changes. A Secret that vanishes is written again with the authority in use, so
    that no API server loses its trust.
    """

    def __init__(
        self,
        cluster: Cluster,
        *,
        namespace: str,
        dns_names: Sequence[str],
        on_change: Callable[[Credentials], None],
        check_seconds: float = 10.0,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._cluster = cluster
        self._namespace = namespace
        self._dns_names = tuple(dns_names)
        self._on_change = on_change
        self._check_seconds = check_seconds
        self._now = now
        # Written by the manager's thread alone; readers get the whole immutable value or None.
        self._credentials: Credentials | None = None
        self._problem = "not asked for yet"
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="certificate-manager", daemon=True)

    def start(self) -> None:
        """Begin: the first credentials arrive at `on_change`, on the manager's thread, as all later ones do."""
        self._thread.start()

    def stop(self) -> None:
        """End the thread; the credentials stay readable."""
        self._stopping.set()
        if self._thread.is_alive():
            self._thread.join(timeout=5)

    @property
    def alive(self) -> bool:
        """Whether the thread still runs; its owner must treat False as fatal unless it stopped it."""
        return self._thread.is_alive()

    def current(self) -> Credentials | None:
        """Return what to serve with, None until the Secret has been read or written once."""
        return self._credentials

    def problems(self) -> list[str]:
        """Tell why there is nothing to serve with; one that only delays a renewal is not among them."""
        if self._credentials is not None:
            return []
        return [f"certificate: Secret {self._namespace}/{WEBHOOK_CERTIFICATE_SECRET}: {self._problem}"]

    def check(self) -> Credentials:
        """Read the Secret, mend it if it needs that, adopt what it holds. Raises ApiError."""
        for _ in range(_RACES):
            secret = self._read()
            stored = (secret or {}).get("data") or {}
            credentials, flaws = mend(stored, dns_names=self._dns_names, now=self._now(), fallback=self._credentials)
            if flaws is not None or secret is None:
                try:
                    self._write(secret, credentials)
                except (AlreadyExists, Conflict):
                    continue
                why = flaws if secret is not None else "there was none"
                log.info("certificate.written", secret=WEBHOOK_CERTIFICATE_SECRET, reason=why)
            self._adopt(credentials)
            return credentials
        raise Conflict(409, "Conflict", f"lost {_RACES} races for Secret {WEBHOOK_CERTIFICATE_SECRET}")

    def _read(self) -> Object | None:
        try:
            return self._cluster.get(SECRETS, WEBHOOK_CERTIFICATE_SECRET, self._namespace)
        except NotFound:
            return None

    def _write(self, secret: Object | None, credentials: Credentials) -> None:
        if secret is None:
            metadata = {
                "name": WEBHOOK_CERTIFICATE_SECRET,
                "namespace": self._namespace,
                "labels": {"app": "metallb"},
            }
            fresh = {"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "type": "Opaque"}
            self._cluster.create(SECRETS, {**fresh, "data": credentials.secret_data()}, self._namespace)
        else:
            data = {**(secret.get("data") or {}), **credentials.secret_data()}
            self._cluster.replace(SECRETS, {**secret, "data": data})

    def _adopt(self, credentials: Credentials) -> None:
        if credentials == self._credentials:
            return
        self._credentials = credentials
        self._on_change(credentials)
        log.info("certificate.loaded", secret=WEBHOOK_CERTIFICATE_SECRET)

    def _run(self) -> None:
        failures = 0
        while not self._stopping.is_set():
            try:
                self.check()
            except ApiError as error:
                if failures == 0 or str(error) != self._problem:
                    log.warning("certificate.check_failed", secret=WEBHOOK_CERTIFICATE_SECRET, error=error)
                self._problem = str(error)
                delay = _RETRY_SECONDS[min(failures, len(_RETRY_SECONDS) - 1)]
                failures += 1
            else:
                failures = 0
                delay = self._check_seconds
            self._stopping.wait(delay)

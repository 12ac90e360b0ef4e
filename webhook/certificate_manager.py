"""Keeps the certificate Secret sound and says what to serve with."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime

from allocator.kube.client import ApiError, Cluster
from allocator.objects.names import WEBHOOK_CERTIFICATE_SECRET
from allocator.process.background import Background
from allocator.process.logs import EventLog
from webhook.certificate_authority import KeyPair
from webhook.certificates import CA_BUNDLE_FIELD, CREDENTIAL_FIELDS, Credentials, Lifetimes, mend
from webhook.credential_secret import CredentialSecret
from webhook.secret_fields import decoded

log = EventLog("certificate")

_RETRY_SECONDS = (0.2, 0.5, 1.0, 2.0, 5.0)
_CHECK_SECONDS = 10.0
_CHECKS_PER_SETTLING = 3


def service_dns_names(service: str, namespace: str) -> tuple[str, ...]:
    """Return the names under which the API server (first) and others reach the Service `service` of `namespace`."""
    name = f"{service}.{namespace}.svc"
    return (name, f"{name}.cluster.local", f"{service}.{namespace}", service)


class CertificateManager(Background):
    """Owns one replica's view of the Secret; several replicas agree through create and compare-and-swap.

    Whoever notices a flaw (no Secret yet, a certificate near its end, a damaged field) repairs it; whoever loses
    that race adopts the winner's. The Secret is asked for several times while a change settles, so all replicas serve
    with what it holds before the next change. A Secret that vanishes is written again with what is in use, so that no
    API server loses its trust.
    """

    def __init__(
        self,
        cluster: Cluster,
        *,
        namespace: str,
        dns_names: Sequence[str],
        on_change: Callable[[KeyPair], None],
        registered: Callable[[bytes], bool],
        others: Callable[[], Mapping[str, str]] = dict,
        lifetimes: Lifetimes | None = None,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        """`on_change` gets the first certificate to serve with, and every later one.

        `registered` says whether the cluster's webhook configurations carry a bundle, and no other.

        `others` returns what else of the Secret's data is in use, for a Secret that is gone.
        """
        super().__init__("certificate-manager")
        self._secret = CredentialSecret(cluster, namespace=namespace, others=others)
        self._dns_names = tuple(dns_names)
        self._on_change = on_change
        self._registered = registered
        self._lifetimes = lifetimes or Lifetimes()
        self._check_seconds = min(_CHECK_SECONDS, self._lifetimes.settle.total_seconds() / _CHECKS_PER_SETTLING)
        self._now = now
        # One check at a time: `_checking` owns what the Secret held last and since when (monotonic), and writes
        # `_credentials`; readers get that whole immutable value or None.
        self._checking = threading.Lock()
        self._stored: Mapping[str, str] = {}
        self._stored_since = 0.0
        self._credentials: Credentials | None = None
        self._problem = "not asked for yet"

    def serving(self) -> KeyPair | None:
        """Return what to serve with, None until the Secret has been read or written once."""
        credentials = self._credentials
        return credentials.serving if credentials else None

    def ca_bundle(self) -> bytes | None:
        """Return whom to trust (PEM) as far as known here; `check` asks."""
        credentials = self._credentials
        return credentials.ca_bundle if credentials else None

    def secret_data(self) -> Mapping[str, str]:
        """Return what is in use as fields of a Secret's data, none before the Secret has been read."""
        return self._credentials.secret_data() if self._credentials is not None else {}

    def problems(self) -> list[str]:
        """Say why there is nothing to serve with; one that only delays a renewal is not among them."""
        if self._credentials is not None:
            return []
        return [f"certificate: {self._secret}: {self._problem}"]

    def check(self) -> Credentials:
        """Read the Secret, repair it if it needs that, adopt what it holds; from any thread. Raises ApiError."""
        with self._checking:
            credentials, why = self._secret.mended(CREDENTIAL_FIELDS, self._judge)
            if why is not None:
                log.info("certificate.written", secret=WEBHOOK_CERTIFICATE_SECRET, reason=why)
            self._adopt(credentials)
            return credentials

    def _judge(self, stored: Mapping[str, str]) -> tuple[Credentials, str | None]:
        return mend(
            stored,
            dns_names=self._dns_names,
            now=self._now(),
            lifetimes=self._lifetimes,
            settled=self._is_settled(stored),
            fallback=self._credentials,
        )

    def _is_settled(self, stored: Mapping[str, str]) -> bool:
        """Whether everybody has had the time to notice what the Secret holds: API servers and the other replicas.

        By what this replica has seen since it runs: a restart lets the time begin anew, which costs nothing.
        """
        if stored != self._stored or not self._registered(decoded(stored.get(CA_BUNDLE_FIELD, ""))):
            self._stored, self._stored_since = dict(stored), time.monotonic()
        return time.monotonic() - self._stored_since >= self._lifetimes.settle.total_seconds()

    def _adopt(self, credentials: Credentials) -> None:
        if credentials == self._credentials:
            return
        self._credentials = credentials
        self._on_change(credentials.serving)
        log.info("certificate.loaded", secret=WEBHOOK_CERTIFICATE_SECRET, **credentials.facts())

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

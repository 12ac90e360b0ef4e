"""Keeps the secret of the admission paths in the certificate Secret, and says which tokens to answer."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from http import HTTPStatus

from allocator.kube.client import ApiError, Cluster
from allocator.objects.names import WEBHOOK_CERTIFICATE_SECRET
from allocator.process.background import Background
from allocator.process.logs import EventLog
from webhook.credential_secret import CredentialSecret
from webhook.path_token import FORMER_FIELD, MADE_FIELD, PATH_SECRET_FIELD, PathSecrets, mend_path_secrets

log = EventLog("path-secret")

_RETRY_SECONDS = (0.2, 0.5, 1.0, 2.0, 5.0)
_CHECK_SECONDS = 10.0
_CHECKS_PER_SETTLING = 3
_FIELDS = (PATH_SECRET_FIELD, FORMER_FIELD, MADE_FIELD)
_REFUSED = (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN)


class PathSecretManager(Background):
    """One replica's view of the path secret; replicas agree through create and compare-and-swap.

    With certificates of cert-manager too: the Secret then holds nothing but this. The thread is the only one that
    runs unless `check` is called; `_checking` owns every field but `_stopping`.
    """

    def __init__(
        self,
        cluster: Cluster,
        *,
        namespace: str,
        on_change: Callable[[PathSecrets], None],
        registered: Callable[[PathSecrets], bool],
        others: Callable[[], Mapping[str, str]],
        lifetime: timedelta,
        settle: timedelta,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        """`on_change` gets the first secrets and every change of them, on this thread or a caller's of `check`.

        `registered` says whether every registered webhook is called with a token of the current secret.

        `others` returns what else of the Secret's data is in use, for a Secret that is gone.
        """
        super().__init__("path-secret")
        self._secret = CredentialSecret(cluster, namespace=namespace, others=others)
        self._on_change = on_change
        self._registered = registered
        self._lifetime = lifetime
        self._settle = settle
        self._check_seconds = min(_CHECK_SECONDS, settle.total_seconds() / _CHECKS_PER_SETTLING)
        self._now = now
        self._checking = threading.Lock()
        self._stored: Mapping[str, str] = {}
        self._stored_since = 0.0
        self._secrets: PathSecrets | None = None
        self._problem = "not asked for yet"

    def secrets(self) -> PathSecrets | None:
        """Return what is answered as far as known here, None until the Secret has been read or written once."""
        return self._secrets

    def secret_data(self) -> Mapping[str, str]:
        """Return what is in use as fields of a Secret's data, none before the Secret has been read."""
        return self._secrets.secret_data() if self._secrets is not None else {}

    def problems(self) -> list[str]:
        """Say why the secret cannot be read; an API server that is away keeps nobody who has read it from serving."""
        if not self._problem:
            return []
        return [f"path secret: {self._secret}: {self._problem}"]

    def check(self) -> PathSecrets:
        """Read the Secret, repair it if it needs that, adopt what it holds; from any thread. Raises ApiError."""
        with self._checking:
            secrets, why = self._secret.mended(_FIELDS, self._judge)
            if why is not None:
                log.info("path_secret.written", secret=WEBHOOK_CERTIFICATE_SECRET, reason=why)
            self._adopt(secrets)
            return secrets

    def _judge(self, stored: Mapping[str, str]) -> tuple[PathSecrets, str | None]:
        return mend_path_secrets(
            stored,
            now=self._now(),
            lifetime=self._lifetime,
            settled=self._is_settled(stored),
            known=self._secrets,
        )

    def _is_settled(self, stored: Mapping[str, str]) -> bool:
        """Whether every API server and replica has had the time to notice what the Secret holds, once registered."""
        if stored != self._stored or self._secrets is None or not self._registered(self._secrets):
            self._stored, self._stored_since = stored, time.monotonic()
        return time.monotonic() - self._stored_since >= self._settle.total_seconds()

    def _adopt(self, secrets: PathSecrets) -> None:
        self._problem = ""
        if secrets == self._secrets:
            return
        self._secrets = secrets
        self._on_change(secrets)
        log.info("path_secret.loaded", made=f"{secrets.made:%Y-%m-%dT%H:%M:%SZ}", former=len(secrets.former))

    def _run(self) -> None:
        failures, failure = 0, ""
        while not self._stopping.is_set():
            try:
                self.check()
            except ApiError as error:
                if str(error) != failure:
                    log.warning("path_secret.check_failed", secret=WEBHOOK_CERTIFICATE_SECRET, error=error)
                failure = str(error)
                if self._secrets is None or error.status in _REFUSED:
                    self._problem = failure
                delay = _RETRY_SECONDS[min(failures, len(_RETRY_SECONDS) - 1)]
                failures += 1
            else:
                failures, failure, delay = 0, "", self._check_seconds
            self._stopping.wait(delay)

"""What makes the API server and the webhook trust each other: certificate, path secret, registration; and a proof."""

from __future__ import annotations

import ssl
from collections.abc import Mapping
from pathlib import Path
from typing import Protocol

from allocator.kube.client import Cluster
from webhook.certificate_authority import KeyPair
from webhook.certificate_manager import CertificateManager, service_dns_names
from webhook.certificates import Lifetimes
from webhook.gate import Gate
from webhook.mounted_certificate import MountedCertificate
from webhook.path_choice import PathChoice
from webhook.path_secret_manager import PathSecretManager
from webhook.path_token import PathSecrets
from webhook.registration import Registration
from webhook.replicas import Replicas
from webhook.self_check import SelfCheck
from webhook.tls import ServingContext


class CertificateSource(Protocol):
    """Where the serving certificate comes from: our own authority, or files that somebody else keeps."""

    def start(self) -> None:
        """Begin looking after it."""

    def stop(self) -> None:
        """End the thread."""

    @property
    def alive(self) -> bool:
        """Whether the thread still runs."""

    def serving(self) -> KeyPair | None:
        """Return what to serve with, None while there is nothing."""

    def problems(self) -> list[str]:
        """Say why there is nothing to serve with."""


class Trust:
    """Owns the threads that keep certificate and registration right; called on the component's main thread."""

    def __init__(
        self,
        cluster: Cluster,
        *,
        namespace: str,
        service: str,
        configuration: str,
        port: int,
        certificate_dir: Path | None,
        lifetimes: Lifetimes,
    ) -> None:
        """With a `certificate_dir`, that certificate is served and the configurations' caBundle is left alone."""
        self._tls = ServingContext()
        settle_seconds = lifetimes.settle.total_seconds()
        self._gate = Gate(settle_seconds=settle_seconds)
        self._path_secrets = PathSecretManager(
            cluster,
            namespace=namespace,
            on_change=self._answer_to,
            registered=self._is_path_registered,
            others=self._credentials_in_use,
            lifetime=lifetimes.path_secret,
            settle=lifetimes.settle,
        )
        self._authority: CertificateManager | None = None
        if certificate_dir is not None:
            self._source: CertificateSource = MountedCertificate(certificate_dir, on_change=self._use)
        else:
            self._source = self._authority = CertificateManager(
                cluster,
                namespace=namespace,
                dns_names=service_dns_names(service, namespace),
                on_change=self._use,
                registered=self._is_registered,
                others=self._path_secrets.secret_data,
                lifetimes=lifetimes,
            )
        self._registration = Registration(
            cluster,
            name=configuration,
            service=(namespace, service),
            authority=self._authority,
            path_secrets=self._path_secrets,
            gate=self._gate,
            choice=PathChoice(Replicas(cluster, namespace=namespace, service=service)),
            settle_seconds=settle_seconds,
            on_change=self._reregistered,
        )
        self._self_check = SelfCheck(
            cluster, namespace=namespace, service=service, port=port, callers=self._registration.callers
        )

    def start(self) -> None:
        """Start every thread; none of them is waited for."""
        self._source.start()
        self._path_secrets.start()
        self._registration.start()
        self._self_check.start()

    def stop(self) -> None:
        """End every thread."""
        self._self_check.stop()
        self._registration.stop()
        self._path_secrets.stop()
        self._source.stop()

    def alive(self) -> dict[str, bool]:
        """Return which parts' threads all run."""
        return {
            "certificates": self._source.alive,
            "path-secret": self._path_secrets.alive,
            "registration": self._registration.alive,
            "self-check": self._self_check.alive,
        }

    def problems(self) -> list[str]:
        """Say why the API server could not reach us, or would not trust us."""
        return [
            *self._source.problems(),
            *self._path_secrets.problems(),
            *self._registration.problems(),
            *self._self_check.problems(),
        ]

    def tls_context(self) -> ssl.SSLContext:
        """Return the context of the next handshake. Raises ConnectionResetError while there is none yet."""
        return self._tls.current()

    def route(self, path: str) -> str | None:
        """Return the admission route that a request's path opens, None where it opens none; on serving threads."""
        return self._gate.route(path)

    @property
    def has_tokens(self) -> bool:
        """Whether the path secret has been read: before that, nobody can be distinguished."""
        return self._gate.has_tokens

    def serving_certificate(self) -> bytes | None:
        """Return what is served with, PEM, the serving certificate first; None before there is one."""
        serving = self._source.serving()
        return serving.certificate if serving else None

    # These close a circle of parts that need each other; nobody calls them before `start`.
    def _is_registered(self, bundle: bytes) -> bool:
        return self._registration.carries(bundle)

    def _is_path_registered(self, secrets: PathSecrets) -> bool:
        return self._registration.leads_to(secrets)

    def _credentials_in_use(self) -> Mapping[str, str]:
        return self._authority.secret_data() if self._authority is not None else {}

    def _answer_to(self, secrets: PathSecrets) -> None:
        self._gate.use(secrets)
        self._registration.wake()
        self._self_check.wake()

    def _reregistered(self) -> None:
        self._self_check.wake()

    def _use(self, serving: KeyPair) -> None:
        self._tls.use(serving)
        self._registration.wake()
        self._self_check.wake()

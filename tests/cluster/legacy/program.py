"""`python -m tests.cluster.legacy.program OPTIONS`: `admitlb webhook` as it was while paths had no token.

It answers at the bare routes and has no others (404), knows no path secret, and writes caBundle alone into the
webhook configurations. Everything else is today's.
"""

from __future__ import annotations

import ssl
import threading
from typing import Any

from allocator.kube.client import JSON_PATCH, ApiError, Cluster
from allocator.kube.resource import MUTATING_WEBHOOKS, VALIDATING_WEBHOOKS
from webhook import component
from webhook.certificate_manager import CertificateManager, service_dns_names
from webhook.certificates import Lifetimes
from webhook.configuration_patch import patch_of
from webhook.main import webhook
from webhook.routes import ROUTES
from webhook.tls import ServingContext

_NO_ROUTE = "/not-found"


class LegacyTrust:
    """Stands in for `webhook.trust.Trust`."""

    def __init__(
        self,
        cluster: Cluster,
        *,
        namespace: str,
        service: str,
        configuration: str,
        lifetimes: Lifetimes,
        **_: Any,
    ) -> None:
        self._cluster = cluster
        self._service = (namespace, service)
        self._configuration = configuration
        self._tls = ServingContext()
        self._manager = CertificateManager(
            cluster,
            namespace=namespace,
            dns_names=service_dns_names(service, namespace),
            on_change=self._tls.use,
            registered=lambda _: True,
            lifetimes=lifetimes,
        )
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._register, name="legacy-registration", daemon=True)

    has_tokens = True

    def start(self) -> None:
        self._manager.start()
        self._thread.start()

    def stop(self) -> None:
        self._stopping.set()
        self._manager.stop()

    def alive(self) -> dict[str, bool]:
        return {"certificates": self._manager.alive, "registration": self._thread.is_alive()}

    def problems(self) -> list[str]:
        return self._manager.problems()

    def tls_context(self) -> ssl.SSLContext:
        return self._tls.current()

    def serving_certificate(self) -> bytes | None:
        serving = self._manager.serving()
        return serving.certificate if serving else None

    def route(self, path: str) -> str:
        return path if path in ROUTES else _NO_ROUTE

    def _register(self) -> None:
        while not self._stopping.wait(0.2):
            bundle = self._manager.ca_bundle()
            for resource in (MUTATING_WEBHOOKS, VALIDATING_WEBHOOKS) if bundle else ():
                try:
                    found = self._cluster.get(resource, self._configuration)
                    if operations := patch_of(found, service=self._service, bundle=bundle, path=None):
                        self._cluster.patch(
                            resource,
                            self._configuration,
                            operations,
                            content_type=JSON_PATCH,
                            field_manager="admitlb-webhook",
                        )
                except ApiError:
                    continue


if __name__ == "__main__":
    vars(component)["Trust"] = LegacyTrust
    webhook(prog_name="webhook")

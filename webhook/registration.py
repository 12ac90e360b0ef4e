"""What the cluster's webhook configurations tell the API server about us, and keeping our `caBundle` in them.

The manifests carry no caBundle. Neither a client-side nor a server-side apply of them takes away a field they
never had, but `kubectl replace`, a forced apply of an edited copy or a recreation does: both objects are
watched, and the field is put back as soon as it differs.
"""

from __future__ import annotations

import base64
import threading
from collections.abc import Callable
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

from allocator.kube.client import JSON_PATCH, ApiError, Cluster, NotFound, Object
from allocator.kube.reflector import Change, Reflector
from allocator.kube.resource import MUTATING_WEBHOOKS, VALIDATING_WEBHOOKS, Resource
from allocator.process.logs import EventLog
from webhook.certificate_manager import CertificateManager
from webhook.certificates import decoded

log = EventLog("registration")

FIELD_MANAGER = "admitlb-webhook"
_RETRY_SECONDS = (0.2, 0.5, 1.0, 2.0, 5.0)
_OVERTAKEN = (HTTPStatus.CONFLICT, HTTPStatus.UNPROCESSABLE_ENTITY)
"""How the API server says that a patch was made from an older copy."""


@dataclass(frozen=True, slots=True)
class Caller:
    """How a registered webhook is called: through which port of which Service, trusting whom (PEM, maybe empty)."""

    namespace: str
    service: str
    port: int
    ca_bundle: bytes


class Registration:
    """Mirrors both configurations called `name` and, given an `authority`, writes its bundle into them.

    One thread writes; the reflectors' threads and `wake` only tell it to look again. `on_change` runs on the
    reflectors' threads.
    """

    def __init__(
        self, cluster: Cluster, *, name: str, authority: CertificateManager | None, on_change: Callable[[], None]
    ) -> None:
        self._cluster = cluster
        self._name = name
        self._authority = authority
        self._on_change = on_change
        self._mirrors = {
            resource: Reflector(cluster, resource, on_change=self._look)
            for resource in (MUTATING_WEBHOOKS, VALIDATING_WEBHOOKS)
        }
        self._work = threading.Event()
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="registration", daemon=True)

    def start(self) -> None:
        """Begin watching and writing."""
        for mirror in self._mirrors.values():
            mirror.start()
        self._thread.start()

    def stop(self) -> None:
        """End all threads; the configurations stay as they are, other replicas use them."""
        self._stopping.set()
        self._work.set()
        for mirror in self._mirrors.values():
            mirror.stop()
        if self._thread.is_alive():
            self._thread.join(timeout=5)

    def wake(self) -> None:
        """Compare again: the bundle may have changed."""
        self._work.set()

    @property
    def alive(self) -> bool:
        """Whether every thread still runs; the owner must treat False as fatal unless it stopped them."""
        return self._thread.is_alive() and all(mirror.alive for mirror in self._mirrors.values())

    def problems(self) -> list[str]:
        """Tell which configuration is not there, or gives the API server nothing to trust us by."""
        return [
            f"registration: {resource.kind} {self._name} {lack}"
            for resource, mirror in self._mirrors.items()
            if (lack := _lack(mirror, self._name))
        ]

    def callers(self) -> frozenset[Caller]:
        """Return every way in which the API server is told to call us."""
        return frozenset(caller for configuration in self._configurations() for caller in callers(configuration))

    def carries(self, bundle: bytes) -> bool:
        """Tell whether every webhook of the configurations that exist is known to carry exactly this bundle."""
        synced = all(mirror.synced for mirror in self._mirrors.values())
        return synced and not any(bundle_patch(configuration, bundle) for configuration in self._configurations())

    def _configurations(self) -> list[Object]:
        found = (mirror.get("", self._name) for mirror in self._mirrors.values())
        return [configuration for configuration in found if configuration is not None]

    def _look(self, change: Change) -> None:
        if change.key[1] == self._name:
            self._work.set()
            self._on_change()

    def _run(self) -> None:
        failures = 0
        delay: float | None = None
        while not self._stopping.is_set():
            self._work.wait(delay)
            self._work.clear()
            try:
                self._register()
            except ApiError as error:
                # Being overtaken by another replica is no news.
                if failures == (2 if error.status in _OVERTAKEN else 0):
                    log.warning("ca_bundle.not_registered", configuration=self._name, error=error)
                delay = _RETRY_SECONDS[min(failures, len(_RETRY_SECONDS) - 1)]
                failures += 1
            else:
                failures, delay = 0, None

    def _register(self) -> None:
        known = self._authority.ca_bundle() if self._authority is not None else None
        if self._authority is None or known is None:
            return
        for resource, mirror in self._mirrors.items():
            configuration = mirror.get("", self._name)
            if configuration is not None and bundle_patch(configuration, known) and not self._stopping.is_set():
                self._write(resource, self._authority)

    def _write(self, resource: Resource, authority: CertificateManager) -> None:
        """Bring a configuration in line with the Secret.

        Neither the mirror nor the bundle known here will do: another replica may be a step ahead. Read in this order,
        and written only to the copy that was read, nothing newer is undone.
        """
        try:
            configuration = self._cluster.get(resource, self._name)
        except NotFound:
            return
        operations = bundle_patch(configuration, authority.check().ca_bundle)
        if operations:
            self._cluster.patch(
                resource, self._name, operations, content_type=JSON_PATCH, field_manager=FIELD_MANAGER
            )
            log.info("ca_bundle.registered", kind=resource.kind, configuration=self._name)


def bundle_patch(configuration: Object, bundle: bytes) -> list[dict[str, Any]]:
    """Return the JSON patch that gives every webhook of `configuration` this bundle; empty if all have it.

    It only applies to the very copy it was made from: what was decided on an older one, another replica may have
    decided better since.
    """
    encoded = base64.b64encode(bundle).decode("ascii")
    operations: list[dict[str, Any]] = [
        {"op": "add", "path": f"/webhooks/{index}/clientConfig/caBundle", "value": encoded}
        for index, webhook in enumerate(configuration.get("webhooks") or [])
        if webhook.get("clientConfig", {}).get("caBundle") != encoded
    ]
    if not operations:
        return []
    version = configuration["metadata"]["resourceVersion"]
    return [{"op": "test", "path": "/metadata/resourceVersion", "value": version}, *operations]


def callers(configuration: Object) -> list[Caller]:
    """Return how the webhooks of a configuration are called, those left out that are called by URL."""
    found = []
    for webhook in configuration.get("webhooks") or []:
        client = webhook.get("clientConfig") or {}
        if service := client.get("service"):
            bundle = decoded(client.get("caBundle") or "")
            found.append(Caller(service["namespace"], service["name"], int(service.get("port") or 443), bundle))
    return found


def _lack(mirror: Reflector, name: str) -> str:
    if not mirror.synced:
        return "has not been read yet"
    configuration = mirror.get("", name)
    if configuration is None:
        return "does not exist"
    return "" if all(caller.ca_bundle for caller in callers(configuration)) else "carries no caBundle"

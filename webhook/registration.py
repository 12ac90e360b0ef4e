"""Keeps our authority's certificates in the `caBundle` of the cluster's webhook configurations.

The manifests carry no caBundle. Neither a client-side nor a server-side apply of them takes away a field they
never had, but `kubectl replace`, a forced apply of an edited copy or a recreation does: both objects are
watched, and the field is put back as soon as it differs.
"""

from __future__ import annotations

import base64
import threading
from collections.abc import Callable
from typing import Any

from allocator.cluster import JSON_PATCH, ApiError, Cluster, Object
from allocator.logs import EventLog
from allocator.names import MUTATING_WEBHOOKS, VALIDATING_WEBHOOKS, Resource
from allocator.reflector import Change, Reflector

log = EventLog("registration")

FIELD_MANAGER = "admitlb-webhook"
_RETRY_SECONDS = (0.2, 0.5, 1.0, 2.0, 5.0)


class Registration:
    """Writes `ca_bundle()` (PEM, or None as long as there is none) into both configurations called `name`.

    One thread writes; the reflectors' threads and `wake` only tell it to look again.
    """

    def __init__(self, cluster: Cluster, *, name: str, ca_bundle: Callable[[], bytes | None]) -> None:
        self._cluster = cluster
        self._name = name
        self._ca_bundle = ca_bundle
        self._mirrors = {
            resource: Reflector(cluster, resource, on_change=self._look)
            for resource in (MUTATING_WEBHOOKS, VALIDATING_WEBHOOKS)
        }
        # Per resource the copy and the bundle last written from, by the writing thread alone: the mirror shows a
        # write a moment late and must not cause it twice.
        self._written: dict[Resource, tuple[str, bytes]] = {}
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
        """Tell which configuration does not carry our bundle, so that the API server would not trust us."""
        bundle = self._ca_bundle()
        if bundle is None:
            return ["registration: no certificate authority yet"]
        return [
            f"registration: {resource.kind} {self._name} {lack}"
            for resource, mirror in self._mirrors.items()
            if (lack := _lack(mirror, self._name, bundle))
        ]

    def _look(self, change: Change) -> None:
        if change.key[1] == self._name:
            self._work.set()

    def _run(self) -> None:
        failures = 0
        delay: float | None = None
        while not self._stopping.is_set():
            self._work.wait(delay)
            self._work.clear()
            try:
                self._register()
            except ApiError as error:
                if failures == 0:
                    log.warning("ca_bundle.not_registered", configuration=self._name, error=error)
                delay = _RETRY_SECONDS[min(failures, len(_RETRY_SECONDS) - 1)]
                failures += 1
            else:
                failures, delay = 0, None

    def _register(self) -> None:
        bundle = self._ca_bundle()
        if bundle is None or self._stopping.is_set():
            return
        for resource, mirror in self._mirrors.items():
            configuration = mirror.get("", self._name)
            if configuration is not None:
                self._patch(resource, configuration, bundle)

    def _patch(self, resource: Resource, configuration: Object, bundle: bytes) -> None:
        operations = bundle_patch(configuration, bundle)
        basis = (configuration["metadata"]["resourceVersion"], bundle)
        if not operations or self._written.get(resource) == basis:
            return
        self._cluster.patch(resource, self._name, operations, content_type=JSON_PATCH, field_manager=FIELD_MANAGER)
        self._written[resource] = basis
        log.info("ca_bundle.registered", kind=resource.kind, configuration=self._name)


def bundle_patch(configuration: Object, bundle: bytes) -> list[dict[str, Any]]:
    """Return the JSON patch that gives every webhook of `configuration` this bundle; empty if all have it.

    Each operation is guarded by the webhook's name, so that a patch computed from an old copy fails instead of
    changing another entry.
    """
    encoded = base64.b64encode(bundle).decode("ascii")
    operations: list[dict[str, Any]] = []
    for index, webhook in enumerate(configuration.get("webhooks") or []):
        if webhook.get("clientConfig", {}).get("caBundle") != encoded:
            operations += [
                {"op": "test", "path": f"/webhooks/{index}/name", "value": webhook["name"]},
                {"op": "add", "path": f"/webhooks/{index}/clientConfig/caBundle", "value": encoded},
            ]
    return operations


def _lack(mirror: Reflector, name: str, bundle: bytes) -> str:
    if not mirror.synced:
        return "has not been read yet"
    configuration = mirror.get("", name)
    if configuration is None:
        return "does not exist"
    return "does not carry our caBundle" if bundle_patch(configuration, bundle) else ""

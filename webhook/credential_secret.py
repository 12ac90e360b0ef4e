"""The Secret in which the replicas of the webhook keep what they share: certificates and the secret of the paths."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Protocol, TypeVar

from allocator.kube.client import AlreadyExists, Cluster, Conflict, NotFound, Object
from allocator.kube.resource import SECRETS
from allocator.objects.names import WEBHOOK_CERTIFICATE_SECRET

_RACES = 5


class Stored(Protocol):
    """What some fields of the Secret hold."""

    def secret_data(self) -> Mapping[str, str]:
        """Return these fields as they are written."""


Value = TypeVar("Value", bound=Stored)


class CredentialSecret:
    """Reads fields of the Secret and writes them; replicas agree through create and compare-and-swap."""

    def __init__(self, cluster: Cluster, *, namespace: str, others: Callable[[], Mapping[str, str]]) -> None:
        """`others` returns what else of the Secret's data is in use, for a Secret that is gone."""
        self._cluster = cluster
        self._namespace = namespace
        self._others = others

    def __str__(self) -> str:
        return f"Secret {self._namespace}/{WEBHOOK_CERTIFICATE_SECRET}"

    def mended(
        self, names: Sequence[str], judge: Callable[[Mapping[str, str]], tuple[Value, str | None]]
    ) -> tuple[Value, str | None]:
        """Return what these fields hold, repaired, and why they were written; None where they were not.

        `judge` gets the fields that there are, and returns what they should hold and why that differs (None: it does
        not). Whoever loses a race judges what the winner wrote. Raises ApiError, Conflict after many lost races.
        """
        for _ in range(_RACES):
            secret = self._read()
            data = (secret or {}).get("data") or {}
            value, why = judge({name: data[name] for name in names if name in data})
            if secret is None:
                why = "there was none"
            if why is not None:
                try:
                    self._write(secret, value.secret_data())
                except (AlreadyExists, Conflict):
                    continue
            return value, why
        raise Conflict(409, "Conflict", f"lost {_RACES} races for {self}")

    def _read(self) -> Object | None:
        try:
            return self._cluster.get(SECRETS, WEBHOOK_CERTIFICATE_SECRET, self._namespace)
        except NotFound:
            return None

    def _write(self, secret: Object | None, fields: Mapping[str, str]) -> None:
        """Set these fields in the Secret as it was read. Raises AlreadyExists or Conflict where another was first."""
        if secret is None:
            metadata = {
                "name": WEBHOOK_CERTIFICATE_SECRET,
                "namespace": self._namespace,
                "labels": {"app": "metallb"},
            }
            fresh = {"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "type": "Opaque"}
            self._cluster.create(SECRETS, {**fresh, "data": {**self._others(), **fields}}, self._namespace)
        else:
            self._cluster.replace(SECRETS, {**secret, "data": {**(secret.get("data") or {}), **fields}})

"""The Secret in which the replicas of the webhook keep what they share: certificates and the secret of the paths."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from allocator.kube.client import Cluster, NotFound, Object
from allocator.kube.resource import SECRETS
from allocator.objects.names import WEBHOOK_CERTIFICATE_SECRET


class CredentialSecret:
    """Reads the Secret and writes fields of it; replicas agree through create and compare-and-swap."""

    def __init__(self, cluster: Cluster, *, namespace: str, others: Callable[[], Mapping[str, str]]) -> None:
        """`others` returns what else of the Secret's data is in use, for a Secret that is gone."""
        self._cluster = cluster
        self._namespace = namespace
        self._others = others

    def __str__(self) -> str:
        return f"Secret {self._namespace}/{WEBHOOK_CERTIFICATE_SECRET}"

    def read(self) -> Object | None:
        """Return the Secret, None where there is none. Raises ApiError."""
        try:
            return self._cluster.get(SECRETS, WEBHOOK_CERTIFICATE_SECRET, self._namespace)
        except NotFound:
            return None

    def write(self, secret: Object | None, fields: Mapping[str, str]) -> None:
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

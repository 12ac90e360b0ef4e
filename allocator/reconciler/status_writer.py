"""Writes the status of our own kinds: what differs, once."""

from __future__ import annotations

from typing import Any

from allocator.kube.client import Cluster, Conflict, NotFound, Object
from allocator.kube.resource import Resource
from allocator.rules.conditions import timeless

_REMEMBERED = 1_000
"""Objects whose status was not kept; of those that are gone nobody says so, and one forgotten costs one write."""


class StatusWriter:
    """Compares a wanted status with the stored one and patches the difference. Belongs to one thread."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self._refused: dict[str, dict[str, Any]] = {}
        """By uid, what the API server took and did not keep: its CRD is of another make and lacks the field."""

    def write(self, resource: Resource, document: Object, wanted: dict[str, Any]) -> bool:
        """Make the object's status show `wanted`, and return whether that took a write. Raises ApiError.

        Fields that `wanted` does not name stay. No precondition on the version: a status describes the generation
        it names, and a label edited meanwhile must not make it fail without end.
        """
        metadata = document["metadata"]
        uid = metadata["uid"]
        if _shows(document, wanted) or self._refused.get(uid) == timeless(wanted):
            return False
        body = {"metadata": {"uid": uid}, "status": wanted}
        try:
            stored = self._cluster.patch(
                resource, metadata["name"], body, metadata.get("namespace"), subresource="status"
            )
        except (NotFound, Conflict):
            # Deleted or made anew since it was cached.
            return False
        if _shows(stored, wanted):
            self._refused.pop(uid, None)
        else:
            self._refused[uid] = timeless(wanted)
            if len(self._refused) > _REMEMBERED:
                del self._refused[next(iter(self._refused))]
        return True


def _shows(document: Object, wanted: dict[str, Any]) -> bool:
    status = document.get("status") or {}
    return all(status.get(key) == value for key, value in wanted.items())

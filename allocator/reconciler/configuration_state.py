"""ConfigurationState `controller`: what is wrong with the configuration, in one object (MetalLB 0.15.3 and later).

MetalLB: internal/k8s/controllers/configuration_state_controller.go, pool_controller.go reportCondition.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from allocator.kube.client import APPLY_PATCH, Cluster, Object
from allocator.objects import names
from allocator.objects.document import Document, labels_of
from allocator.rules.conditions import (
    KSTATUS_TYPES,
    MESSAGE_LIMIT,
    Condition,
    merged,
    ready,
    stalled,
    timeless,
)

FIELD_OWNER = "poolReconciler"
CONDITION = "poolReconcilerValid"
OWN_CONDITIONS = (CONDITION, *KSTATUS_TYPES)
NAME = "controller"
LABELS = {"metallb.io/component-type": "controller"}


def status_of(
    stored: Object | None, errors: Sequence[str], *, remarks: Sequence[str] = (), now: datetime
) -> dict[str, Any]:
    """Return the status for a configuration with these errors; without errors it is valid, whatever the remarks."""
    summary = "\n".join(errors)[:MESSAGE_LIMIT]
    condition = Condition(
        type=CONDITION,
        status="False" if errors else "True",
        reason="ConfigurationError" if errors else "Reconciled",
        # MetalLB writes an empty message, which server-side apply before Kubernetes 1.21 stores as null and refuses.
        message="\n".join((*(errors or ("no errors",)), *remarks))[:MESSAGE_LIMIT],
    )
    said = (condition.reason, condition.message)
    # MetalLB knows only the first; tools that wait for things to become ready know only the others.
    wanted = [condition, *(stalled(*said) if errors else ready(*said))]
    known = _own_conditions((stored or {}).get("status") or {}).values()
    status: dict[str, Any] = {
        "result": "Invalid" if errors else "Valid",
        "conditions": merged(known, wanted, owned=OWN_CONDITIONS, now=now),
    }
    if errors:
        status["errorSummary"] = summary
    return status


class ConfigurationState:
    """Applies the object, and applies it anew when somebody deleted it. Belongs to one thread."""

    def __init__(self, cluster: Cluster, *, namespace: str) -> None:
        self._cluster = cluster
        self._namespace = namespace
        self._refused: dict[str, Any] | None = None
        """The status the API server took and did not keep: its CRD is of another make and lacks a field."""

    def write(
        self, stored: Object | None, errors: Sequence[str], *, remarks: Sequence[str] = (), now: datetime
    ) -> bool:
        """Make the object list these errors and remarks, and return whether that took a write. Raises ApiError."""
        status = status_of(stored, errors, remarks=remarks, now=now)
        if stored is not None and (_shows(stored, status) or timeless(status) == self._refused):
            return False
        if stored is None or not LABELS.items() <= labels_of(stored).items():
            self._apply({"metadata": {"labels": LABELS}}, subresource=None)
        answer = self._apply({"metadata": {}, "status": status}, subresource="status")
        self._refused = None if _shows(answer, status) else timeless(status)
        return True

    def _apply(self, body: Object, *, subresource: str | None) -> Object:
        kind = names.CONFIGURATION_STATES
        metadata = {"name": NAME, "namespace": self._namespace, **body["metadata"]}
        return self._cluster.patch(
            kind,
            NAME,
            {**body, "apiVersion": kind.api_version, "kind": kind.kind, "metadata": metadata},
            self._namespace,
            subresource=subresource,
            content_type=APPLY_PATCH,
            field_manager=FIELD_OWNER,
            force=True,
        )


def _shows(stored: Object, status: dict[str, Any]) -> bool:
    shown: Document = stored.get("status") or {}
    return bool(
        shown.get("result") == status["result"]
        and (shown.get("errorSummary") or "") == status.get("errorSummary", "")
        and _own_conditions(shown) == _own_conditions(status)
    )


def _own_conditions(status: Document) -> dict[str, Document]:
    """By type, for the API server keeps an order of its own. What others say in conditions of theirs is left out."""
    conditions: Sequence[Document] = status.get("conditions") or ()
    return {str(one["type"]): one for one in conditions if one["type"] in OWN_CONDITIONS}

"""How far an object has come, by the rules of kstatus, which Flux waits by.

The rules: sigs.k8s.io/cli-utils pkg/kstatus (README, status/generic.go, status/core.go), for the kinds that an
installation and its users bring.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import StrEnum
from typing import Any

from allocator.kube.client import Object


class Status(StrEnum):
    """What kstatus says of an object that exists."""

    IN_PROGRESS = "InProgress"
    FAILED = "Failed"
    CURRENT = "Current"
    TERMINATING = "Terminating"


def status_of(obj: Object) -> Status:
    """Return how far the object has come."""
    if obj["metadata"].get("deletionTimestamp"):
        return Status.TERMINATING
    generation = obj["metadata"].get("generation")
    observed = _status(obj).get("observedGeneration")
    if generation is not None and observed is not None and generation != observed:
        return Status.IN_PROGRESS
    # Whichever of the two stands first decides.
    for condition in _status(obj).get("conditions") or ():
        if condition["status"] == "True" and condition["type"] == "Reconciling":
            return Status.IN_PROGRESS
        if condition["status"] == "True" and condition["type"] == "Stalled":
            return Status.FAILED
    group, _, _ = obj["apiVersion"].rpartition("/")
    return _KINDS.get(f"{group}/{obj['kind']}", _of_custom_resource)(obj)


def _of_custom_resource(obj: Object) -> Status:
    """Without a Ready condition there is nothing to wait for: that counts as finished."""
    return _progress(_conditions(obj).get("Ready", "True") == "True")


def _of_definition(obj: Object) -> Status:
    conditions = _conditions(obj)
    if conditions.get("NamesAccepted") == "False":
        return Status.FAILED
    return _progress(conditions.get("Established") == "True")


def _of_service(obj: Object) -> Status:
    """An address outside the cluster is not waited for, only one inside."""
    spec = obj["spec"]
    return _progress(spec.get("type") != "LoadBalancer" or bool(spec.get("clusterIP")))


def _of_deployment(obj: Object) -> Status:
    status, wanted = _status(obj), obj["spec"].get("replicas", 1)
    for condition in status.get("conditions") or ():
        if condition["type"] == "Progressing" and condition.get("reason") == "ProgressDeadlineExceeded":
            return Status.FAILED
    counted = [
        status.get(field, 0) for field in ("replicas", "updatedReplicas", "readyReplicas", "availableReplicas")
    ]
    return _progress(all(count == wanted for count in counted) and _conditions(obj).get("Available") == "True")


def _of_daemon_set(obj: Object) -> Status:
    status = _status(obj)
    if "observedGeneration" not in status:
        return Status.IN_PROGRESS
    counted = ("currentNumberScheduled", "updatedNumberScheduled", "numberAvailable", "numberReady")
    wanted = status.get("desiredNumberScheduled", 0)
    return _progress(all(status.get(field, 0) >= wanted for field in counted))


def _progress(finished: bool) -> Status:
    return Status.CURRENT if finished else Status.IN_PROGRESS


def _status(obj: Object) -> dict[str, Any]:
    return obj.get("status") or {}


def _conditions(obj: Object) -> dict[str, str]:
    return {condition["type"]: condition["status"] for condition in _status(obj).get("conditions") or ()}


_KINDS: dict[str, Callable[[Object], Status]] = {
    "/Service": _of_service,
    "apps/Deployment": _of_deployment,
    "apps/DaemonSet": _of_daemon_set,
    "apiextensions.k8s.io/CustomResourceDefinition": _of_definition,
    "/Secret": lambda _: Status.CURRENT,
    "/ConfigMap": lambda _: Status.CURRENT,
    "policy/PodDisruptionBudget": lambda _: Status.CURRENT,
}

"""The status a node writes for a Pod."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime

from allocator.kube.client import Object
from allocator.kube.resource import Resource
from tests.lab.container import Container

PODS = Resource("", "v1", "pods", "Pod")


def timestamp() -> str:
    """Return the present time as Kubernetes writes it."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def pod_status(
    pod: Object, containers: Sequence[Container], *, host_ip: str, pod_ips: Sequence[str], before: Object | None
) -> Object:
    """Return the whole status; equal to `before` while nothing changed (transition times are kept)."""
    started = all(container.running or container.last_exit for container in containers)
    ready = all(container.ready for container in containers)
    previous = before or pod.get("status") or {}
    conditions = {"PodScheduled": True, "Initialized": True, "ContainersReady": ready, "Ready": ready}
    status: Object = {
        "phase": "Running" if started else "Pending",
        "hostIP": host_ip,
        "startTime": previous.get("startTime") or timestamp(),
        "conditions": [_condition(kind, value, previous) for kind, value in conditions.items()],
        "containerStatuses": [_container_status(container) for container in containers],
    }
    if pod_ips:
        status["podIP"] = pod_ips[0]
        status["podIPs"] = [{"ip": address} for address in pod_ips]
    return status


def _condition(kind: str, value: bool, previous: Object) -> Object:
    status = "True" if value else "False"
    for condition in previous.get("conditions") or []:
        if condition["type"] == kind and condition["status"] == status and condition.get("lastTransitionTime"):
            return {"type": kind, "status": status, "lastTransitionTime": condition["lastTransitionTime"]}
    return {"type": kind, "status": status, "lastTransitionTime": timestamp()}


def _container_status(container: Container) -> Object:
    image = container.spec.get("image", "")
    status: Object = {
        "name": container.name,
        "image": image,
        "imageID": f"lab://{image}",
        "ready": container.ready,
        "started": container.running,
        "restartCount": container.restarts,
        "lastState": {"terminated": container.last_exit} if container.last_exit else {},
    }
    if container.running and container.process is not None:
        status["containerID"] = f"lab://{container.process.pid}"
        status["state"] = {"running": {"startedAt": container.started_at}}
    else:
        reason, message = container.waiting_reason, container.waiting_message
        status["state"] = {"waiting": {"reason": reason, **({"message": message} if message else {})}}
    return status

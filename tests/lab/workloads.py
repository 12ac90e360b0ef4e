"""Objects the lab makes for tests and the demo: a web application as a real Deployment."""

from __future__ import annotations

from collections.abc import Mapping

from allocator.kube.client import Object
from allocator.kube.resource import Resource
from tests.lab.container import PROJECT

DEPLOYMENTS = Resource("apps", "v1", "deployments", "Deployment")
DAEMON_SETS = Resource("apps", "v1", "daemonsets", "DaemonSet")
HTTP_PORT = 8080


def http_deployment(
    name: str, namespace: str, *, replicas: int, node: str | None, labels: Mapping[str, str]
) -> Object:
    """Return a Deployment of `tests.lab.http_server`, labelled `app: NAME`, on one node where one is named."""
    fields = {"POD_NAME": "metadata.name", "NODE_NAME": "spec.nodeName"}
    container = {
        "name": "http",
        "image": "admitlb-lab/http",
        "command": ["python", "-m", "tests.lab.http_server", f"--port={HTTP_PORT}"],
        "env": [
            {"name": "PYTHONPATH", "value": str(PROJECT)},
            *({"name": key, "valueFrom": {"fieldRef": {"fieldPath": path}}} for key, path in fields.items()),
        ],
        "ports": [{"name": "http", "containerPort": HTTP_PORT}],
        "readinessProbe": {"httpGet": {"path": "/ready", "port": "http"}, "periodSeconds": 2},
    }
    all_labels = {"app": name, **labels}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name, "namespace": namespace, "labels": all_labels},
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": {"app": name}},
            "template": {
                "metadata": {"labels": all_labels},
                "spec": {
                    "terminationGracePeriodSeconds": 1,
                    "containers": [container],
                    **({"nodeSelector": {"kubernetes.io/hostname": node}} if node else {}),
                },
            },
        },
    }


def rolled_out(workload: Object) -> bool:
    """Whether a Deployment or DaemonSet runs what it asks for, in its latest form, with every Pod ready."""
    status = workload.get("status") or {}
    if status.get("observedGeneration", 0) < workload["metadata"]["generation"]:
        return False
    if workload["kind"] == "DaemonSet":
        wanted = status.get("desiredNumberScheduled", 0)
        counts = [status.get(key, 0) for key in ("numberReady", "updatedNumberScheduled")]
        return bool(wanted > 0 and counts == [wanted] * 2)
    wanted = workload["spec"]["replicas"]
    counts = [status.get(key, 0) for key in ("replicas", "updatedReplicas", "readyReplicas")]
    return bool(counts == [wanted] * 3)

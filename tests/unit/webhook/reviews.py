"""AdmissionReview documents as an API server sends them."""

from __future__ import annotations

from typing import Any

SERVICE: dict[str, Any] = {
    "apiVersion": "v1",
    "kind": "Service",
    "metadata": {"name": "web", "namespace": "production"},
    "spec": {"type": "LoadBalancer", "ports": [{"port": 80, "protocol": "TCP"}]},
}


def review(**request: Any) -> dict[str, Any]:
    """Return a review of the creation of SERVICE, with fields of its request replaced (None removes one)."""
    content: dict[str, Any] = {
        "uid": "705ab4f5-6393-11e8-b7cc-42010a800002",
        "kind": {"group": "", "version": "v1", "kind": "Service"},
        "resource": {"group": "", "version": "v1", "resource": "services"},
        "requestKind": {"group": "", "version": "v1", "kind": "Service"},
        "requestResource": {"group": "", "version": "v1", "resource": "services"},
        "name": "web",
        "namespace": "production",
        "operation": "CREATE",
        "userInfo": {"username": "alice", "groups": ["system:authenticated"]},
        "object": SERVICE,
        "oldObject": None,
        "dryRun": False,
        "options": {"apiVersion": "meta.k8s.io/v1", "kind": "CreateOptions"},
    }
    content.update(request)
    wanted = {key: value for key, value in content.items() if value is not None}
    return {"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "request": wanted}

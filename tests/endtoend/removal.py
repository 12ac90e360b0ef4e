"""Taking objects, and AdmitLB with its kinds, out of the lab again."""

from __future__ import annotations

from contextlib import suppress

from allocator.kube.client import ApiError, NotFound
from allocator.kube.resource import Resource
from allocator.objects.names import DEFAULT_NAMESPACE
from tests.lab.container import PROJECT
from tests.lab.lab import Lab
from tests.lab.waiting import wait_until


def delete(lab: Lab, resource: Resource, name: str, namespace: str = DEFAULT_NAMESPACE) -> None:
    """Delete an object once admission lets it go.

    The API server notices that a connection to a webhook died with its node by the request that fails on it.
    """

    def deleted() -> bool:
        with suppress(NotFound):
            lab.cluster().delete(resource, name, namespace)
        return True

    wait_until(deleted, 60, f"{name} is deleted", retry_on=(ApiError,))


def remove(lab: Lab) -> None:
    """Remove AdmitLB, if it is there, and wait until its namespace is gone."""
    # First of all, or they would refuse the deletion of pools once nobody answers for them.
    lab.kubectl("delete", "mutatingwebhookconfigurations,validatingwebhookconfigurations", "--all")
    # Then what runs, at once: how components end in order is for other tests.
    lab.kubectl("delete", "deployments,replicasets,daemonsets", "--all", "--cascade=orphan", "-n", DEFAULT_NAMESPACE)
    lab.kubectl("delete", "pods", "--all", "--force", "--grace-period=0", "-n", DEFAULT_NAMESPACE)
    lab.kubectl("delete", "--ignore-not-found", "-k", str(PROJECT / "kustomize" / "overlays" / "default"))
    wait_until(lambda: DEFAULT_NAMESPACE not in _namespaces(lab), 60, "the namespace is gone", interval_seconds=0.2)


def _namespaces(lab: Lab) -> list[str]:
    return lab.kubectl("get", "namespaces", "-o", "jsonpath={.items[*].metadata.name}").stdout.split()

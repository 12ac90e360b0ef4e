"""Label selectors as we check them and as the API server checks them in kinds of its own."""

from __future__ import annotations

from allocator.kube.client import ApiError, Cluster
from allocator.kube.resource import Resource
from allocator.objects.document import InvalidDocument
from allocator.objects.selectors import selector_from
from tests.unit.objects.labels_oracle import TABLE, Selector

DEPLOYMENTS = Resource("apps", "v1", "deployments", "Deployment")


def accepted_by_us(selector: Selector) -> bool:
    try:
        selector_from(selector)
    except InvalidDocument:
        return False
    return True


def accepted_by_the_api_server(cluster: Cluster, namespace: str, selector: Selector) -> bool:
    """Create a Deployment that selects so. That its template lacks the labels is no fault of the selector."""
    pod = {"metadata": {"labels": {"none": "such"}}, "spec": {"containers": [{"name": "c", "image": "i"}]}}
    spec = {"replicas": 0, "selector": selector, "template": pod}
    deployment = {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "d"}, "spec": spec}
    try:
        cluster.create(DEPLOYMENTS, deployment, namespace)
    except ApiError as error:
        assert error.status == 422
        return "spec.selector" not in str(error)
    cluster.delete(DEPLOYMENTS, "d", namespace)
    return True


def test_the_api_server_and_we_agree(cluster: Cluster, namespace: str) -> None:
    ours = {repr(selector): accepted_by_us(selector) for selector in TABLE}

    theirs = {repr(selector): accepted_by_the_api_server(cluster, namespace, selector) for selector in TABLE}

    assert ours == theirs
    assert set(ours.values()) == {True, False}

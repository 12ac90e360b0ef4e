"""The default overlay, applied to a real and empty API server as a person or a GitOps tool would."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from allocator.kube.client import JSON_PATCH
from allocator.kube.resource import MUTATING_WEBHOOKS, VALIDATING_WEBHOOKS, Resource
from allocator.objects.names import (
    DEFAULT_NAMESPACE,
    IP_ADDRESS_POOLS,
    IP_ALLOCATIONS,
    L2_ADVERTISEMENTS,
    WEBHOOK_CONFIGURATION,
)
from tests.lab.binaries import find
from tests.lab.control_plane import ControlPlane
from tests.lab.waiting import wait_until

pytestmark = pytest.mark.cluster

OVERLAY = str(Path(__file__).parents[2] / "kustomize" / "overlays" / "default")
KINDS = (IP_ADDRESS_POOLS, L2_ADVERTISEMENTS, IP_ALLOCATIONS)
ACCESS_REVIEWS = Resource(
    "authorization.k8s.io", "v1", "subjectaccessreviews", "SubjectAccessReview", namespaced=False
)
BUNDLE = "LS0tLS1CRUdJTiBDRVJUSUZJQ0FURS0tLS0t"


@pytest.fixture(scope="module")
def empty(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ControlPlane]:
    """A control plane of this module's own: a registered webhook that nobody serves would break other tests."""
    with ControlPlane(find(), tmp_path_factory.mktemp("install")) as control_plane:
        yield control_plane


@pytest.fixture(scope="module")
def warned(empty: ControlPlane) -> str:
    """What kubectl and the API server warned of when AdmitLB was installed."""
    return empty.kubectl("apply", "-k", OVERLAY).stderr


@pytest.fixture(scope="module")
def installed(empty: ControlPlane, warned: str) -> ControlPlane:
    return empty


def test_one_apply_installs_everything_on_an_empty_cluster(installed: ControlPlane, warned: str) -> None:
    cluster = installed.cluster()

    assert warned == ""
    wait_until(lambda: all(cluster.serves(kind) for kind in KINDS), 10, "our kinds are served")


def test_a_second_apply_changes_nothing(installed: ControlPlane) -> None:
    lines = installed.kubectl("apply", "-k", OVERLAY).stdout.splitlines()

    assert lines
    assert [line for line in lines if not line.endswith(" unchanged")] == []


def test_server_side_apply_takes_the_same_overlay_without_conflict(installed: ControlPlane) -> None:
    installed.kubectl("apply", "--server-side", "--field-manager=gitops", "-k", OVERLAY)


def test_applying_again_keeps_the_certificate_the_webhook_registered(installed: ControlPlane) -> None:
    cluster = installed.cluster()
    patch = [{"op": "add", "path": "/webhooks/0/clientConfig/caBundle", "value": BUNDLE}]
    for resource in (MUTATING_WEBHOOKS, VALIDATING_WEBHOOKS):
        cluster.patch(
            resource, WEBHOOK_CONFIGURATION, patch, content_type=JSON_PATCH, field_manager="admitlb-webhook"
        )

    installed.kubectl("apply", "-k", OVERLAY)
    installed.kubectl("apply", "--server-side", "--field-manager=gitops", "-k", OVERLAY)

    for resource in (MUTATING_WEBHOOKS, VALIDATING_WEBHOOKS):
        webhook = cluster.get(resource, WEBHOOK_CONFIGURATION)["webhooks"][0]
        assert webhook["clientConfig"]["caBundle"] == BUNDLE


def test_a_webhook_that_does_not_run_keeps_nobody_from_creating_a_service(installed: ControlPlane) -> None:
    created = installed.kubectl("create", "service", "loadbalancer", "orphan", "--tcp=80:80")

    assert "created" in created.stdout


def test_a_pool_is_refused_while_nobody_can_check_it(installed: ControlPlane) -> None:
    pool = Path(__file__).parents[1] / "guide" / "basic-ipaddresspool-configuration.yaml"

    refused = installed.kubectl("apply", "-f", str(pool), check=False)

    assert refused.returncode != 0
    assert "ipaddresspools.metallb.io" in refused.stderr


@pytest.mark.parametrize(
    "action",
    [
        "controller patch services/status web",
        "controller create ipallocations.admitlb.io",
        "controller delete ipallocations.admitlb.io 192.168.1.100",
        "controller update secrets metallb-webhook-cert",
        "controller update leases.coordination.k8s.io admitlb-reconciler",
        "speaker get secrets memberlist",
        "speaker watch endpointslices.discovery.k8s.io",
    ],
)
def test_a_component_may_do_what_it_must(installed: ControlPlane, action: str) -> None:
    assert allowed(installed, action)


@pytest.mark.parametrize(
    "action",
    [
        "controller patch services web",
        "controller delete services web",
        "controller delete ipaddresspools.metallb.io default-pool",
        "controller get secrets of-somebody-else",
        "controller patch validatingwebhookconfigurations.admissionregistration.k8s.io of-somebody-else",
        "controller update leases.coordination.k8s.io of-somebody-else",
        "speaker get secrets metallb-webhook-cert",
        "speaker patch services/status web",
        "speaker patch nodes node-1",
    ],
)
def test_a_component_may_do_no_more(installed: ControlPlane, action: str) -> None:
    assert not allowed(installed, action)


def allowed(control_plane: ControlPlane, action: str) -> bool:
    """Ask the API server whether a ServiceAccount may do something: "ACCOUNT VERB RESOURCE[/SUBRESOURCE] [NAME]"."""
    account, verb, resource, *name = action.split()
    path, _, subresource = resource.partition("/")
    plural, _, group = path.partition(".")
    attributes = {
        "namespace": DEFAULT_NAMESPACE,
        "verb": verb,
        "group": group,
        "resource": plural,
        "subresource": subresource,
        "name": "".join(name),
    }
    review = {
        "apiVersion": ACCESS_REVIEWS.api_version,
        "kind": ACCESS_REVIEWS.kind,
        "spec": {
            "user": f"system:serviceaccount:{DEFAULT_NAMESPACE}:{account}",
            "resourceAttributes": attributes,
        },
    }
    return bool(control_plane.cluster().create(ACCESS_REVIEWS, review)["status"]["allowed"])

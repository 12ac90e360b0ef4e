"""The control plane of the cluster in a box is a real one, and does what its handles say."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from allocator.kube.client import ApiError, Cluster, Object, Unavailable
from allocator.kube.resource import (
    ENDPOINT_SLICES_V1,
    ENDPOINT_SLICES_V1BETA1,
    NAMESPACES,
    NODES,
    SERVICE_ACCOUNTS,
    SERVICES,
    Resource,
)
from tests.lab.control_plane import API_SERVER, ControlPlane, KubectlFailed
from tests.lab.kubeconfigs import CONTROLLER_MANAGER
from tests.lab.waiting import wait_until

PODS = Resource("", "v1", "pods", "Pod")
CONFIG_MAPS = Resource("", "v1", "configmaps", "ConfigMap")
DEPLOYMENTS = Resource("apps", "v1", "deployments", "Deployment")


@pytest.fixture
def whole(control_plane: ControlPlane, namespace: str) -> Iterator[ControlPlane]:
    """For tests that break the control plane: whole again before the namespace goes, also when the test fails."""
    yield control_plane
    for name, process in control_plane.processes.items():
        control_plane.resume(name)
        if not process.alive:
            control_plane.start_again(name)
    control_plane.wait_ready()


def config_map(name: str) -> Object:
    return {"metadata": {"name": name}, "data": {"key": "value"}}


def test_it_serves_the_version_its_binaries_say(control_plane: ControlPlane) -> None:
    served = control_plane.cluster().raw("GET", "/version")["gitVersion"]

    assert served.startswith("v" + ".".join(map(str, control_plane.binaries.server_version)))


def test_services_are_dual_stack(cluster: Cluster, namespace: str) -> None:
    service = {
        "metadata": {"name": "web"},
        "spec": {"ipFamilyPolicy": "RequireDualStack", "ports": [{"port": 80}], "selector": {"app": "web"}},
    }

    created = cluster.create(SERVICES, service, namespace)

    assert created["spec"]["ipFamilies"] == ["IPv4", "IPv6"]
    assert len(created["spec"]["clusterIPs"]) == 2


def test_a_load_balancer_takes_tcp_and_udp_on_one_port(cluster: Cluster, namespace: str) -> None:
    ports = [{"name": kind.lower(), "port": 53, "protocol": kind} for kind in ("TCP", "UDP")]
    service = {"metadata": {"name": "dns"}, "spec": {"type": "LoadBalancer", "ports": ports}}

    assert len(cluster.create(SERVICES, service, namespace)["spec"]["ports"]) == 2


def test_dry_run_shows_the_result_and_stores_nothing(control_plane: ControlPlane, namespace: str) -> None:
    shown = control_plane.kubectl(
        "create", "configmap", "dry", "--dry-run=server", "-o", "jsonpath={.metadata.uid}", "-n", namespace
    )

    assert shown.stdout
    assert control_plane.kubectl("get", "configmap", "dry", "-n", namespace, check=False).returncode != 0


def test_a_deployment_gets_its_pods(cluster: Cluster, namespace: str) -> None:
    labels = {"app": "web"}
    template = {"metadata": {"labels": labels}, "spec": {"containers": [{"name": "web", "image": "web"}]}}
    spec = {"replicas": 2, "selector": {"matchLabels": labels}, "template": template}

    cluster.create(DEPLOYMENTS, {"metadata": {"name": "web"}, "spec": spec}, namespace)

    wait_until(lambda: len(cluster.list(PODS, namespace)["items"]) == 2, 30, "two pods of the Deployment exist")


def test_a_ready_pod_becomes_an_endpoint(cluster: Cluster, namespace: str) -> None:
    slices = next(kind for kind in (ENDPOINT_SLICES_V1, ENDPOINT_SLICES_V1BETA1) if cluster.serves(kind))
    service = {"metadata": {"name": "web"}, "spec": {"ports": [{"port": 80}], "selector": {"a": "b"}}}
    cluster.create(SERVICES, service, namespace)
    wait_until(lambda: cluster.list(SERVICE_ACCOUNTS, namespace)["items"], 30, "the namespace has its ServiceAccount")
    cluster.create(NODES, {"metadata": {"name": namespace}})
    pod = {
        "metadata": {"name": "web", "labels": {"a": "b"}},
        "spec": {"containers": [{"name": "web", "image": "web"}], "nodeName": namespace},
    }
    wait_until(lambda: cluster.create(PODS, pod, namespace), 30, "a pod can be made", retry_on=(ApiError,))
    status = {
        "phase": "Running",
        "podIP": "10.244.1.2",
        "podIPs": [{"ip": "10.244.1.2"}],
        "conditions": [{"type": "Ready", "status": "True"}],
    }
    cluster.patch(PODS, "web", {"status": status}, namespace, subresource="status")

    def addresses() -> list[str]:
        found = cluster.list(slices, namespace)["items"]
        return [
            address for item in found for endpoint in item["endpoints"] or [] for address in endpoint["addresses"]
        ]

    wait_until(lambda: addresses() == ["10.244.1.2"], 30, "the EndpointSlice has the pod's address")
    cluster.delete(NODES, namespace)


def test_a_frozen_api_server_answers_nothing_until_it_thaws(whole: ControlPlane) -> None:
    impatient = Cluster.from_environment(str(whole.kubeconfig()), timeout_seconds=0.5)
    whole.pause_api()
    with pytest.raises(Unavailable):
        impatient.get(NAMESPACES, "default")

    whole.resume_api()

    wait_until(lambda: impatient.get(NAMESPACES, "default"), 10, "an answer", retry_on=(Unavailable,))


def test_sigkill_of_the_api_server_loses_nothing(whole: ControlPlane, namespace: str) -> None:
    cluster = whole.cluster()
    before = cluster.create(CONFIG_MAPS, config_map("kept"), namespace)
    whole.kill(API_SERVER)
    with pytest.raises(Unavailable):
        cluster.get(CONFIG_MAPS, "kept", namespace)

    whole.start_api()

    assert cluster.get(CONFIG_MAPS, "kept", namespace)["metadata"]["uid"] == before["metadata"]["uid"]


def test_sigkill_of_etcd_loses_nothing(whole: ControlPlane, namespace: str) -> None:
    cluster = whole.cluster()
    before = cluster.create(CONFIG_MAPS, config_map("kept"), namespace)
    whole.kill("etcd")

    whole.start_again("etcd")

    after = wait_until(
        lambda: cluster.get(CONFIG_MAPS, "kept", namespace), 30, "etcd serves again", retry_on=(ApiError,)
    )
    assert after["metadata"]["uid"] == before["metadata"]["uid"]


def test_controllers_work_on_after_a_sigkill(whole: ControlPlane, namespace: str) -> None:
    cluster = whole.cluster()
    whole.kill(CONTROLLER_MANAGER)
    whole.start_again(CONTROLLER_MANAGER)
    cluster.create(NAMESPACES, {"metadata": {"name": f"{namespace}-late"}})

    wait_until(
        lambda: cluster.list(SERVICE_ACCOUNTS, f"{namespace}-late")["items"],
        60,
        "a namespace made after the restart gets its ServiceAccount",
    )
    cluster.delete(NAMESPACES, f"{namespace}-late")


def test_a_service_account_is_who_its_kubeconfig_says_and_may_do_nothing(
    control_plane: ControlPlane, namespace: str
) -> None:
    control_plane.cluster().create(SERVICE_ACCOUNTS, {"metadata": {"name": "nobody"}}, namespace)
    path = str(control_plane.kubeconfig_for(namespace, "nobody"))

    refused = control_plane.kubectl("--kubeconfig", path, "get", "pods", "-n", namespace, check=False)

    assert f'User "system:serviceaccount:{namespace}:nobody" cannot list resource "pods"' in refused.stderr


def test_a_failed_kubectl_says_what_it_was_and_why(control_plane: ControlPlane) -> None:
    with pytest.raises(KubectlFailed, match=r"kubectl get configmap none: exit 1\n.*not found"):
        control_plane.kubectl("get", "configmap", "none")

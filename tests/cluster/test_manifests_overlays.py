"""Overlays on a real and empty API server: any order of arrival, applied again, under other names."""

from __future__ import annotations

import os
import random
import ssl
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from allocator.kube.client import ApiError, Cluster, Object
from allocator.kube.resource import MUTATING_WEBHOOKS, SERVICES, VALIDATING_WEBHOOKS, Resource
from allocator.objects.names import DEFAULT_NAMESPACE, IP_ADDRESS_POOLS
from tests.cluster.installation import ingress, pool, service
from tests.cluster.overlays import KUSTOMIZE, as_list, compose, folders, key, render
from tests.cluster.webhook_replica import NODE, POD_ADDRESS, PODS, ensure_node, give_address
from tests.lab.binaries import find
from tests.lab.container_spec import environment, expanded, port_number
from tests.lab.control_plane import ControlPlane
from tests.lab.processes import Process
from tests.lab.waiting import wait_until

PREFIX, HOME = "edge-", "lb"
COMPONENTS = ("strict", "priority-highest-first")
CONFIGURATION = f"{PREFIX}metallb-webhook-configuration"
WORKLOADS = ("Deployment", "DaemonSet")
"""Controllers write their status all the time, which moves their resourceVersion."""
ROUNDS = 5


@pytest.fixture(scope="module")
def empty(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ControlPlane]:
    """A control plane of this module's own: AdmitLB is installed on it under names that no other test expects."""
    with ControlPlane(find(), tmp_path_factory.mktemp("overlays")) as control_plane:
        yield control_plane


@pytest.fixture(scope="module")
def variant(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An overlay with a prefix, another namespace and components, as a user would write it."""
    folder = tmp_path_factory.mktemp("variant") / "overlay"
    return compose(folder, *COMPONENTS, namePrefix=PREFIX, namespace=HOME)


@pytest.fixture(scope="module")
def arrived(empty: ControlPlane, variant: Path) -> list[Object]:
    """Its objects, which came to the empty cluster shuffled, and after all others the namespace they live in."""
    objects = render(variant)
    shuffled = random.Random(7).sample(objects, len(objects))
    shuffled.sort(key=lambda obj: bool(obj["kind"] == "Namespace"))
    for _ in range(ROUNDS):
        if empty.kubectl("apply", "-f", "-", stdin=as_list(shuffled), check=False).returncode == 0:
            return objects
    raise AssertionError(f"not everything was taken in {ROUNDS} rounds")


@pytest.fixture(scope="module")
def running(
    empty: ControlPlane, arrived: list[Object], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Cluster]:
    """Both containers of the controller, started with what the rendered Deployment says and nothing else."""
    directory = tmp_path_factory.mktemp("components")
    give_address(POD_ADDRESS)
    (deployment,) = (obj for obj in arrived if obj["kind"] == "Deployment")
    template = deployment["spec"]["template"]
    cluster = empty.cluster()
    kubeconfig = empty.kubeconfig_for(HOME, template["spec"]["serviceAccountName"])
    pod = published(cluster, template["metadata"]["labels"], template["spec"]["containers"])
    processes = [
        started(container, pod, cluster, kubeconfig, directory) for container in template["spec"]["containers"]
    ]
    try:
        for probe in probes(template["spec"]["containers"]):
            wait_until(lambda probe=probe: ready(probe), 60, f"{probe} answers", retry_on=(OSError,))  # type: ignore[misc]
        wait_until(lambda: admits(cluster), 40, "the API server asks the webhook", retry_on=(ApiError,))
        yield cluster
    finally:
        for process in processes:
            process.sigkill()


def started(container: Object, pod: Object, cluster: Cluster, kubeconfig: Path, directory: Path) -> Process:
    variables = environment(container, pod, cluster)
    words = [expanded(str(word), variables) for word in (*container["command"], *container["args"])]
    argv: list[str | Path] = [Path(sys.executable).with_name(words[0]), *words[1:]]
    own = {"ADMITLB_KUBECONFIG": str(kubeconfig), "PATH": os.environ["PATH"]}
    return Process(argv, name=container["name"], log=directory / f"{container['name']}.log", env={**own, **variables})


def published(cluster: Cluster, labels: Object, containers: list[Object]) -> Object:
    """Make the processes an endpoint of the Services that select the Pod, as a kubelet does; return the Pod."""
    shown = [
        {"name": one["name"], "image": one["image"], "ports": one["ports"], "command": one["command"]}
        for one in containers
    ]
    ensure_node(cluster, NODE)
    spec = {"nodeName": NODE, "automountServiceAccountToken": False, "containers": shown}
    metadata: Object = {"name": "controller-0", "labels": labels}
    cluster.create(PODS, {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec}, HOME)
    status = {
        "phase": "Running",
        "podIP": POD_ADDRESS,
        "podIPs": [{"ip": POD_ADDRESS}],
        "conditions": [{"type": "Ready", "status": "True"}],
    }
    return cluster.patch(PODS, metadata["name"], {"status": status}, HOME, subresource="status")


def probes(containers: list[Object]) -> list[str]:
    """The URLs of the readiness probes, as the manifests name ports and paths."""
    urls = []
    for container in containers:
        probe = container["readinessProbe"]["httpGet"]
        port = port_number(container, probe["port"])
        urls.append(f"{probe.get('scheme', 'HTTP').lower()}://127.0.0.1:{port}{probe['path']}")
    return urls


def ready(url: str) -> bool:
    """Whether a probe succeeds; like a kubelet it trusts any certificate."""
    context = ssl._create_unverified_context() if url.startswith("https") else None
    with urllib.request.urlopen(url, timeout=2, context=context) as answer:
        return bool(answer.status == 200)


def admits(cluster: Cluster) -> bool:
    """Whether a pool that only the webhook would refuse is refused by it."""
    try:
        cluster.create(IP_ADDRESS_POOLS, in_home(pool("probe", "not-an-address")), HOME, dry_run=True)
    except ApiError as error:
        return error.status == 422
    return False


def in_home(document: Object) -> Object:
    return {**document, "metadata": {**document["metadata"], "namespace": HOME}}


def versions(control_plane: ControlPlane, objects: list[Object]) -> dict[tuple[str, str, str, str], str]:
    cluster = control_plane.cluster()
    found = {}
    for obj in objects:
        if obj["kind"] in WORKLOADS:
            continue
        group, _, version = obj["apiVersion"].rpartition("/")
        plural = f"{obj['kind'].lower()}s"
        namespace = obj["metadata"].get("namespace")
        resource = Resource(group, version, plural, obj["kind"], namespaced=namespace is not None)
        live = cluster.get(resource, obj["metadata"]["name"], namespace)
        found[key(obj)] = live["metadata"]["resourceVersion"]
    return found


def test_all_objects_arrive_in_whatever_order(arrived: list[Object]) -> None:
    assert {obj["kind"] for obj in arrived} >= {"Namespace", "CustomResourceDefinition", "Deployment", "DaemonSet"}


def test_the_webhook_answers_through_the_prefixed_service(running: Cluster) -> None:
    for resource in (MUTATING_WEBHOOKS, VALIDATING_WEBHOOKS):
        webhooks = running.get(resource, CONFIGURATION)["webhooks"]
        assert {webhook["clientConfig"]["service"]["name"] for webhook in webhooks} == {
            f"{PREFIX}metallb-webhook-service"
        }
        assert all(webhook["clientConfig"]["caBundle"] for webhook in webhooks)
    with pytest.raises(ApiError) as refused:
        running.create(IP_ADDRESS_POOLS, in_home(pool("wrong", "no-address")), HOME)
    assert refused.value.status == 422


def test_a_service_gets_its_address_by_the_rules_of_the_components(running: Cluster) -> None:
    for name, priority, address in (("low", 1, "192.0.2.1"), ("high", 9, "192.0.2.9")):
        allocation = {"priority": priority, "namespaces": ["default"]}
        running.create(IP_ADDRESS_POOLS, in_home(pool(name, address, serviceAllocation=allocation)), HOME)

    wait_until(lambda: knows(running, "low") and knows(running, "high"), 20, "admission knows both pools")

    stored = running.create(SERVICES, service("web"), "default")

    assert stored["metadata"]["annotations"]["metallb.io/ip-allocated-from-pool"] == "high"
    wait_until(lambda: shown(running) == ["192.0.2.9"], 40, "the reconciler shows the address")


def shown(cluster: Cluster) -> list[str]:
    return ingress(cluster.get(SERVICES, "web", "default"))


def knows(cluster: Cluster, name: str) -> bool:
    try:
        cluster.create(SERVICES, service("ask", {"metallb.io/address-pool": name}), "default", dry_run=True)
    except ApiError:
        return False
    return True


def test_strictness_denies_what_would_be_left_pending(running: Cluster) -> None:
    with pytest.raises(ApiError) as denied:
        running.create(SERVICES, service("lost", {"metallb.io/address-pool": "nowhere"}), "default")

    assert "nowhere" in denied.value.message


def test_services_of_the_own_namespace_are_not_sent_to_the_webhook(running: Cluster) -> None:
    """The strict webhook would deny it: the namespace selector followed the namespace."""
    stored = running.create(SERVICES, service("own", {"metallb.io/address-pool": "nowhere"}), HOME)

    assert "metallb.io/ip-allocated-from-pool" not in stored["metadata"].get("annotations", {})


@pytest.mark.parametrize(
    "check",
    [
        f"{PREFIX}controller patch mutatingwebhookconfigurations.admissionregistration.k8s.io/{CONFIGURATION}",
        f"{PREFIX}controller list ipaddresspools.metallb.io",
        f"{PREFIX}speaker list ipaddresspools.metallb.io",
        f"{PREFIX}speaker get secrets/memberlist",
    ],
)
def test_the_prefixed_accounts_have_their_rights(empty: ControlPlane, arrived: list[Object], check: str) -> None:
    account, verb, what = check.split()

    answer = empty.kubectl(
        "auth", "can-i", verb, what, "-n", HOME, f"--as=system:serviceaccount:{HOME}:{account}", check=False
    )

    assert answer.stdout.split() == ["yes"], answer.stderr


def test_applying_again_after_it_has_run_changes_nothing(
    empty: ControlPlane, running: Cluster, variant: Path, arrived: list[Object]
) -> None:
    before = versions(empty, arrived)

    lines = empty.kubectl("apply", "-k", str(variant)).stdout.splitlines()

    assert len(lines) == len(arrived)
    assert [line for line in lines if not line.endswith(" unchanged")] == []
    assert versions(empty, arrived) == before


def test_server_side_apply_after_it_has_run_changes_nothing(
    empty: ControlPlane, running: Cluster, variant: Path, arrived: list[Object]
) -> None:
    command = ("apply", "--server-side", "--field-manager=gitops", "-k", str(variant))
    empty.kubectl(*command)
    before = versions(empty, arrived)

    empty.kubectl(*command)

    assert versions(empty, arrived) == before


@pytest.mark.parametrize("name", folders("overlays"))
def test_every_object_of_an_overlay_is_accepted_as_far_as_the_server_knows_its_kind(
    empty: ControlPlane, arrived: list[Object], name: str
) -> None:
    """As a dry run, without a warning. Fields newer than the server are dropped by it; of kinds it does not serve
    kubectl says so."""
    objects = render(KUSTOMIZE / "overlays" / name)
    empty.kubectl("create", "namespace", DEFAULT_NAMESPACE, check=False)

    done = empty.kubectl(
        "apply", "--dry-run=server", "--validate=false", "-f", "-", stdin=as_list(objects), check=False
    )

    complaints = [line for line in done.stderr.splitlines() if line and not expected(line)]
    unserved = [line for line in done.stderr.splitlines() if "no matches for kind" in line]
    assert complaints == []
    assert len(done.stdout.splitlines()) == len(objects) - len(unserved)


def expected(line: str) -> bool:
    """Whether it tells of a kind that is not served, or of how the tests before have made an object."""
    of_the_test = "is missing the kubectl.kubernetes.io/last-applied-configuration annotation" in line
    return of_the_test or "no matches for kind" in line or "ensure CRDs are installed first" in line

"""A host of the LAN that already has the address a Service is given: what the cluster does, and what it says."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress

import pytest

from allocator.kube.client import Conflict, NotFound, Object
from allocator.kube.resource import EVENTS, SERVICES, Resource
from allocator.objects.names import DEFAULT_NAMESPACE, IP_ADDRESS_POOLS, IP_ALLOCATIONS, L2_ADVERTISEMENTS
from tests.lab.client import Client
from tests.lab.lab import Lab
from tests.lab.waiting import wait_until
from tests.lab.who_has import who_has

VIP, NEXT = "203.0.113.50", "203.0.113.51"
SQUATTED = f"{VIP}/32"


@pytest.fixture(scope="module")
def installed(lab: Lab) -> Iterator[Lab]:
    """The lab with AdmitLB, a pool of a few addresses, and an application."""
    lab.install()
    spec = {"addresses": [f"{VIP}-203.0.113.53"], "reuseDelaySeconds": 0}
    lab.cluster().create(IP_ADDRESS_POOLS, _ours(IP_ADDRESS_POOLS, spec), DEFAULT_NAMESPACE)
    spec = {"ipAddressPools": ["taken"], "interfaces": ["eth0"]}
    lab.cluster().create(L2_ADVERTISEMENTS, _ours(L2_ADVERTISEMENTS, spec), DEFAULT_NAMESPACE)
    lab.deploy_http("taken")
    yield lab
    lab.cluster().delete(L2_ADVERTISEMENTS, "taken", DEFAULT_NAMESPACE)
    wait_until(lambda: _pool_deleted(lab), 20, "the pool is free to go", retry_on=(Conflict,))
    lab.kubectl("delete", "deployment", "taken")


@pytest.fixture
def admitlb(installed: Lab) -> Iterator[Lab]:
    wait_until(lambda: _pool_status(installed).get("nextAddresses", [""])[0] == VIP, 60, f"{VIP} comes next")
    yield installed
    for name in ("taken", "second"):
        with suppress(NotFound):
            installed.cluster().delete(SERVICES, name, "default")
    # One that was reported as taken is asked about twice, half a minute apart, before it counts as free again.
    wait_until(lambda: not _states(installed), 90, "no claim is left")


@contextmanager
def squatting(lab: Lab) -> Iterator[Client]:
    """A client's kernel has the address, and says nothing of it unless it is asked."""
    squatter = lab.client()
    squatter.host.run_ip(f"address add {SQUATTED} dev eth0")
    try:
        yield squatter
    finally:
        squatter.host.run_ip(f"address del {SQUATTED} dev eth0")


def test_an_address_that_a_host_has_is_not_given_until_it_is_gone(admitlb: Lab) -> None:
    with squatting(admitlb) as squatter:
        wait_until(lambda: _states(admitlb) == {VIP: "Conflicted"}, 60, "the address is marked")
        allocation = admitlb.cluster().get(IP_ALLOCATIONS, VIP)
        assert allocation["spec"]["foreignHost"]["hardwareAddress"] == squatter.host.mac("eth0")
        wait_until(lambda: _pool_status(admitlb).get("conflictedIPv4") == 1, 10, "the pool counts it")
        admitlb.cluster().create(SERVICES, _service("taken"), "default")
        wait_until(lambda: _shown(admitlb, "taken") == [NEXT], 10, "the next address is given")
        wait_until(lambda: squatter.http_get(f"http://{NEXT}/").status == 200, 20, "it serves", retry_on=(OSError,))
    wait_until(lambda: VIP not in _states(admitlb), 90, "the address is free again")
    admitlb.cluster().create(SERVICES, _service("second"), "default")
    wait_until(lambda: _shown(admitlb, "second") == [VIP], 10, "it is given")


def test_whoever_asks_for_an_address_that_a_host_has_gets_it_and_the_host_keeps_it_until_it_is_gone(
    admitlb: Lab,
) -> None:
    nodes = {node.mac("eth0"): node.name for node in admitlb.nodes.values()}
    asker = admitlb.host("node-1")
    with squatting(admitlb) as squatter:
        wait_until(lambda: _states(admitlb) == {VIP: "Conflicted"}, 60, "the address is marked")
        admitlb.cluster().create(SERVICES, _service("taken", pinned=True), "default")
        wait_until(lambda: _shown(admitlb, "taken") == [VIP], 10, "it is assigned as asked for")
        said = wait_until(
            lambda: [line for pod in _speakers(admitlb) for line in _conflict_lines(admitlb, pod)],
            20,
            "a speaker says that the address is taken",
        )
        assert squatter.host.mac("eth0") in said[0]
        assert who_has(asker, VIP, listen_seconds=0.3) == {squatter.host.mac("eth0")}
        # Nor does the host lose it when the speaker dies that left it the address.
        (yielding,) = {pod for pod in _speakers(admitlb) if _conflict_lines(admitlb, pod)}
        others = _speakers(admitlb) - {yielding}
        admitlb.kill_component(yielding, "speaker")
        wait_until(lambda: any(_conflict_lines(admitlb, pod) for pod in others), 20, "its successor finds the host")
        assert who_has(asker, VIP, listen_seconds=0.3) == {squatter.host.mac("eth0")}
    # Asked again ten seconds later.
    wait_until(lambda: squatter.who_has(VIP, listen_seconds=0.2) & nodes.keys(), 20, "a node answers")
    wait_until(lambda: squatter.http_get(f"http://{VIP}/").status == 200, 20, "it serves", retry_on=(OSError,))


def test_a_host_that_comes_between_the_look_and_the_announcement_is_reported_at_once(admitlb: Lab) -> None:
    # What nobody answers for is known within seconds of becoming the next address.
    wait_until(lambda: admitlb.client().who_has(VIP, listen_seconds=2.0) == set(), 20, "nobody has the address")
    with squatting(admitlb):
        admitlb.cluster().create(SERVICES, _service("taken"), "default")
        wait_until(lambda: _shown(admitlb, "taken"), 10, "an address is given")
        if _shown(admitlb, "taken") == [VIP]:
            wait_until(lambda: _event(admitlb, "addressConflict"), 10, "the Service's author is told")


def _speakers(lab: Lab) -> set[str]:
    return {pod["metadata"]["name"] for pod in lab.pods(DEFAULT_NAMESPACE, "component=speaker")}


def _conflict_lines(lab: Lab, pod: str) -> list[str]:
    lines = lab.logs(pod, "speaker").splitlines()
    return [line for line in lines if "event=address.conflict " in line and f"ip={VIP}" in line]


def _pool_deleted(lab: Lab) -> bool:
    """Delete the pool; refused as long as a claim of the deleted Service is there."""
    lab.cluster().delete(IP_ADDRESS_POOLS, "taken", DEFAULT_NAMESPACE)
    return True


def _ours(resource: Resource, spec: Object) -> Object:
    metadata = {"name": "taken", "namespace": DEFAULT_NAMESPACE}
    return {"apiVersion": resource.api_version, "kind": resource.kind, "metadata": metadata, "spec": spec}


def _service(name: str, *, pinned: bool = False) -> Object:
    ports = [{"port": 80, "targetPort": 8080, "protocol": "TCP"}]
    spec = {"type": "LoadBalancer", "selector": {"app": "taken"}, "ports": ports}
    annotations = {"metallb.io/loadBalancerIPs": VIP} if pinned else {}
    metadata = {"name": name, "annotations": annotations}
    return {"apiVersion": "v1", "kind": "Service", "metadata": metadata, "spec": spec}


def _pool_status(lab: Lab) -> Object:
    return dict(lab.cluster().get(IP_ADDRESS_POOLS, "taken", DEFAULT_NAMESPACE).get("status") or {})


def _states(lab: Lab) -> dict[str, str]:
    return {item["metadata"]["name"]: item["spec"]["state"] for item in lab.cluster().list(IP_ALLOCATIONS)["items"]}


def _shown(lab: Lab, name: str) -> list[str]:
    load_balancer = lab.cluster().get(SERVICES, name, "default")["status"].get("loadBalancer") or {}
    return [entry["ip"] for entry in load_balancer.get("ingress") or ()]


def _event(lab: Lab, reason: str) -> list[str]:
    items = lab.cluster().list(EVENTS, "default")["items"]
    return [one["message"] for one in items if one["reason"] == reason and one["involvedObject"]["name"] == "taken"]

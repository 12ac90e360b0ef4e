"""A host of the LAN that already has the address a Service is given: what the cluster does, and what it says."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from allocator.kube.client import Conflict, Object
from allocator.kube.resource import SERVICES, Resource
from allocator.objects.names import DEFAULT_NAMESPACE, IP_ADDRESS_POOLS, L2_ADVERTISEMENTS
from tests.lab.lab import Lab
from tests.lab.waiting import wait_until
from tests.lab.who_has import who_has

VIP = "203.0.113.50"
SQUATTED = f"{VIP}/32"


@pytest.fixture(scope="module")
def admitlb(lab: Lab) -> Iterator[Lab]:
    """The lab with AdmitLB, a pool of one address, and an application."""
    lab.install()
    lab.cluster().create(IP_ADDRESS_POOLS, _ours(IP_ADDRESS_POOLS, {"addresses": [SQUATTED]}), DEFAULT_NAMESPACE)
    spec = {"ipAddressPools": ["taken"], "interfaces": ["eth0"]}
    lab.cluster().create(L2_ADVERTISEMENTS, _ours(L2_ADVERTISEMENTS, spec), DEFAULT_NAMESPACE)
    lab.deploy_http("taken")
    yield lab
    lab.cluster().delete(L2_ADVERTISEMENTS, "taken", DEFAULT_NAMESPACE)
    wait_until(lambda: _pool_deleted(lab), 20, "the pool is free to go", retry_on=(Conflict,))
    lab.kubectl("delete", "deployment", "taken")


def test_an_address_that_a_host_has_is_left_to_it_until_it_is_gone(admitlb: Lab) -> None:
    squatter = admitlb.client()
    nodes = {node.mac("eth0"): node.name for node in admitlb.nodes.values()}
    asker = admitlb.host("node-1")
    squatter.host.run_ip(f"address add {SQUATTED} dev eth0")
    try:
        admitlb.cluster().create(SERVICES, _service(), "default")
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
    finally:
        squatter.host.run_ip(f"address del {SQUATTED} dev eth0")
    # Asked again ten seconds later.
    wait_until(lambda: squatter.who_has(VIP, listen_seconds=0.2) & nodes.keys(), 20, "a node answers")
    wait_until(lambda: squatter.http_get(f"http://{VIP}/").status == 200, 20, "it serves", retry_on=(OSError,))
    admitlb.cluster().delete(SERVICES, "taken", "default")


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


def _service() -> Object:
    ports = [{"port": 80, "targetPort": 8080, "protocol": "TCP"}]
    spec = {"type": "LoadBalancer", "selector": {"app": "taken"}, "ports": ports}
    return {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "taken"}, "spec": spec}

"""A dual-stack Service as an IPv6 client sees it: found, served, and moved when a node dies."""

from __future__ import annotations

import os
import statistics
import threading
from collections.abc import Iterator

import pytest

from allocator.kube.client import Object
from allocator.kube.resource import SERVICES, Resource
from allocator.objects.names import DEFAULT_NAMESPACE, IP_ADDRESS_POOLS, L2_ADVERTISEMENTS
from tests.bench.speaker_site import admission_works
from tests.endtoend.removal import delete
from tests.lab.capture import ETH_P_IPV6
from tests.lab.lab import Lab
from tests.lab.node import Node
from tests.lab.waiting import wait_until

VIPS = ("203.0.113.40", "2001:db8:1::40")
URLS = {VIPS[0]: f"http://{VIPS[0]}/", VIPS[1]: f"http://[{VIPS[1]}]/"}
OUTAGE_LIMIT_MS = 2000.0
KILLS = int(os.environ.get("ADMITLB_NODE_KILLS", "2"))
BACKEND = "node-3"


@pytest.fixture(scope="module")
def dual_stack(lab: Lab) -> Iterator[Lab]:
    """The lab with AdmitLB and a dual-stack Service, announced by node-1 or node-2, its application on node-3."""
    lab.install()
    lab.kubectl("label", "node", BACKEND, "metallb/external-speaker-")
    pool = _ours(IP_ADDRESS_POOLS, "dual", {"addresses": [f"{vip}/{'128' if ':' in vip else '32'}" for vip in VIPS]})
    lab.cluster().create(IP_ADDRESS_POOLS, pool, DEFAULT_NAMESPACE)
    selector = {"matchLabels": {"metallb/external-speaker": "true"}}
    spec = {"ipAddressPools": ["dual"], "interfaces": ["eth0"], "nodeSelectors": [selector]}
    lab.cluster().create(L2_ADVERTISEMENTS, _ours(L2_ADVERTISEMENTS, "dual", spec), DEFAULT_NAMESPACE)
    lab.deploy_http("six", node=BACKEND)
    lab.cluster().create(SERVICES, _service("six"), "default")
    yield lab
    delete(lab, SERVICES, "six", "default")
    delete(lab, L2_ADVERTISEMENTS, "dual")
    delete(lab, IP_ADDRESS_POOLS, "dual")
    admission_works(lab)
    lab.kubectl("delete", "deployment", "six")
    lab.kubectl("label", "node", BACKEND, "metallb/external-speaker=true")


@pytest.mark.parametrize("vip", VIPS)
def test_both_addresses_are_found_at_one_node_and_serve_http(dual_stack: Lab, vip: str) -> None:
    announcer = wait_announced(dual_stack, vip)
    wait_until(lambda: _status(dual_stack, vip) == 200, 20, f"{vip} serves", retry_on=(OSError,))
    assert dual_stack.client().neighbours()[vip] == announcer.mac()
    assert wait_announced(dual_stack, VIPS[0]) is wait_announced(dual_stack, VIPS[1])


def test_no_node_has_the_address_on_an_interface(dual_stack: Lab) -> None:
    wait_announced(dual_stack, VIPS[1])
    for node in dual_stack.nodes.values():
        assert VIPS[1] not in dual_stack.host(node.name).run("ip", "-6", "address", "show", "dev", "eth0").stdout


def test_an_ipv6_client_follows_when_the_announcing_node_dies(dual_stack: Lab) -> None:
    outages = [_outage_of_a_kill(dual_stack, VIPS[1]) for _ in range(KILLS)]
    told, gaps = zip(*outages, strict=True)
    print(
        f"IPv6 over {KILLS} node kills: first advertisement median {statistics.median(told):.0f} ms, "
        f"outage median {statistics.median(gaps):.0f} ms, worst {max(gaps):.0f} ms"
    )
    assert max(gaps) < OUTAGE_LIMIT_MS


def _outage_of_a_kill(lab: Lab, vip: str) -> tuple[float, float]:
    """Kill the announcing node; return when another announced the address and the longest gap in HTTP, in ms."""
    client = lab.client()
    announcer = wait_announced(lab, vip)
    wait_until(lambda: _status(lab, vip) == 200, 20, f"{vip} serves", retry_on=(OSError,))
    with client.capture(ethertype=ETH_P_IPV6) as capture, client.outage(URLS[vip], rate_per_second=100) as meter:
        # The meter sees undisturbed service on both sides of the gap.
        threading.Event().wait(0.5)
        killed = announcer.kill()
        successor = wait_announced(lab, vip, other_than=announcer)
        wait_until(lambda: _status(lab, vip) == 200, 20, f"{vip} serves", retry_on=(OSError,))
        threading.Event().wait(0.5)
    announcer.revive()
    lab.kubectl("rollout", "status", "daemonset/speaker", "-n", DEFAULT_NAMESPACE, "--timeout=60s")
    assert successor is not announcer
    assert meter.report.longest_gap.ended < meter.report.ended, "HTTP did not come back"
    told = next(frame.at for frame in capture.frames if _tells(frame.data, successor) and frame.at > killed)
    return 1000 * (told - killed), meter.report.longest_gap_ms


def wait_announced(lab: Lab, vip: str, *, other_than: Node | None = None) -> Node:
    """Wait until exactly one node answers for the address, and return it."""
    by_mac = {node.mac("eth0"): node for node in lab.nodes.values()}

    def sole() -> Node | None:
        answering = [by_mac[mac] for mac in lab.client().who_has(vip, listen_seconds=0.2)]
        return answering[0] if len(answering) == 1 and answering[0] is not other_than else None

    return wait_until(sole, 20, f"exactly one node answers for {vip}")


def _tells(frame: bytes, node: Node) -> bool:
    """Whether the frame is a neighbour advertisement to everyone by the node."""
    return (frame[:6].hex(":"), frame[6:12].hex(":"), frame[54]) == ("33:33:00:00:00:01", node.mac(), 136)


def _status(lab: Lab, vip: str) -> int:
    return lab.client().http_get(URLS[vip]).status


def _ours(resource: Resource, name: str, spec: Object) -> Object:
    metadata = {"name": name, "namespace": DEFAULT_NAMESPACE}
    return {"apiVersion": resource.api_version, "kind": resource.kind, "metadata": metadata, "spec": spec}


def _service(name: str) -> Object:
    ports = [{"port": 80, "targetPort": 8080, "protocol": "TCP"}]
    spec = {"type": "LoadBalancer", "selector": {"app": name}, "ports": ports, "ipFamilyPolicy": "RequireDualStack"}
    return {"apiVersion": "v1", "kind": "Service", "metadata": {"name": name}, "spec": spec}

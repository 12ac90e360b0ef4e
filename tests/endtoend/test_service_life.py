"""A Service from `kubectl apply` to an answer on the wire, and what the death of any part does to it."""

from __future__ import annotations

import os
import statistics
import threading
from collections.abc import Iterator

import pytest

from allocator.kube.client import Object
from allocator.kube.resource import SERVICES, Resource
from allocator.objects.names import DEFAULT_NAMESPACE, IP_ADDRESS_POOLS, IP_ALLOCATIONS, L2_ADVERTISEMENTS
from tests.bench.speaker_site import admission_works
from tests.endtoend.removal import delete
from tests.lab.client import Client
from tests.lab.control_plane import API_SERVER
from tests.lab.kubeconfigs import CONTROLLER_MANAGER
from tests.lab.lab import Lab
from tests.lab.node import Node
from tests.lab.waiting import wait_until

VIP = "203.0.113.30"
URL = f"http://{VIP}/"
OUTAGE_LIMIT_MS = 2000.0
KILLS = int(os.environ.get("ADMITLB_NODE_KILLS", "1"))
"""`make bench BENCH_ARGS=speaker-kill` makes 20."""
BACKEND = "node-3"


@pytest.fixture(scope="module")
def admitlb(lab: Lab) -> Iterator[Lab]:
    """The lab with AdmitLB, one pool on eth0 announced by node-1 and node-2, and an application on node-3."""
    lab.install()
    # The application outlives every announcer that a test kills.
    lab.kubectl("label", "node", BACKEND, "metallb/external-speaker-")
    pool = _ours(IP_ADDRESS_POOLS, "lan", {"addresses": ["203.0.113.30-203.0.113.39"], "reuseDelaySeconds": 0})
    lab.cluster().create(IP_ADDRESS_POOLS, pool, DEFAULT_NAMESPACE)
    selector = {"matchLabels": {"metallb/external-speaker": "true"}}
    spec = {"ipAddressPools": ["lan"], "interfaces": ["eth0"], "nodeSelectors": [selector]}
    lab.cluster().create(L2_ADVERTISEMENTS, _ours(L2_ADVERTISEMENTS, "lan", spec), DEFAULT_NAMESPACE)
    lab.deploy_http("web", node=BACKEND)
    lab.cluster().create(SERVICES, _service("web"), "default")
    yield lab
    delete(lab, SERVICES, "web", "default")
    delete(lab, L2_ADVERTISEMENTS, "lan")
    delete(lab, IP_ADDRESS_POOLS, "lan")
    admission_works(lab)
    lab.kubectl("delete", "deployment", "web")
    lab.kubectl("label", "node", BACKEND, "metallb/external-speaker=true")


def test_the_address_is_answered_by_one_node_and_serves_http(admitlb: Lab) -> None:
    announcer = wait_announced(admitlb)
    assert announcer.name in ("node-1", "node-2")
    # kube-proxy has its rules a moment after the Service has its address.
    wait_serves(admitlb.client())
    assert admitlb.client().http_get(URL).status == 200
    assert admitlb.client().neighbours()[VIP] == announcer.mac()


def test_nobody_answers_for_an_address_that_no_service_has(admitlb: Lab) -> None:
    wait_announced(admitlb)
    assert admitlb.client().who_has("203.0.113.39") == set()


def test_a_client_is_without_answer_for_less_than_two_seconds_when_the_announcing_node_dies(admitlb: Lab) -> None:
    gaps = []
    for _ in range(KILLS):
        announcer = wait_announced(admitlb)
        wait_serves(admitlb.client())
        with admitlb.client().outage(URL, rate_per_second=100) as meter:
            let_it_run(0.5)
            announcer.kill()
            successor = wait_announced(admitlb, other_than=announcer)
            wait_serves(admitlb.client())
            let_it_run(0.5)
        assert successor is not announcer
        assert meter.report.longest_gap.ended < meter.report.ended, "HTTP did not come back"
        gaps.append(meter.report.longest_gap_ms)
        announcer.revive()
        wait_speakers_ready(admitlb)
    print(f"outage over {KILLS} node kills: median {statistics.median(gaps):.0f} ms, worst {max(gaps):.0f} ms")
    assert max(gaps) < OUTAGE_LIMIT_MS


def test_a_partition_ends_with_one_announcer(admitlb: Lab) -> None:
    announcer = wait_announced(admitlb)
    announcer.cut()
    wait_announced(admitlb, other_than=announcer)
    announcer.heal()
    wait_announced(admitlb)


def test_every_component_may_be_killed_and_the_service_keeps_its_address(admitlb: Lab) -> None:
    wait_announced(admitlb)
    victims = sorted(admitlb.processes())
    assert any("controller" in name for name in victims)
    assert any("speaker" in name for name in victims)
    for name in victims:
        component = name.rsplit("/", maxsplit=1)[-1]
        if component in ("webhook", "reconciler", "speaker"):
            pod = name.split("/")[-2]
            admitlb.kill_component(pod, component)
        elif component in (CONTROLLER_MANAGER, API_SERVER):
            admitlb.control_plane.kill(component)
            if component == API_SERVER:
                admitlb.control_plane.start_again(component)
    # It ends for good where the API server is not ready within ten seconds of its start.
    admitlb.control_plane.wait_ready()
    admitlb.control_plane.start_again(CONTROLLER_MANAGER)
    wait_speakers_ready(admitlb)
    admitlb.kubectl("rollout", "status", "deployment/controller", "-n", DEFAULT_NAMESPACE, "--timeout=60s")
    wait_announced(admitlb)
    wait_serves(admitlb.client())
    assert shown(admitlb) == [VIP]
    claim = admitlb.cluster().get(IP_ALLOCATIONS, VIP)["spec"]
    assert (claim["state"], [holder["name"] for holder in claim["holders"]]) == ("Bound", ["web"])


def wait_announced(lab: Lab, *, other_than: Node | None = None) -> Node:
    """Wait until exactly one node answers ARP for the address, and return it."""
    by_mac = {node.mac("eth0"): node for node in lab.nodes.values()}

    def sole() -> Node:
        answering = [by_mac[mac] for mac in lab.client().who_has(VIP, listen_seconds=0.2)]
        assert [node for node in answering if node is not other_than] == answering[:1], f"{VIP}: {names(answering)}"
        return answering[0]

    return wait_until(sole, 20, f"exactly one node answers for {VIP}", retry_on=(AssertionError, IndexError))


def names(nodes: list[Node]) -> list[str]:
    """Say which nodes these are."""
    return [node.name for node in nodes]


def wait_serves(client: Client) -> None:
    """Wait until the application answers through the address."""
    wait_until(lambda: client.http_get(URL).status == 200, 20, f"{URL} answers", retry_on=(OSError,))


def shown(lab: Lab) -> list[str]:
    """Return the addresses in the Service's status."""
    status = lab.cluster().get(SERVICES, "web", "default")["status"]
    return [entry["ip"] for entry in status["loadBalancer"].get("ingress") or ()]


def wait_speakers_ready(lab: Lab) -> None:
    """Ask every speaker itself: what a DaemonSet's status says of a killed one comes late."""
    urls = [f"http://{node.addresses[0]}:9122/readyz" for node in lab.nodes.values()]
    wait_until(
        lambda: all(lab.client().http_get(url).status == 200 for url in urls),
        60,
        "every speaker is ready",
        retry_on=(OSError,),
    )


def let_it_run(seconds: float) -> None:
    """Let the outage meter see undisturbed service, so that a gap has an edge on both sides."""
    threading.Event().wait(seconds)


def _ours(resource: Resource, name: str, spec: Object) -> Object:
    metadata = {"name": name, "namespace": DEFAULT_NAMESPACE}
    return {"apiVersion": resource.api_version, "kind": resource.kind, "metadata": metadata, "spec": spec}


def _service(name: str) -> Object:
    ports = [{"port": 80, "targetPort": 8080, "protocol": "TCP"}]
    spec = {"type": "LoadBalancer", "selector": {"app": name}, "ports": ports}
    return {"apiVersion": "v1", "kind": "Service", "metadata": {"name": name}, "spec": spec}

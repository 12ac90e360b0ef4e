"""The status page of real reconcilers: the one that leads and the one that stands by show the same."""

from __future__ import annotations

import http.client
import re

import pytest

from allocator.kube.resource import SERVICES
from allocator.objects.names import DEFAULT_NAMESPACE, IP_ADDRESS_POOLS, IP_ALLOCATIONS, L2_ADVERTISEMENTS
from tests.cluster.installation import ingress, pool, service
from tests.cluster.reconciling import Reconciling, free_port
from tests.lab.waiting import wait_until

Ports = dict[str, int]


@pytest.fixture(scope="module")
def running(reconciling: Reconciling) -> tuple[Reconciling, Ports]:
    """Two reconcilers that serve the page; the first one leads. One Service has the only address, one waits."""
    ports = {"leader": free_port(), "standby": free_port()}
    site = reconciling
    site.start("leader", f"--status-page-port={ports['leader']}").wait_leading()
    site.start("standby", f"--status-page-port={ports['standby']}")
    # A pool that none covers is no pool that serves.
    kind = L2_ADVERTISEMENTS
    metadata = {"name": "all", "namespace": DEFAULT_NAMESPACE}
    site.cluster.create(
        kind,
        {"apiVersion": kind.api_version, "kind": kind.kind, "metadata": metadata, "spec": {}},
        DEFAULT_NAMESPACE,
    )
    site.cluster.create(IP_ADDRESS_POOLS, pool("single", "192.0.2.10"), DEFAULT_NAMESPACE)
    for name in ("web", "late"):
        site.cluster.create(SERVICES, service(name), "default")
        if name == "web":
            wait_until(lambda: ingress(site.cluster.get(SERVICES, "web", "default")), 15, "it has an address")
    return site, ports


def page(port: int, path: str = "/") -> str:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    try:
        connection.request("GET", path)
        response = connection.getresponse()
        assert response.status == 200
        html = response.read().decode()
    finally:
        connection.close()
    return re.sub(r"\s+", " ", re.sub(r"<[^>]*>", " ", html.partition("</style>")[2]))


@pytest.mark.parametrize("replica", ["leader", "standby"])
def test_a_replica_shows_pools_addresses_and_what_waits(running: tuple[Reconciling, Ports], replica: str) -> None:
    _, ports = running
    role = {"leader": "this replica leads", "standby": "this replica stands by"}[replica]

    def shown() -> bool:
        text = page(ports[replica])
        assert role in text
        assert "single 192.0.2.10 IPv4 1 0 100% full" in text
        assert "192.0.2.10 default/web single Bound" in text
        assert re.search(r"Waiting .*default/late \d+[smh] no IPv4 address left \(single: full\)", text)
        return True

    wait_until(shown, 20, "the page shows it all", interval_seconds=0.2, retry_on=(AssertionError, OSError))


def test_that_no_node_announces_an_address_is_said_first_with_the_reason(running: tuple[Reconciling, Ports]) -> None:
    site, ports = running
    message = "announced by no node: no endpoint of the Service serves"
    ready = {"type": "Ready", "status": "False", "reason": "NoEndpoint", "message": message}
    ready["lastTransitionTime"] = "2026-01-01T00:00:00Z"
    site.cluster.patch(IP_ALLOCATIONS, "192.0.2.10", {"status": {"conditions": [ready]}}, subresource="status")
    alarm = "1 address is announced by no node Address Service Why 192.0.2.10 default/web no endpoint of the Service"
    for port in ports.values():
        wait_until(lambda port=port: alarm in page(port).partition("AdmitLB")[0], 20, "the page begins with it")  # type: ignore[misc]


def test_a_move_of_the_announcement_is_seen_by_both(running: tuple[Reconciling, Ports]) -> None:
    site, ports = running
    for node in ("node-1", "node-2"):
        announced = {"node": node, "interfaces": ["eth0"], "since": "2026-01-01T00:00:00Z"}
        site.cluster.patch(IP_ALLOCATIONS, "192.0.2.10", {"status": {"announcedBy": announced}}, subresource="status")
    for port in ports.values():
        wait_until(
            lambda port=port: "192.0.2.10 announced by node-2, before by node-1" in page(port),  # type: ignore[misc]
            20,
            "the move is listed",
            interval_seconds=0.2,
        )
        assert "node-2 on eth0" in page(port, "/?q=node-2")
        assert "No address is held." in page(port, "/?q=node-1")

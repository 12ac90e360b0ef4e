"""BGP from `kubectl apply -k` to a client behind the routers: routes at two vendors, and a node that leaves."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from rich.console import Console

from allocator.kube.client import ApiError, Object
from allocator.kube.resource import SERVICES
from allocator.objects.names import DEFAULT_NAMESPACE
from tests.cluster.installation import service
from tests.endtoend.removal import remove
from tests.lab.frr_image import NAME
from tests.lab.lab import Lab
from tests.lab.outage import OutageMeter
from tests.lab.planned_leaves import BY_SIGN, roll
from tests.lab.route_monitor import RouteMonitor
from tests.lab.routers import BIRD, FRR, NoRouters, Routers, lost
from tests.lab.waiting import wait_until
from tests.lab.workloads import DAEMON_SETS
from tests.soak.bgp.__main__ import show
from tests.soak.bgp.run import Plan, run

pytestmark = pytest.mark.timeout(240)

OVERLAY = "kustomize/overlays/bgp"
CONFIGURATION = Path(__file__).parent / "bgp" / "configuration.yaml"
ADDRESS, ADDRESS6 = "198.51.100.10", "2001:db8:100::10"
URL = f"http://{ADDRESS}/"
ROUTE_SECONDS = 30.0
SESSION_SECONDS = 60.0
REQUESTS_PER_SECOND = 100.0
SOAK_SECONDS = float(os.environ.get("ADMITLB_SOAK_SECONDS", "30"))
QUICK = (
    "speaker killed",
    "all speakers killed",
    "node excluded",
    "mgmtd of a node's FRR killed",
    "daemon of a node's FRR killed",
    "FRR router restarted",
    "API server frozen",
)
"""Half of what `make soak-bgp` has: what is over in seconds."""


@pytest.fixture(scope="module")
def routers(lab: Lab) -> Iterator[Routers]:
    """AdmitLB with BGP, both routers, and an application that every node announces to both."""
    if NAME not in lab.images:
        pytest.skip("FRR's image is not here; `python -m tests.lab.frr_programs` fetches it from Debian")
    remove(lab)
    try:
        with Routers(lab) as routers:
            lab.install(OVERLAY)
            lab.wait_rolled_out(DAEMON_SETS, "frr")
            wait_until(
                lambda: lab.kubectl("apply", "-f", str(CONFIGURATION), check=False).returncode == 0,
                SESSION_SECONDS,
                "the configuration is admitted",
                interval_seconds=0.5,
            )
            lab.deploy_http("far", replicas=3)
            lab.cluster().create(SERVICES, far(), "default")
            yield routers
    except NoRouters as error:
        pytest.skip(str(error))
    finally:
        lab.kubectl("delete", "--ignore-not-found", "service,deployment", "far")
        remove(lab)


def far() -> Object:
    """A Service of the pool that routers learn."""
    ports = [{"port": 80, "protocol": "TCP", "targetPort": 8080}]
    addresses = {"metallb.io/loadBalancerIPs": f"{ADDRESS},{ADDRESS6}"}
    return service("far", addresses, ports=ports, ipFamilyPolicy="PreferDualStack")


def nodes(lab: Lab) -> set[str]:
    """The nodes' addresses."""
    return {node.addresses[0] for node in lab.nodes.values()}


def wait_routes(routers: Routers, expected: set[str], seconds: float = ROUTE_SECONDS) -> None:
    """Wait until both routers send what is for the address to these nodes."""
    for router in (BIRD, FRR):
        wait_until(
            lambda router=router: routers.next_hops(router, f"{ADDRESS}/32") == expected,  # type: ignore[misc]
            seconds,
            f"{router} sends {ADDRESS} to {sorted(expected)}",
        )


def test_a_service_is_a_route_at_both_routers_and_a_client_behind_them_is_answered(
    lab: Lab, routers: Routers
) -> None:
    wait_routes(routers, nodes(lab), SESSION_SECONDS)

    # A node announces a new Service once it has endpoints; its kube-proxy may write the rules a moment later.
    wait_until(
        lambda: {routers.http_get(URL).status for _ in range(10)} == {200},
        SESSION_SECONDS,
        "ten requests are answered",
        retry_on=(OSError,),
    )


def test_both_families_come_over_one_session(lab: Lab, routers: Routers) -> None:
    for router in (BIRD, FRR):
        wait_until(
            lambda router=router: len(routers.next_hops(router, f"{ADDRESS6}/128")) == len(lab.nodes),  # type: ignore[misc]
            SESSION_SECONDS,
            f"{router} sends {ADDRESS6} to every node",
        )

    assert {routers.http_get(f"http://[{ADDRESS6}]/").status for _ in range(10)} == {200}


def test_nodes_are_renewed_one_after_the_other_and_no_request_fails(lab: Lab, routers: Routers) -> None:
    wait_routes(routers, nodes(lab), SESSION_SECONDS)
    selector = "app=metallb,component=frr"
    before = {pod["spec"]["nodeName"]: pod["metadata"] for pod in lab.pods(DEFAULT_NAMESPACE, selector)}

    with RouteMonitor(routers.hosts[BIRD]) as bird, RouteMonitor(routers.hosts[FRR]) as frr, outage(routers) as meter:
        done = roll(lab, "--apply", "--all", "--node=node-2", "--node=node-3")

    assert done.returncode == 0, done.stdout + done.stderr
    print(f"a client behind the routers: {meter.report.summary()}")
    assert lost(meter.report, (bird, frr)) == [], meter.report.summary()
    wait_routes(routers, nodes(lab), 5.0)
    after = {pod["spec"]["nodeName"]: pod["metadata"] for pod in lab.pods(DEFAULT_NAMESPACE, selector)}
    renewed = {name for name, pod in after.items() if before[name]["uid"] != pod["uid"]}
    assert renewed == {"node-2", "node-3"}
    for name in renewed:
        assert "left within" in lab.logs(before[name]["name"], "frr"), f"{name} left as planned"
    assert "on all of 3 nodes" in roll(lab, "--apply").stdout


def test_a_speaker_that_restarts_changes_no_route(lab: Lab, routers: Routers) -> None:
    wait_routes(routers, nodes(lab), SESSION_SECONDS)
    before = settled_updates(lab, routers)

    with outage(routers) as meter:
        for pod in lab.pods(DEFAULT_NAMESPACE, "app=metallb,component=speaker"):
            lab.kill_component(pod["metadata"]["name"], "speaker")
        wait_until(lambda: speakers_ready(lab), SESSION_SECONDS, "the speakers are back", retry_on=(ApiError,))

    assert meter.report.failures == (), meter.report.summary()
    wait_routes(routers, nodes(lab))
    assert updates(lab, routers) == before


def test_a_node_leaves_for_any_reason_and_no_request_fails(lab: Lab, routers: Routers) -> None:
    """Its FRR stays; above it goes. `make bench BENCH_ARGS=bgp-leave` has 200 requests a second, and cordons."""
    wait_routes(routers, nodes(lab), SESSION_SECONDS)
    node = lab.node("node-1")

    with RouteMonitor(routers.hosts[BIRD]) as bird, RouteMonitor(routers.hosts[FRR]) as frr, outage(routers) as meter:
        for leave in BY_SIGN.values():
            leave.begin(lab, node)
            wait_routes(routers, nodes(lab) - set(node.addresses))
            leave.end(lab, node)
            wait_routes(routers, nodes(lab))

    assert lost(meter.report, (bird, frr)) == [], meter.report.summary()


def outage(routers: Routers) -> OutageMeter:
    """Requests from the client beyond while the block runs."""
    return routers.outage(URL, rate_per_second=REQUESTS_PER_SECOND)


def speakers_ready(lab: Lab) -> bool:
    """Whether every speaker has restarted and serves."""
    statuses = [
        status
        for pod in lab.pods(DEFAULT_NAMESPACE, "app=metallb,component=speaker")
        for status in pod["status"]["containerStatuses"]
    ]
    return all(status["ready"] and status["restartCount"] > 0 for status in statuses)


def settled_updates(lab: Lab, routers: Routers) -> list[int]:
    """Return `updates` once nothing more comes: bgpd sends routes again a second after their route-map was made."""
    seen = updates(lab, routers)
    for _ in range(10):
        time.sleep(1.5)
        seen, before = updates(lab, routers), seen
        if seen == before:
            break
    return seen


def updates(lab: Lab, routers: Routers) -> list[int]:
    """How many routes BIRD has been sent by each node, repetitions included."""
    return [routers.bird.updates_received(f"node{number}") for number in range(1, len(lab.nodes) + 1)]


def test_half_a_minute_of_edits_and_failures(lab: Lab, routers: Routers) -> None:
    """`make soak-bgp` is longer, with BFD and edits that reset sessions. Runs last here: it removes the peers."""
    plan = Plan(seconds=SOAK_SECONDS, seed=7, kinds=QUICK, resets=False, bfd=False, patience=2.0)

    outcome = run(plan, lab, routers)

    show(outcome, Console(width=160))
    assert outcome.findings == []
    assert sum(outcome.misfortunes.values()) >= 3, "hardly anything happened, so nothing was tested"
    assert sum(outcome.edits.values()) >= 5

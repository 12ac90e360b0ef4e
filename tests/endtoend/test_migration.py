"""From MetalLB to AdmitLB and back by the book: no Service's address changes, and a client notices nothing."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from allocator.kube.resource import SERVICES
from allocator.objects.names import IP_ALLOCATIONS
from tests.endtoend.metallb_leavings import ASSIGNED, leave
from tests.endtoend.metallb_speaker import elected
from tests.endtoend.removal import remove
from tests.endtoend.transcripts import PROJECT, play
from tests.lab.lab import Lab
from tests.lab.waiting import wait_until

VIP = ASSIGNED["web"][0]
LONGEST_GAP_MS = 10_000.0
BACK_SECONDS = 1.0


@pytest.fixture
def manifests(lab: Lab) -> Iterator[Path]:
    """A cluster with MetalLB instead of AdmitLB, and what it was installed from."""
    remove(lab)
    folder = leave(lab)
    yield folder
    for name in ASSIGNED:
        lab.cluster().delete(SERVICES, name, "default")
    lab.kubectl("delete", "deployment", "web")
    remove(lab)
    lab.kubectl("delete", "--ignore-not-found", "-f", str(folder))


@pytest.mark.timeout(300)
def test_services_keep_their_addresses_there_and_back(lab: Lab, manifests: Path) -> None:
    before = addresses(lab)
    with lab.client().outage(f"http://{VIP}/", rate_per_second=50) as meter:
        wait_announced_by(lab, elected(VIP))
        play(lab, PROJECT / "docs" / "migration.md", METALLB=str(manifests))
        wait_announced_by(lab, elected(VIP))
    assert addresses(lab) == before == {name: ip for name, (ip, _) in ASSIGNED.items()}
    assert IP_ALLOCATIONS.plural not in lab.kubectl("get", "crd", "-o", "name").stdout
    report = meter.report
    print(f"a client that asks all the time, there and back: {report.summary()}")
    # Where nothing is lost at all, the time since the last answer may be the longest gap.
    assert report.ended - report.successes[-1] < BACK_SECONDS, "HTTP did not come back"
    assert report.longest_gap_ms < LONGEST_GAP_MS


def addresses(lab: Lab) -> dict[str, str]:
    """What the Services of `default` show."""
    shown = {}
    for service in lab.cluster().list(SERVICES, "default")["items"]:
        if service["spec"]["type"] == "LoadBalancer":
            (entry,) = service["status"]["loadBalancer"]["ingress"]
            shown[service["metadata"]["name"]] = entry["ip"]
    return shown


def wait_announced_by(lab: Lab, node: str) -> None:
    """Wait until this node, and no other, answers ARP for the address the client asks."""
    mac = lab.node(node).mac("eth0")
    wait_until(lambda: lab.client().who_has(VIP, listen_seconds=0.3) == {mac}, 30, f"{node} announces {VIP}")

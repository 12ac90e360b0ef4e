"""The documentation's sessions, run as they are written, and what must hold while they run.

The last tests of the tier by name: they install and remove what the others share.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from allocator.names import IP_ALLOCATIONS, SERVICES
from tests.endtoend import metallb_leavings
from tests.endtoend.metallb_speaker import elected
from tests.endtoend.transcripts import PROJECT, play
from tests.lab.lab import Lab
from tests.lab.waiting import wait_until

DOCS = PROJECT / "docs"
VIP = metallb_leavings.ASSIGNED["web"][0]
LONGEST_GAP_MS = 10_000.0


@pytest.fixture
def bare(lab: Lab) -> Iterator[Lab]:
    """The lab without AdmitLB."""
    remove(lab)
    yield lab
    remove(lab)


def remove(lab: Lab) -> None:
    """Remove AdmitLB, its kinds and their objects."""
    lab.kubectl("delete", "mutatingwebhookconfigurations,validatingwebhookconfigurations", "--all")
    lab.kubectl("delete", "--ignore-not-found", "-k", str(PROJECT / "kustomize/overlays/default"))
    wait_until(lambda: "metallb-system" not in _all(lab, "namespaces"), 60, "the namespace is gone")


def _all(lab: Lab, kind: str) -> list[str]:
    return lab.kubectl("get", kind, "-o", "jsonpath={.items[*].metadata.name}").stdout.split()


def test_operations(lab: Lab) -> None:
    lab.install()
    play(lab, DOCS / "operations.md")


def test_install(bare: Lab) -> None:
    play(bare, DOCS / "install.md")


def test_migration_and_back(bare: Lab) -> None:
    manifests = metallb_leavings.leave(bare)
    before = addresses(bare)
    with bare.client().outage(f"http://{VIP}/", rate_per_second=50) as meter:
        wait_announced_by(bare, elected(VIP))
        play(bare, DOCS / "migration.md", METALLB=str(manifests))
        wait_announced_by(bare, elected(VIP))
    assert addresses(bare) == before == {name: ip for name, (ip, _) in metallb_leavings.ASSIGNED.items()}
    assert IP_ALLOCATIONS.plural not in bare.kubectl("get", "crd", "-o", "name").stdout
    report = meter.report
    print(f"a client that asks all the time, there and back: {report.summary()}")
    assert report.longest_gap.ended < report.ended, "HTTP did not come back"
    assert report.longest_gap_ms < LONGEST_GAP_MS
    for name in metallb_leavings.ASSIGNED:
        bare.cluster().delete(SERVICES, name, "default")
    bare.kubectl("delete", "deployment", "web")
    bare.kubectl("delete", "-f", str(manifests))


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

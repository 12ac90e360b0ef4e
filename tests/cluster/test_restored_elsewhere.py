"""A backup restored into another cluster: Services with annotations and statuses, beside other pools."""

from __future__ import annotations

import pytest

from allocator.kube.client import Object
from allocator.kube.resource import SERVICES
from allocator.objects.names import (
    ASSIGNED_IPS_ANNOTATION,
    FROM_POOL_ANNOTATION,
    IP_ALLOCATIONS,
)
from tests.cluster.installation import ingress, service
from tests.cluster.reconciling import Reconciling
from tests.cluster.sessions import Place, commands
from tests.endtoend.transcripts import run
from tests.lab.waiting import wait_until

POOLS = """\
apiVersion: metallb.io/v1beta1
kind: IPAddressPool
metadata: {name: lan, namespace: metallb-system}
spec: {addresses: [203.0.113.70-203.0.113.79], reuseDelaySeconds: 0}
"""
OLD_UID = "00000000-0000-4000-8000-000000000001"


@pytest.fixture(scope="module")
def admitlb(reconciling: Reconciling, tmp_path_factory: pytest.TempPathFactory) -> Reconciling:
    """A new cluster after the restore, with the document run: its first command in the old cluster."""
    directory = tmp_path_factory.mktemp("restored")
    place = Place(reconciling.control_plane, directory)
    (directory / "pools.yaml").write_text(POOLS)
    first, *others = commands("restore.md", directory)
    restore(reconciling, "bare", "203.0.113.72", pool="old-lan")
    run(place, [first])
    reconciling.cluster.delete(SERVICES, "bare", "default")
    restored(reconciling)
    reconciling.start().wait_leading()
    run(place, others)
    return reconciling


def restored(admitlb: Reconciling) -> None:
    """Create everything as tools leave it that restore statuses, or not, and IPAllocations beside them."""
    restore(admitlb, "kept", "203.0.113.75", pool="old-lan")
    restore(admitlb, "elsewhere", "198.51.100.9", pool="old-lan")
    restore(admitlb, "foreign", "198.51.100.10")
    restore(admitlb, "twin-elder", "203.0.113.76", pool="old-lan")
    restore(admitlb, "twin-younger", "203.0.113.76", pool="old-lan")
    restore(admitlb, "bare", "203.0.113.72", pool="old-lan", status=False)
    for name, address in (("kept", "203.0.113.75"), ("gone", "203.0.113.78")):
        admitlb.cluster.create(IP_ALLOCATIONS, allocation(name, address))


def restore(admitlb: Reconciling, name: str, address: str, *, pool: str = "", status: bool = True) -> None:
    annotations = {ASSIGNED_IPS_ANNOTATION: address, FROM_POOL_ANNOTATION: pool} if pool else {}
    admitlb.cluster.create(SERVICES, service(name, annotations), "default")
    if status:
        shown = {"status": {"loadBalancer": {"ingress": [{"ip": address}]}}}
        admitlb.cluster.patch(SERVICES, name, shown, "default", subresource="status")


def allocation(name: str, address: str) -> Object:
    """An IPAllocation of the old cluster: its holder has the uid that it had there."""
    since = "2026-01-01T00:00:00Z"
    holder = {"namespace": "default", "name": name, "uid": OLD_UID, "since": since}
    spec = {"address": address, "pool": "old-lan", "state": "Bound", "since": since, "holders": [holder]}
    return {
        "apiVersion": IP_ALLOCATIONS.api_version,
        "kind": IP_ALLOCATIONS.kind,
        "metadata": {"name": address},
        "spec": spec,
    }


def shows(admitlb: Reconciling, name: str) -> list[str]:
    return ingress(admitlb.cluster.get(SERVICES, name, "default"))


@pytest.mark.timeout(240)
def test_what_a_restored_status_shows_stays_with_its_service(admitlb: Reconciling) -> None:
    assert shows(admitlb, "kept") == ["203.0.113.75"]
    (holder,) = admitlb.claims()["203.0.113.75"]["holders"]
    assert holder["uid"] == admitlb.cluster.get(SERVICES, "kept", "default")["metadata"]["uid"]


def test_annotations_alone_are_not_believed_and_a_request_is_met(admitlb: Reconciling) -> None:
    assert admitlb.held("203.0.113.72") == ["bare"]


def test_of_two_that_show_one_address_the_older_keeps_it(admitlb: Reconciling) -> None:
    assert shows(admitlb, "twin-elder") == ["203.0.113.76"]
    wait_until(lambda: shows(admitlb, "twin-younger") not in ([], ["203.0.113.76"]), 10, "the younger has another")
    assert "203.0.113.76 is held by default/twin-elder" in admitlb.event("twin-younger", "ClearAssignment")


def test_a_status_of_no_pool_without_our_annotations_is_left_alone(admitlb: Reconciling) -> None:
    assert shows(admitlb, "foreign") == ["198.51.100.10"]
    assert admitlb.event("foreign", "Ignored")


def test_an_address_of_a_pool_that_is_not_there_is_given_up_by_a_change_of_type(admitlb: Reconciling) -> None:
    assert admitlb.held("198.51.100.9") == []
    assert shows(admitlb, "elsewhere") == ["203.0.113.71"]


def test_an_allocation_of_a_service_that_was_not_restored_goes(admitlb: Reconciling) -> None:
    wait_until(lambda: not admitlb.held("203.0.113.78"), 10, "nobody holds it")

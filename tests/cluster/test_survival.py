"""The reconciler through pauses, outages, lost history, lost claims, and a cluster that others have served before."""

from __future__ import annotations

import json
import threading
import urllib.request
from base64 import b64encode
from collections.abc import Iterator

import pytest

from allocator.kube.client import ApiError, Object
from allocator.kube.resource import SERVICES
from allocator.objects.names import DEFAULT_NAMESPACE, IP_ADDRESS_POOLS, IP_ALLOCATIONS
from tests.cluster.installation import ingress, is_bound, pool, service
from tests.cluster.reconciling import Reconciler, Reconciling
from tests.lab.control_plane import API_SERVER
from tests.lab.waiting import wait_until

LEASE_LAPSED_SECONDS = 25


@pytest.fixture
def admitlb(reconciling: Reconciling) -> Iterator[Reconciling]:
    """Our kinds and a pool of four; every test starts reconcilers of its own."""
    reconciling.cluster.create(IP_ADDRESS_POOLS, pool("small", "192.0.2.10-192.0.2.13"), DEFAULT_NAMESPACE)
    yield reconciling
    reconciling.stop()
    reconciling.wipe()


def create(admitlb: Reconciling, name: str) -> None:
    admitlb.cluster.create(SERVICES, service(name), "default")


def addresses(admitlb: Reconciling) -> dict[str, list[str]]:
    items = admitlb.cluster.list(SERVICES, "default")["items"]
    return {one["metadata"]["name"]: ingress(one) for one in items if one["spec"]["type"] == "LoadBalancer"}


def wait_assigned(admitlb: Reconciling, *names: str, timeout_seconds: float = 20) -> dict[str, list[str]]:
    def found() -> dict[str, list[str]] | None:
        shown = addresses(admitlb)
        mine = [address for name in names for address in shown.get(name, ())]
        return shown if all(shown.get(name) for name in names) and is_bound(admitlb.claims(), mine) else None

    return wait_until(found, timeout_seconds, f"{', '.join(names)} have addresses", retry_on=(ApiError,))


def holders(admitlb: Reconciling) -> dict[str, list[str]]:
    return {
        address: [holder["name"] for holder in spec["holders"]]
        for address, spec in admitlb.claims().items()
        if spec["state"] != "Cooling"
    }


def as_a_kubelet(admitlb: Reconciling, reconciler: Reconciler) -> Reconciler:
    """Start the reconciler again if it has ended."""
    return reconciler if reconciler.process.alive else admitlb.start("restarted")


def show(admitlb: Reconciling, name: str, address: str) -> None:
    """Write an address to a Service's status, as another load balancer controller did before us."""
    status = {"status": {"loadBalancer": {"ingress": [{"ip": address}]}}}
    admitlb.cluster.patch(SERVICES, name, status, "default", subresource="status")


def etcd(admitlb: Reconciling, path: str, body: Object) -> Object:
    request = urllib.request.Request(f"{admitlb.control_plane.etcd_url}/v3/{path}", json.dumps(body).encode())
    with urllib.request.urlopen(request, timeout=5) as answer:
        result: Object = json.loads(answer.read())
    return result


def test_a_leader_stopped_for_longer_than_its_lease_writes_nothing_when_it_goes_on(admitlb: Reconciling) -> None:
    first = admitlb.start("first")
    first.wait_leading()
    create(admitlb, "before")
    wait_assigned(admitlb, "before")
    second = admitlb.start("second")
    leader = admitlb.leader()

    first.process.sigstop()
    second.wait_leading(LEASE_LAPSED_SECONDS)
    assert admitlb.leader() not in ("", leader)
    # What the stopped one finds in its mirrors when it goes on: a Service gone, its address with another.
    admitlb.cluster.delete(SERVICES, "before", "default")
    wait_until(lambda: not holders(admitlb), 10, "the address is free")
    create(admitlb, "after")
    wait_assigned(admitlb, "after")
    assigned = addresses(admitlb)
    # The new leader counts pools once a second, and has the last count to write still.
    wait_until(lambda: _unchanged(admitlb, seconds=2.5), 30, "nothing is written any more")
    mark = len(first.log())
    versions = _versions(admitlb)

    first.process.sigcont()

    assert first.process.wait(20) == 1
    assert "event=address." not in first.log()[mark:]
    assert "event=reconciler.failed" in first.log()[mark:]
    assert _versions(admitlb) == versions
    assert addresses(admitlb) == assigned
    assert assigned.keys() == {"after"}


def _unchanged(admitlb: Reconciling, *, seconds: float) -> bool:
    """Tell whether nothing is written for so long."""
    before = _versions(admitlb)
    threading.Event().wait(seconds)
    return _versions(admitlb) == before


def _versions(admitlb: Reconciling) -> dict[str, str]:
    """The versions of everything a reconciler writes, but for its lease."""
    found = {}
    for kind in (IP_ALLOCATIONS, SERVICES, IP_ADDRESS_POOLS):
        for one in admitlb.cluster.list(kind)["items"]:
            found[f"{kind.plural}/{one['metadata']['name']}"] = one["metadata"]["resourceVersion"]
    return found


def test_an_api_server_frozen_for_longer_than_the_lease_costs_nobody_an_address(admitlb: Reconciling) -> None:
    reconciler = admitlb.start()
    reconciler.wait_leading()
    for name in ("one", "two"):
        create(admitlb, name)
    before = wait_assigned(admitlb, "one", "two")

    admitlb.control_plane.pause_api()
    try:
        reconciler.process.wait(LEASE_LAPSED_SECONDS)
    finally:
        admitlb.control_plane.resume_api()

    # A leader without a lease starts afresh.
    assert "leadership ended" in reconciler.log()
    as_a_kubelet(admitlb, reconciler)
    wait_until(lambda: _answers(admitlb), 20, "the API server answers again")
    create(admitlb, "three")
    after = wait_assigned(admitlb, "three")
    assert {name: after[name] for name in before} == before


def _answers(admitlb: Reconciling) -> bool:
    try:
        admitlb.cluster.get(SERVICES, "kubernetes", "default")
    except ApiError:
        return False
    return True


def test_what_happened_while_the_history_was_lost_is_made_good(admitlb: Reconciling) -> None:
    reconciler = admitlb.start()
    reconciler.wait_leading()
    for name in ("stays", "goes"):
        create(admitlb, name)
    before = wait_assigned(admitlb, "stays", "goes")

    # Deleted behind the API server's back, so that no watch can ever tell of it; then the history is cut off.
    key = b64encode(b"/registry/services/specs/default/goes").decode()
    admitlb.control_plane.pause_api()
    revision = etcd(admitlb, "kv/deleterange", {"key": key})["header"]["revision"]
    etcd(admitlb, "kv/compaction", {"revision": revision, "physical": True})
    admitlb.control_plane.kill(API_SERVER)
    admitlb.control_plane.start_api()

    running = reconciler

    def is_free() -> bool:
        # It may lose its lease, and end, at any moment until the API server answers again.
        nonlocal running
        running = as_a_kubelet(admitlb, running)
        return holders(admitlb) == {before["stays"][0]: ["stays"]}

    wait_until(is_free, 60, "the address is free", retry_on=(ApiError,))
    assert addresses(admitlb) == {"stays": before["stays"]}


def test_claims_deleted_by_hand_come_back_from_what_services_show(admitlb: Reconciling) -> None:
    reconciler = admitlb.start()
    reconciler.wait_leading()
    for name in ("one", "two"):
        create(admitlb, name)
    before = wait_assigned(admitlb, "one", "two")
    wait_until(lambda: len(holders(admitlb)) == 2, 10, "both are claimed")

    for address in holders(admitlb):
        admitlb.cluster.delete(IP_ALLOCATIONS, address)

    expected = {shown[0]: [name] for name, shown in before.items()}
    wait_until(lambda: holders(admitlb) == expected, 10, "both are claimed again")
    assert addresses(admitlb) == before


def test_a_restored_backup_without_claims_gives_every_service_what_it_shows(admitlb: Reconciling) -> None:
    reconciler = admitlb.start()
    reconciler.wait_leading()
    for name in ("one", "two", "three"):
        create(admitlb, name)
    before = wait_assigned(admitlb, "one", "two", "three")
    reconciler.process.sigkill()
    admitlb.forget_leader()

    for address in admitlb.claims():
        admitlb.cluster.delete(IP_ALLOCATIONS, address)
    # Older than what waits, or it would be no wonder that it is served last.
    create(admitlb, "waits")
    admitlb.start("restored").wait_leading()

    after = wait_assigned(admitlb, "waits")
    assert {name: after[name] for name in before} == before
    assert len(holders(admitlb)) == 4


def test_existing_services_keep_what_another_controller_gave_them(admitlb: Reconciling) -> None:
    # The oldest waits and would be first in line; the others show addresses that MetalLB gave them.
    create(admitlb, "waiting")
    for name, address in (("web", "192.0.2.10"), ("api", "192.0.2.12"), ("elsewhere", "198.51.100.7")):
        create(admitlb, name)
        show(admitlb, name, address)

    reconciler = admitlb.start()
    reconciler.wait_leading()

    shown = wait_assigned(admitlb, "waiting")
    assert shown["web"] == ["192.0.2.10"]
    assert shown["api"] == ["192.0.2.12"]
    assert shown["waiting"] == ["192.0.2.11"]
    assert "address.claimed ip=192.0.2.10 service=default/web" in reconciler.log()
    # An address of no pool of ours is another controller's business, until a pool has it.
    assert shown["elsewhere"] == ["198.51.100.7"]
    admitlb.cluster.create(IP_ADDRESS_POOLS, pool("old", "198.51.100.0/28"), DEFAULT_NAMESPACE)
    wait_until(lambda: holders(admitlb).get("198.51.100.7") == ["elsewhere"], 10, "it is adopted")
    assert addresses(admitlb)["elsewhere"] == ["198.51.100.7"]


def test_two_services_that_show_one_address_are_parted(admitlb: Reconciling) -> None:
    for name in ("first", "second"):
        create(admitlb, name)
        show(admitlb, name, "192.0.2.11")

    admitlb.start().wait_leading()

    wait_until(lambda: len(holders(admitlb)) == 2, 10, "each has a claim of its own")
    wait_until(lambda: len({tuple(one) for one in addresses(admitlb).values()}) == 2, 10, "each shows its own")
    assert addresses(admitlb)["first"] == ["192.0.2.11"]
    assert {tuple(names) for names in holders(admitlb).values()} == {("first",), ("second",)}

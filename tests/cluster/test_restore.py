"""etcd restored in place from an older snapshot, while the reconciler and the webhook run on."""

from __future__ import annotations

import http.client
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeVar

import pytest

from allocator.allocation.adoption_mark import mark_of
from allocator.kube.client import ApiError, NotFound
from allocator.kube.resource import LEASES, SERVICES
from allocator.objects.names import ADOPTED_ANNOTATION, DEFAULT_NAMESPACE, IP_ADDRESS_POOLS, RECONCILER_LEASE
from tests.cluster.installation import OVERLAY, ingress, pool, service
from tests.cluster.reconciling import Reconciler, Reconciling
from tests.cluster.webhook_replica import Replica, route_webhook_service
from tests.lab.binaries import find
from tests.lab.control_plane import ControlPlane
from tests.lab.waiting import NeverHappened, wait_until

T = TypeVar("T")

WEBHOOKS = str(Path(__file__).parents[2] / "manifests" / "webhook-configuration.yaml")
LASTING_SECONDS = 120
_UNSURE = (OSError, http.client.HTTPException, ApiError)


pytestmark = pytest.mark.timeout(300)
"""The API server starts again twice in each, which takes a busy machine its time."""


class Cluster:
    """One reconciler and one webhook on a control plane, each started again when it ends, as a kubelet does."""

    def __init__(self, admitlb: Reconciling, directory: Path) -> None:
        self.admitlb = admitlb
        self.api = admitlb.cluster
        self._directory = directory
        self.reconciler: Reconciler | None = None
        self.webhook: Replica | None = None
        self.restarts = {"reconciler": 0, "webhook": 0}

    def start(self) -> None:
        self.reconciler = self.admitlb.start()
        self.reconciler.wait_leading()
        self.webhook = Replica(self.admitlb.control_plane, self._directory, name="webhook", port=19843)
        try:
            self.webhook.wait_ready()
        except NeverHappened as error:
            raise AssertionError(self.webhook.readiness()[1]) from error

    def stop(self) -> None:
        if self.webhook is not None:
            self.webhook.stop()
        self.admitlb.stop()

    def wait(self, predicate: Callable[[], T | None], timeout_seconds: float, what: str) -> T:
        """Wait as `wait_until` does, while a kubelet goes on working: an outage may end a process some time later."""

        def attended() -> T | None:
            self._act_as_kubelet()
            return predicate()

        return wait_until(attended, timeout_seconds, what, retry_on=_UNSURE)

    def _act_as_kubelet(self) -> None:
        """Start again what has ended."""
        if self.reconciler is not None and not self.reconciler.process.alive:
            self.restarts["reconciler"] += 1
            self.reconciler = self.admitlb.start("restarted")
        if self.webhook is not None and not self.webhook.process.alive:
            self.restarts["webhook"] += 1
            self.webhook.restart()

    def mark(self) -> str:
        try:
            return mark_of(self.api.get(LEASES, RECONCILER_LEASE, DEFAULT_NAMESPACE))
        except NotFound:
            return ""

    def shows(self, name: str) -> list[str]:
        return ingress(self.api.get(SERVICES, name, "default"))

    def ready(self) -> bool:
        assert self.webhook is not None
        return self.webhook.readiness()[0] == 200

    def unready_because(self) -> str:
        assert self.webhook is not None
        status, text = self.webhook.readiness()
        return text if status != 200 else ""


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Reconciling]:
    """AdmitLB on a control plane of this module's own, and no process of it."""
    with ControlPlane(find(), tmp_path_factory.mktemp("restore")) as control_plane:
        control_plane.kubectl("apply", "-k", str(OVERLAY))
        route_webhook_service(control_plane)
        yield Reconciling(control_plane, tmp_path_factory.mktemp("logs"))


@pytest.fixture
def cluster(installed: Reconciling, tmp_path: Path) -> Iterator[Cluster]:
    """The same with a pool and nothing held."""
    # Before the webhook runs nobody answers for pools.
    installed.control_plane.kubectl("delete", "-f", WEBHOOKS)
    wait_until(lambda: _stores_only_the_pool(installed), 20, "nobody is asked about pools", retry_on=(ApiError,))
    installed.control_plane.kubectl("apply", "-f", WEBHOOKS)
    cluster = Cluster(installed, tmp_path)
    yield cluster
    cluster.stop()


def _stores_only_the_pool(admitlb: Reconciling) -> bool:
    admitlb.wipe()
    admitlb.cluster.create(IP_ADDRESS_POOLS, pool("p", "192.0.2.10-192.0.2.19"), DEFAULT_NAMESPACE)
    return True


def test_a_mark_is_not_believed_once_the_state_it_was_made_of_is_gone(cluster: Cluster, tmp_path: Path) -> None:
    cluster.start()
    cluster.api.create(SERVICES, service("old"), "default")
    cluster.wait(lambda: cluster.shows("old"), 10, "it has an address")
    before = cluster.mark()
    cluster.admitlb.control_plane.back_up(tmp_path / "snapshot")
    cluster.wait(cluster.ready, 30, "the webhook is ready again")
    # Of what the snapshot does not have, the processes must not remember anything.
    for number in range(6):
        cluster.api.create(SERVICES, service(f"later-{number}"), "default")
    # A leader that gave up during the backup has to be followed by another first.
    cluster.wait(lambda: all(cluster.shows(f"later-{number}") for number in range(6)), 60, "they have addresses")
    webhook_restarts = cluster.restarts["webhook"]
    # What is restored within the half second until the webhook next looks, it cannot know of.
    threading.Event().wait(2)

    cluster.admitlb.control_plane.restore(tmp_path / "snapshot")

    cluster.wait(lambda: cluster.mark() not in ("", before), 60, "a new leader has adopted and said so")
    cluster.wait(cluster.ready, 30, "the webhook is ready")
    assert cluster.restarts["webhook"] > webhook_restarts
    for number in range(3):
        cluster.api.create(SERVICES, service(f"new-{number}"), "default")
    names = ["old", *(f"new-{number}" for number in range(3))]
    cluster.wait(lambda: all(cluster.shows(name) for name in names), 20, "all have addresses")
    assert len({cluster.shows(name)[0] for name in names}) == 4


def test_a_snapshot_from_before_adoption_stops_the_webhook_until_the_leader_has_adopted(
    cluster: Cluster, tmp_path: Path
) -> None:
    cluster.api.create(SERVICES, service("old"), "default")
    status = {"status": {"loadBalancer": {"ingress": [{"ip": "192.0.2.10"}]}}}
    cluster.api.patch(SERVICES, "old", status, "default", subresource="status")
    cluster.admitlb.control_plane.back_up(tmp_path / "snapshot")
    cluster.start()
    assert cluster.mark()
    cluster.api.delete(SERVICES, "old", "default")
    wait_until(lambda: not cluster.admitlb.claims(), 10, "its address is free")
    assert cluster.reconciler is not None
    cluster.reconciler.process.sigkill()
    cluster.reconciler = None

    cluster.admitlb.control_plane.restore(tmp_path / "snapshot")

    because = cluster.wait(cluster.unready_because, 20, "the webhook stops")
    assert "not taken over the existing Services" in because or "not listed yet" in because
    cluster.wait(lambda: "not taken over" in cluster.unready_because(), 20, "it waits for the leader")
    cluster.reconciler = cluster.admitlb.start("after")
    cluster.wait(cluster.ready, 40, "the webhook is ready again")
    assert cluster.admitlb.claims()["192.0.2.10"]["holders"][0]["name"] == "old"


def test_a_standby_notices_a_restore_though_nobody_wrote_the_lease_meanwhile(
    cluster: Cluster, tmp_path: Path
) -> None:
    admitlb = cluster.admitlb
    leader = admitlb.start("leader")
    leader.wait_leading()
    standby = admitlb.start("standby")
    unsure = (OSError, http.client.HTTPException)
    wait_until(lambda: "not listed" not in standby.readiness(), 20, "it has every list", retry_on=unsure)
    leader.process.sigkill()
    # Or the standby leads before a busy machine has made the backup.
    lasting = {"spec": {"leaseDurationSeconds": LASTING_SECONDS}}
    cluster.api.patch(LEASES, RECONCILER_LEASE, lasting, DEFAULT_NAMESPACE)
    admitlb.control_plane.back_up(tmp_path / "snapshot")
    for number in range(6):
        cluster.api.create(SERVICES, service(f"later-{number}"), "default")
    threading.Event().wait(1)

    admitlb.control_plane.restore(tmp_path / "snapshot")

    wait_until(lambda: "event=cluster.rewound" in standby.log(), 30, "it notices")
    wait_until(lambda: not standby.process.alive, 10, "it starts afresh, and has written nothing")
    assert "event=address.assigned" not in standby.log()


def test_a_mark_taken_away_is_made_again_after_another_adoption(cluster: Cluster) -> None:
    cluster.start()
    before = cluster.mark()
    body = {"metadata": {"annotations": {ADOPTED_ANNOTATION: None}}}
    cluster.api.patch(LEASES, RECONCILER_LEASE, body, DEFAULT_NAMESPACE)
    cluster.wait(lambda: cluster.mark() not in ("", before), 10, "the leader has made it again")
    cluster.wait(cluster.ready, 10, "the webhook is ready")
    assert cluster.restarts == {"reconciler": 0, "webhook": 0}

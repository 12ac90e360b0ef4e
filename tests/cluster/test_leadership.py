"""Leadership on a real Lease: one at a time, handed over at once, and never past what others may count on."""

from __future__ import annotations

import threading

from allocator.kube.client import Cluster
from allocator.kube.lease import LEASE_SECONDS, Leadership, NotLeading
from allocator.kube.resource import LEASES
from tests.lab.control_plane import ControlPlane
from tests.lab.waiting import wait_until

SOON = 10.0
LAPSED = LEASE_SECONDS + 6.0


class Candidate:
    """One replica standing for election."""

    def __init__(self, cluster: Cluster, namespace: str, identity: str) -> None:
        self.started = threading.Event()
        self.leadership = Leadership(
            cluster, namespace=namespace, lease="test", identity=identity, on_started=self._lead
        )
        self.leadership.start()

    def _lead(self) -> None:
        self.started.set()


def test_the_second_waits_and_takes_over_at_once_when_the_first_resigns(cluster: Cluster, namespace: str) -> None:
    first = Candidate(cluster, namespace, "first")
    wait_until(lambda: first.leadership.holds, SOON, "the first leads")
    second = Candidate(cluster, namespace, "second")
    threading.Event().wait(2.5)
    assert not second.leadership.holds
    first.leadership.resign()
    assert not first.leadership.holds
    assert cluster.get(LEASES, "test", namespace)["spec"]["holderIdentity"] != "first", "it was handed back"
    wait_until(lambda: second.leadership.holds, SOON, "the second leads")
    # On a thread of its own, which a busy machine starts late.
    assert second.started.wait(SOON)
    assert cluster.get(LEASES, "test", namespace)["spec"]["holderIdentity"] == "second"
    second.leadership.resign()


def test_a_leader_cut_off_from_the_api_stops_acting_before_another_may_start(
    control_plane: ControlPlane, cluster: Cluster, namespace: str
) -> None:
    candidate = Candidate(cluster, namespace, "cut-off")
    wait_until(lambda: candidate.leadership.holds, SOON, "it leads")
    control_plane.pause_api()
    try:
        wait_until(lambda: not candidate.leadership.holds, LEASE_SECONDS - 1, "its fence closes within the lease")
        try:
            candidate.leadership.require()
        except NotLeading as error:
            assert "cut-off" in str(error)
        else:
            raise AssertionError("a write was allowed without the lease")
        wait_until(lambda: candidate.leadership.ended, LAPSED, "it gives up, so that its process starts afresh")
    finally:
        control_plane.resume_api()

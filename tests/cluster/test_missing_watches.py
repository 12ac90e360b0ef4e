"""A leader that does not see changes assigns nothing: what was stored and not seen yet would be decided over."""

from __future__ import annotations

import http.client
import threading

import pytest

from allocator.kube.resource import SERVICES
from allocator.objects.names import DEFAULT_NAMESPACE, IP_ADDRESS_POOLS
from tests.cluster.installation import ingress, pool, service
from tests.cluster.reconciling import Reconciling
from tests.cluster.test_missing_lists import OF_CLUSTER, deny
from tests.lab.waiting import wait_until

LARGER = {"spec": {"addresses": ["192.0.2.10-192.0.2.19"]}}


@pytest.mark.parametrize("plural", ["services", "namespaces"])
def test_nothing_is_assigned_until_the_watch_is_back(reconciling: Reconciling, plural: str) -> None:
    admitlb, cluster = reconciling, reconciling.cluster
    cluster.create(IP_ADDRESS_POOLS, pool("p", "192.0.2.10/32"), DEFAULT_NAMESPACE)
    cluster.create(SERVICES, service("first"), "default")
    reconciler = admitlb.start()
    wait_until(lambda: ingress(cluster.get(SERVICES, "first", "default")), 30, "the pool is used up")
    cluster.create(SERVICES, service("waits"), "default")
    reconciler.wait_leading()

    # A watch that is open is not ended by a change of roles; the next one is refused.
    rules = deny(cluster, OF_CLUSTER, plural)
    admitlb.control_plane.kill("kube-apiserver")
    admitlb.control_plane.start_api()
    reconcilers = [reconciler]

    def says_so() -> bool:
        if not reconcilers[-1].process.alive:
            # The API server was away for longer than a Lease lasts: a process that starts anew lacks the list.
            reconcilers.append(admitlb.start("restarted"))
        watched = reconcilers[-1].metrics().get(f'admitlb_watch_current{{resource="{plural}"}}')
        return watched == 0 or f"{plural} are not listed" in reconcilers[-1].readiness()

    wait_until(says_so, 40, "it says so", retry_on=(OSError, http.client.HTTPException))
    cluster.patch(IP_ADDRESS_POOLS, "p", LARGER, DEFAULT_NAMESPACE)
    threading.Event().wait(2)
    assert ingress(cluster.get(SERVICES, "waits", "default")) == []

    kind, name, namespace = OF_CLUSTER
    cluster.patch(kind, name, {"rules": rules}, namespace)
    shown = wait_until(lambda: ingress(cluster.get(SERVICES, "waits", "default")), 30, "it is served")
    assert shown == ["192.0.2.11"]
    wait_until(lambda: reconcilers[-1].readiness().strip() == "ok", 10, "readiness")
    reconcilers[-1].process.sigkill()
    admitlb.wipe()

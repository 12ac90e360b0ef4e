"""From `kubectl apply` to status and back: what users of the API see."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from allocator.kube.client import ApiError
from allocator.kube.resource import SERVICES
from allocator.objects.names import (
    ASSIGNED_IPS_ANNOTATION,
    DEFAULT_NAMESPACE,
    FROM_POOL_ANNOTATION,
    IP_ADDRESS_POOLS,
    IP_ALLOCATIONS,
)
from tests.cluster.installation import OVERLAY, TENTATIVE_AGE_SECONDS, Installation, ingress, pool, service
from tests.cluster.webhook_replica import Replica, mark_adopted, route_webhook_service
from tests.lab.control_plane import ControlPlane
from tests.lab.waiting import wait_until

FIRST, LAST = "192.0.2.10", "192.0.2.13"


@pytest.fixture
def admitlb(installed: Installation) -> Iterator[Installation]:
    """The same, with one small pool and nothing held."""
    installed.add_pool(pool("small", f"{FIRST}-{LAST}"))
    yield installed
    installed.clean()


def test_the_created_object_already_names_its_address(admitlb: Installation) -> None:
    created = admitlb.cluster.create(SERVICES, service("web"), "default")
    assert created["metadata"]["annotations"] == {ASSIGNED_IPS_ANNOTATION: FIRST, FROM_POOL_ANNOTATION: "small"}
    assert admitlb.wait_assigned("default", "web") == [FIRST]


def test_the_claim_is_bound_to_the_service_that_appeared(admitlb: Installation) -> None:
    uid = admitlb.cluster.create(SERVICES, service("web"), "default")["metadata"]["uid"]
    claim = wait_until(
        lambda: admitlb.claims()[FIRST] if admitlb.claims()[FIRST]["state"] == "Bound" else None,
        10,
        "the claim binds",
    )
    holder = claim["holders"][0]
    assert (holder["namespace"], holder["name"], holder["uid"]) == ("default", "web", uid)
    assert holder["ports"] == [{"protocol": "TCP", "port": 80}]


def test_a_deleted_service_frees_its_address(admitlb: Installation) -> None:
    admitlb.cluster.create(SERVICES, service("web"), "default")
    admitlb.wait_assigned("default", "web")
    admitlb.cluster.delete(SERVICES, "web", "default")
    wait_until(lambda: not admitlb.claims(), 10, "the claim is gone")


def test_a_released_address_cools_and_returns_to_the_same_name(admitlb: Installation) -> None:
    cooling = pool("cooling", "192.0.2.100-192.0.2.101", reuseDelaySeconds=4)
    admitlb.add_pool(cooling)
    request = {"metallb.io/address-pool": "cooling"}
    admitlb.cluster.create(SERVICES, service("one", request), "default")
    assert admitlb.wait_assigned("default", "one") == ["192.0.2.100"]
    admitlb.cluster.delete(SERVICES, "one", "default")
    wait_until(lambda: admitlb.claims()["192.0.2.100"]["state"] == "Cooling", 10, "the address cools")
    other = admitlb.cluster.create(SERVICES, service("two", request), "default")
    assert other["metadata"]["annotations"][ASSIGNED_IPS_ANNOTATION] == "192.0.2.101"
    again = admitlb.cluster.create(SERVICES, service("one", request), "default")
    assert again["metadata"]["annotations"][ASSIGNED_IPS_ANNOTATION] == "192.0.2.100"
    admitlb.cluster.delete(SERVICES, "one", "default")
    wait_until(lambda: "192.0.2.100" not in admitlb.claims(), 15, "the cooled address is free for all")


def test_what_waits_gets_the_address_that_becomes_free(admitlb: Installation) -> None:
    for number in range(4):
        admitlb.cluster.create(SERVICES, service(f"web-{number}"), "default")
    late = admitlb.cluster.create(SERVICES, service("late"), "default")
    assert ASSIGNED_IPS_ANNOTATION not in late["metadata"].get("annotations", {})
    freed = admitlb.wait_assigned("default", "web-2")
    admitlb.cluster.delete(SERVICES, "web-2", "default")
    assert admitlb.wait_assigned("default", "late") == freed


def test_a_service_before_its_pool_gets_its_address_when_the_pool_comes(admitlb: Installation) -> None:
    early = service("early", {"metallb.io/address-pool": "later"})
    admitlb.cluster.create(SERVICES, early, "default")
    admitlb.add_pool(pool("later", "192.0.2.200"))
    assert admitlb.wait_assigned("default", "early") == ["192.0.2.200"]


def test_dry_run_reserves_nothing_and_still_refuses(admitlb: Installation) -> None:
    admitlb.cluster.create(SERVICES, service("web"), "default", dry_run=True)
    bad = service("bad", {"metallb.io/loadBalancerIPs": "nonsense"})
    with pytest.raises(ApiError, match="not an IP address") as refused:
        admitlb.cluster.create(SERVICES, bad, "default", dry_run=True)
    assert refused.value.status == 422
    assert admitlb.claims() == {}


def test_a_replace_that_drops_the_annotations_keeps_the_address(admitlb: Installation) -> None:
    created = admitlb.cluster.create(SERVICES, service("web"), "default")
    admitlb.wait_assigned("default", "web")
    bare = service("web", sessionAffinity="ClientIP", clusterIP=created["spec"]["clusterIP"])
    bare["metadata"]["namespace"] = "default"
    bare["metadata"]["resourceVersion"] = admitlb.service("default", "web")["metadata"]["resourceVersion"]
    replaced = admitlb.cluster.replace(SERVICES, bare)
    assert replaced["metadata"]["annotations"][ASSIGNED_IPS_ANNOTATION] == FIRST
    assert ingress(replaced) == [FIRST]


def test_a_forged_assignment_is_not_believed(admitlb: Installation) -> None:
    admitlb.cluster.create(SERVICES, service("victim"), "default")
    assert admitlb.wait_assigned("default", "victim") == [FIRST]
    forged = service("thief", {ASSIGNED_IPS_ANNOTATION: FIRST, FROM_POOL_ANNOTATION: "small"})
    created = admitlb.cluster.create(SERVICES, forged, "default")
    assert created["metadata"]["annotations"][ASSIGNED_IPS_ANNOTATION] != FIRST
    assert admitlb.wait_assigned("default", "thief") != [FIRST]


def test_a_changed_request_moves_the_service_and_then_frees_the_old_address(admitlb: Installation) -> None:
    admitlb.cluster.create(SERVICES, service("web"), "default")
    admitlb.wait_assigned("default", "web")
    pin = {"metadata": {"annotations": {"metallb.io/loadBalancerIPs": LAST}}}
    admitlb.cluster.patch(SERVICES, "web", pin, "default")
    wait_until(lambda: ingress(admitlb.service("default", "web")) == [LAST], 10, "the Service moves")
    admitlb.wait_released(FIRST)


def test_a_change_of_type_releases_the_address_and_clears_the_status(admitlb: Installation) -> None:
    admitlb.cluster.create(SERVICES, service("web"), "default")
    admitlb.wait_assigned("default", "web")
    admitlb.cluster.patch(SERVICES, "web", {"spec": {"type": "ClusterIP"}}, "default")
    admitlb.wait_released(FIRST)
    wait_until(lambda: not ingress(admitlb.service("default", "web")), 10, "the status is clear")
    annotations = admitlb.service("default", "web")["metadata"].get("annotations", {})
    assert ASSIGNED_IPS_ANNOTATION not in annotations
    admitlb.cluster.delete(SERVICES, "web", "default")


def test_a_generated_name_binds_to_the_address_it_was_admitted_with(admitlb: Installation) -> None:
    nameless = service("web")
    nameless["metadata"] = {"generateName": "web-"}
    created = admitlb.cluster.create(SERVICES, nameless, "default")
    name = created["metadata"]["name"]
    assert created["metadata"]["annotations"][ASSIGNED_IPS_ANNOTATION] == FIRST
    assert admitlb.wait_assigned("default", name) == [FIRST]
    assert admitlb.holders(FIRST) == [f"default/{name}"]


def test_a_claim_whose_service_never_appears_is_collected(admitlb: Installation) -> None:
    # Admission comes before validation: this Service is admitted, reserved for, and then refused.
    hopeless = service("hopeless", ports=[{"port": 80, "protocol": "TCP"}, {"port": 81, "protocol": "TCP"}])

    def reserved() -> bool:
        # A busy API server may have given up on the webhook, and then nothing was reserved.
        with pytest.raises(ApiError, match=r"spec.ports\[0\].name"):
            admitlb.cluster.create(SERVICES, hopeless, "default")
        return [claim["state"] for claim in admitlb.claims().values()] == ["Tentative"]

    wait_until(reserved, 10, "an address is reserved for a Service that will never be")
    wait_until(lambda: not admitlb.claims(), TENTATIVE_AGE_SECONDS + 10, "the claim is collected")


def test_services_of_another_class_are_left_alone(admitlb: Installation) -> None:
    foreign = service("foreign", loadBalancerClass="example.com/other")
    created = admitlb.cluster.create(SERVICES, foreign, "default")
    if "loadBalancerClass" not in created["spec"]:
        pytest.skip("this API server has no spec.loadBalancerClass (before Kubernetes 1.21)")
    assert "annotations" not in created["metadata"]


def test_sharers_hold_one_address_and_the_last_one_frees_it(admitlb: Installation) -> None:
    keyed = {"metallb.io/allow-shared-ip": "k", "metallb.io/loadBalancerIPs": LAST}
    admitlb.cluster.create(SERVICES, service("http", keyed), "default")
    tls = service("https", keyed, ports=[{"port": 443, "protocol": "TCP"}])
    admitlb.cluster.create(SERVICES, tls, "default")
    assert admitlb.wait_assigned("default", "http") == admitlb.wait_assigned("default", "https") == [LAST]
    assert sorted(admitlb.holders(LAST)) == ["default/http", "default/https"]
    admitlb.cluster.delete(SERVICES, "http", "default")
    wait_until(lambda: admitlb.holders(LAST) == ["default/https"], 10, "one holder is left")


def test_no_webhook_is_ready_before_existing_services_are_taken_over(
    control_plane: ControlPlane, tmp_path: Path
) -> None:
    control_plane.kubectl("apply", "-k", str(OVERLAY))
    route_webhook_service(control_plane)
    replica = Replica(control_plane, tmp_path, name="alone", port=19943)
    waits = "the reconciler has not taken over the existing Services yet"
    try:
        wait_until(lambda: replica.readiness()[1].strip() == waits, 20, "it waits", retry_on=(OSError,))
        assert replica.readiness()[0] == 503
        mark_adopted(control_plane)
        replica.wait_ready()
    finally:
        replica.stop()


def test_pool_counters_and_service_events_tell_what_happened(admitlb: Installation) -> None:
    admitlb.cluster.create(SERVICES, service("web"), "default")
    admitlb.wait_assigned("default", "web")
    counted = wait_until(
        lambda: admitlb.cluster.get(IP_ADDRESS_POOLS, "small", DEFAULT_NAMESPACE).get("status"), 10, "counters"
    )
    wait_until(
        lambda: admitlb.cluster.get(IP_ADDRESS_POOLS, "small", DEFAULT_NAMESPACE)["status"]["assignedIPv4"] == 1,
        10,
        f"one address is counted, not {counted}",
    )
    described = wait_until(
        lambda: (
            text
            if "IPAllocated" in (text := admitlb.control_plane.kubectl("describe", "service", "web").stdout)
            else None
        ),
        10,
        "the Event shows",
    )
    assert f'Assigned IP ["{FIRST}"]' in described


def test_a_malformed_or_overlapping_pool_is_refused_with_field_and_remedy(admitlb: Installation) -> None:
    with pytest.raises(
        ApiError, match=r"spec.addresses\[0\]: 192.0.2.0/24 overlaps 192.0.2.10-192.0.2.13 of pool small"
    ):
        admitlb.add_pool(pool("wide", "192.0.2.0/24"))
    with pytest.raises(ApiError, match=r"spec.addresses\[1\]: '10.0.0.9-10.0.0.1' starts after it ends"):
        admitlb.add_pool(pool("odd", "10.0.0.0/28", "10.0.0.9-10.0.0.1"))
    elsewhere = pool("elsewhere", "10.0.0.0/28")
    elsewhere["metadata"]["namespace"] = "default"
    with pytest.raises(ApiError, match="create it in metallb-system"):
        admitlb.cluster.create(IP_ADDRESS_POOLS, elsewhere, "default")


def test_a_hand_made_claim_without_service_is_collected(admitlb: Installation) -> None:
    stray = {
        "apiVersion": "admitlb.io/v1alpha1",
        "kind": "IPAllocation",
        "metadata": {"name": FIRST},
        "spec": {
            "address": FIRST,
            "pool": "small",
            "state": "Bound",
            "since": "2020-01-01T00:00:00Z",
            "holders": [{"namespace": "default", "name": "gone", "uid": "1", "since": "2020-01-01T00:00:00Z"}],
        },
    }
    admitlb.cluster.create(IP_ALLOCATIONS, stray)
    wait_until(lambda: not admitlb.claims(), 15, "the stray claim is gone")


def test_an_update_of_a_service_that_another_controller_serves_reserves_nothing(admitlb: Installation) -> None:
    # No class tells them apart before Kubernetes 1.21; what the status shows does. Without a pool nobody races us.
    admitlb.cluster.delete(IP_ADDRESS_POOLS, "small", DEFAULT_NAMESPACE)
    admitlb.cluster.create(SERVICES, service("foreign"), "default")
    theirs = {"status": {"loadBalancer": {"ingress": [{"hostname": "lb.example.com"}]}}}
    admitlb.cluster.patch(SERVICES, "foreign", theirs, "default", subresource="status")
    admitlb.add_pool(pool("small", f"{FIRST}-{LAST}"))
    ours = admitlb.cluster.create(SERVICES, service("ours"), "default")
    assert ours["metadata"]["annotations"][ASSIGNED_IPS_ANNOTATION] == FIRST

    changed = {"metadata": {"labels": {"touched": "yes"}}, "spec": {"ports": [{"port": 81, "protocol": "TCP"}]}}
    admitlb.cluster.patch(SERVICES, "foreign", changed, "default")
    admitlb.wait_assigned("default", "ours")

    stored = admitlb.service("default", "foreign")
    assert stored["status"]["loadBalancer"]["ingress"] == [{"hostname": "lb.example.com"}]
    assert ASSIGNED_IPS_ANNOTATION not in stored["metadata"].get("annotations", {})
    assert list(admitlb.claims()) == [FIRST]

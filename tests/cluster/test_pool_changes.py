"""Pools change under Services that use them: who is asked, who stays, who moves."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import pytest

from allocator.kube.client import ApiError
from allocator.kube.resource import NAMESPACES, SERVICES
from allocator.objects.names import ASSIGNED_IPS_ANNOTATION, DEFAULT_NAMESPACE, IP_ADDRESS_POOLS
from tests.cluster.installation import Installation, ingress, pool, service
from tests.lab.waiting import wait_until


@pytest.fixture
def admitlb(installed: Installation) -> Iterator[Installation]:
    """The same, with Service default/web on 192.0.2.10 of pool `main`, and pool `spare` beside it."""
    installed.add_pool(pool("main", "192.0.2.10-192.0.2.11"))
    installed.cluster.create(SERVICES, service("web"), "default")
    installed.wait_assigned("default", "web")
    installed.add_pool(pool("spare", "192.0.2.20-192.0.2.29"))
    yield installed
    installed.clean()


def shrink(admitlb: Installation, policy: str) -> None:
    spec = {"spec": {"addresses": ["192.0.2.11"], "shrinkPolicy": policy}}
    admitlb.cluster.patch(IP_ADDRESS_POOLS, "main", spec, DEFAULT_NAMESPACE)


def test_reject_refuses_to_take_an_address_in_use_and_names_the_service(admitlb: Installation) -> None:
    with pytest.raises(ApiError, match=r"takes away 192.0.2.10 \(default/web\).*Drain.*Reassign") as refused:
        shrink(admitlb, "Reject")
    assert refused.value.status == 409


def test_reject_refuses_to_close_the_pool_to_a_service_that_uses_it(admitlb: Installation) -> None:
    closed = {"spec": {"serviceAllocation": {"namespaces": ["elsewhere"]}}}
    with pytest.raises(ApiError, match=r"takes away 192.0.2.10 \(default/web\)"):
        admitlb.cluster.patch(IP_ADDRESS_POOLS, "main", closed, DEFAULT_NAMESPACE)


def test_reject_refuses_to_delete_a_pool_in_use_and_lets_an_unused_one_go(admitlb: Installation) -> None:
    with pytest.raises(ApiError, match=r"its deletion takes away 192.0.2.10 \(default/web\)"):
        admitlb.cluster.delete(IP_ADDRESS_POOLS, "main", DEFAULT_NAMESPACE)
    admitlb.cluster.delete(IP_ADDRESS_POOLS, "spare", DEFAULT_NAMESPACE)


def test_widening_a_pool_moves_nobody(admitlb: Installation) -> None:
    wider = {"spec": {"addresses": ["192.0.2.1-192.0.2.15"]}}
    admitlb.cluster.patch(IP_ADDRESS_POOLS, "main", wider, DEFAULT_NAMESPACE)
    names = (f"next-{number}" for number in itertools.count(1))

    def lowest_is_given() -> str:
        asking = service(next(names), {"metallb.io/address-pool": "main"})
        created = admitlb.cluster.create(SERVICES, asking, "default")
        given = (created["metadata"].get("annotations") or {}).get(ASSIGNED_IPS_ANNOTATION)
        return str(created["metadata"]["name"]) if given == "192.0.2.1" else ""

    # Admission knows of the wider pool a moment after it is stored: until then .11 is the only other address.
    admitlb.wait_assigned("default", wait_until(lowest_is_given, 10, "the lowest address is given"))
    assert ingress(admitlb.service("default", "web")) == ["192.0.2.10"]


def test_drain_keeps_what_is_assigned_and_assigns_nothing_new_there(admitlb: Installation) -> None:
    shrink(admitlb, "Drain")
    pinned = service("pinned", {"metallb.io/address-pool": "main"})
    created = admitlb.cluster.create(SERVICES, pinned, "default")
    assert created["metadata"]["annotations"][ASSIGNED_IPS_ANNOTATION] == "192.0.2.11"
    admitlb.wait_assigned("default", "pinned")
    assert ingress(admitlb.service("default", "web")) == ["192.0.2.10"]


def test_reassign_moves_at_once(admitlb: Installation) -> None:
    shrink(admitlb, "Reassign")
    wait_until(lambda: ingress(admitlb.service("default", "web")) == ["192.0.2.11"], 10, "web moves")
    admitlb.wait_released("192.0.2.10")


def test_reassign_moves_the_services_of_a_deleted_pool(admitlb: Installation) -> None:
    policy = {"spec": {"shrinkPolicy": "Reassign"}}
    admitlb.cluster.patch(IP_ADDRESS_POOLS, "main", policy, DEFAULT_NAMESPACE)
    admitlb.cluster.delete(IP_ADDRESS_POOLS, "main", DEFAULT_NAMESPACE)
    wait_until(lambda: ingress(admitlb.service("default", "web")) == ["192.0.2.20"], 10, "web moves")


def test_a_quota_counts_addresses_and_is_refused_when_it_is_no_number(admitlb: Installation) -> None:
    admitlb.cluster.create(NAMESPACES, {"metadata": {"name": "tenant", "annotations": {"admitlb.io/ip-quota": "1"}}})
    admitlb.cluster.create(SERVICES, service("one"), "tenant")
    admitlb.wait_assigned("tenant", "one")
    with pytest.raises(ApiError, match="namespace tenant holds 1 of the 1 addresses its quota allows") as refused:
        admitlb.cluster.create(SERVICES, service("two"), "tenant")
    assert refused.value.status == 403
    raised = {"metadata": {"annotations": {"admitlb.io/ip-quota": "2"}}}
    admitlb.cluster.patch(NAMESPACES, "tenant", raised)
    wait_until(lambda: _admitted(admitlb, "tenant", "two"), 10, "the raised quota counts")
    with pytest.raises(ApiError, match="'many' on namespace tenant is not a whole number"):
        admitlb.cluster.patch(NAMESPACES, "tenant", {"metadata": {"annotations": {"admitlb.io/ip-quota": "many"}}})
    for name in ("one", "two"):
        admitlb.cluster.delete(SERVICES, name, "tenant")


def _admitted(admitlb: Installation, namespace: str, name: str) -> bool:
    try:
        admitlb.cluster.create(SERVICES, service(name), namespace)
    except ApiError:
        return False
    return True


def test_competing_priorities_and_foreign_addresses_are_warned_of(admitlb: Installation) -> None:
    rival = """
apiVersion: metallb.io/v1beta1
kind: IPAddressPool
metadata: {name: NAME, namespace: metallb-system}
spec:
  addresses: [RANGE]
  serviceAllocation: {priority: PRIORITY, namespaces: [default]}
"""
    first = rival.replace("NAME", "fifty").replace("RANGE", "198.51.100.0/28").replace("PRIORITY", "50")
    second = rival.replace("NAME", "hundred").replace("RANGE", "10.96.0.0/28").replace("PRIORITY", "100")
    assert "Warning" not in admitlb.control_plane.kubectl("apply", "-f", "-", stdin=first).stderr
    wait_until(
        lambda: (
            "fifty (priority 50) is tried before hundred (priority 100) in namespace default: "
            "the lower number goes first"
            in admitlb.control_plane.kubectl("apply", "--dry-run=server", "-f", "-", stdin=second).stderr
        ),
        5,
        "the warning names who is tried first",
    )
    warned = admitlb.control_plane.kubectl("apply", "--dry-run=server", "-f", "-", stdin=second).stderr
    assert "10.96.0.0/28 overlaps 10.96.0." in warned
    assert "the Service CIDR" in warned


def test_a_deletion_that_leaves_addresses_unannounced_is_warned_of(admitlb: Installation) -> None:
    by_label = """
apiVersion: metallb.io/v1beta1
kind: L2Advertisement
metadata: {name: by-label, namespace: metallb-system}
spec:
  ipAddressPoolSelectors: [{matchLabels: {tier: public}}]
"""
    kubectl = admitlb.control_plane.kubectl
    kubectl("apply", "-f", "-", stdin=by_label)
    drained = {"metadata": {"labels": {"tier": "public"}}, "spec": {"shrinkPolicy": "Drain"}}
    admitlb.cluster.patch(IP_ADDRESS_POOLS, "main", drained, DEFAULT_NAMESPACE)
    warned = kubectl("delete", "ipaddresspool", "main", "-n", DEFAULT_NAMESPACE).stderr
    kubectl("delete", "l2advertisement", "by-label", "-n", DEFAULT_NAMESPACE)
    assert "nobody announces 192.0.2.10 (default/web) any more" in warned
    assert ingress(admitlb.cluster.get(SERVICES, "web", "default")) == ["192.0.2.10"]

"""From k3s ServiceLB, kube-vip and Cilium LB IPAM to AdmitLB, by the book, on the Services they leave behind."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from allocator.kube.client import Cluster, NotFound, Object
from allocator.kube.resource import SERVICES
from tests.cluster.foreign_load_balancers import CLEANUP, create, create_daemon_sets, kube_vip, lb_ipam, servicelb
from tests.cluster.installation import ingress, service
from tests.cluster.reconciling import Reconciling, conditions
from tests.cluster.sessions import Place, commands
from tests.endtoend.transcripts import run
from tests.lab.binaries import find
from tests.lab.waiting import wait_until

NODES = ("203.0.113.11", "203.0.113.12", "203.0.113.13")
CLASSES_FROM = (1, 24, 0)
"""The first Kubernetes where every API server stores a loadBalancerClass."""
UDP = [{"port": 53, "protocol": "UDP"}]


@pytest.fixture(scope="module")
def admitlb(reconciling: Reconciling, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Reconciling]:
    """A reconciler in a cluster that the three have left, with the document run from top to bottom."""
    directory = tmp_path_factory.mktemp("taking-over")
    create_daemon_sets(reconciling.cluster)
    states = [
        servicelb("traefik", *NODES),
        servicelb("dashboard", *NODES),
        kube_vip("web", "203.0.113.70"),
        kube_vip("api", "203.0.113.72", requested="0.0.0.0"),
        kube_vip("dns-tcp", "203.0.113.73"),
        kube_vip("dns-udp", "203.0.113.73", ports=UDP),
        lb_ipam("edge", "203.0.113.74", "203.0.113.75"),
    ]
    if find().server_version >= CLASSES_FROM:
        states.append(lb_ipam("classy", "203.0.113.76", loadBalancerClass="io.cilium/l2-announcer"))
    create(reconciling.cluster, states)
    reconciling.start().wait_leading()
    run(Place(reconciling.control_plane, directory), commands("taking-over.md", directory))
    yield reconciling
    reconciling.control_plane.kubectl("delete", "daemonsets", "--all", "-n", "kube-system")


@pytest.fixture(scope="module")
def cluster(admitlb: Reconciling) -> Cluster:
    return admitlb.cluster


def stored(cluster: Cluster, name: str) -> Object:
    return cluster.get(SERVICES, name, "default")


@pytest.mark.timeout(300)
def test_an_address_of_a_pool_stays_whoever_gave_it_and_nobody_else_gets_it(admitlb: Reconciling) -> None:
    for name, address in {"web": 70, "api": 72, "dns-tcp": 73, "dns-udp": 73, "edge": 74}.items():
        assert ingress(stored(admitlb.cluster, name)) == [f"203.0.113.{address}"], name
    claims = admitlb.claims()
    assert [one["name"] for one in claims["203.0.113.73"]["holders"]] == ["dns-tcp", "dns-udp"]
    admitlb.cluster.create(SERVICES, service("newcomer"), "default")
    (given,) = wait_until(lambda: ingress(stored(admitlb.cluster, "newcomer")), 10, "it has an address")
    assert admitlb.held(given) == ["newcomer"]


def test_what_others_wrote_beside_the_address_is_left_to_them(cluster: Cluster) -> None:
    web = stored(cluster, "web")
    assert web["status"]["loadBalancer"]["ingress"][0]["ports"][0]["port"] == 80
    assert web["metadata"]["annotations"]["kube-vip.io/vipHost"] == "node-1"
    edge = stored(cluster, "edge")
    assert edge["metadata"]["annotations"]["lbipam.cilium.io/ips"] == "203.0.113.74,203.0.113.75"
    # Servers before 1.24 store no condition of a Service.
    assert "cilium.io/IPAMRequestSatisfied" in conditions(edge) or "status" not in conditions(edge)


def test_a_second_address_of_a_family_is_dropped_with_an_event(admitlb: Reconciling) -> None:
    assert admitlb.event("edge", "ClearAssignment") == (
        "no longer shows 203.0.113.75: a Service has one address of each family, and this one keeps 203.0.113.74"
    )


def test_a_service_at_the_nodes_addresses_is_left_alone_until_it_is_annotated(admitlb: Reconciling) -> None:
    assert ingress(stored(admitlb.cluster, "dashboard")) == list(NODES)
    assert "written by k3s" in admitlb.event("dashboard", "Ignored")
    assert ingress(stored(admitlb.cluster, "traefik")) == ["203.0.113.71"]


def test_a_request_for_dhcp_is_met_by_what_it_has_once_the_field_is_removed(cluster: Cluster) -> None:
    api = wait_until(lambda: stored(cluster, "api"), 5, "it is there")
    assert ingress(api) == ["203.0.113.72"]
    assert "loadBalancerIP" not in api["spec"]


def test_a_service_of_another_class_is_not_touched_and_its_address_given_to_nobody(admitlb: Reconciling) -> None:
    if find().server_version >= CLASSES_FROM:
        assert ingress(stored(admitlb.cluster, "classy")) == ["203.0.113.76"]
        assert admitlb.claims()["203.0.113.76"]["holders"][0]["name"] == "classy"


def test_a_service_goes_with_its_address_once_the_finalizer_is_removed(admitlb: Reconciling) -> None:
    cluster = admitlb.cluster
    assert [one["metadata"]["name"] for one in cluster.list(SERVICES)["items"] if has_cleanup(one)] == []
    cluster.delete(SERVICES, "traefik", "default")
    with pytest.raises(NotFound):
        stored(cluster, "traefik")
    wait_until(lambda: not admitlb.held("203.0.113.71"), 10, "its address is released")


def test_with_the_finalizer_it_stays_and_keeps_its_address(admitlb: Reconciling) -> None:
    cluster = admitlb.cluster
    # The last of the pool: the newcomer has one of the first that were free.
    create(cluster, [kube_vip("staying", "203.0.113.79")])
    wait_until(lambda: admitlb.held("203.0.113.79"), 10, "its address is claimed")
    cluster.delete(SERVICES, "staying", "default")
    cluster.create(SERVICES, service("next", loadBalancerIP="203.0.113.79"), "default")
    wait_until(
        lambda: "staying" in admitlb.event("next", "AllocationFailed"), 10, "the address is refused to another"
    )
    assert stored(cluster, "staying")["metadata"]["deletionTimestamp"]
    patch = {"metadata": {"finalizers": None}}
    cluster.patch(SERVICES, "staying", patch, "default")
    wait_until(lambda: ingress(stored(cluster, "next")) == ["203.0.113.79"], 10, "the address is handed on")


def has_cleanup(document: Object) -> bool:
    """Tell whether the cloud provider's finalizer is on a Service."""
    return CLEANUP in document["metadata"].get("finalizers", ())

"""Services as requests: which annotation wins, which families are meant, what contradicts itself."""

from typing import Any

import pytest

from allocator.core.addresses import Family
from allocator.objects.document import InvalidDocument
from allocator.objects.names import (
    ADDRESS_POOL_ANNOTATIONS,
    ALLOW_SHARED_IP_ANNOTATIONS,
    LOAD_BALANCER_IPS_ANNOTATIONS,
)
from allocator.objects.service import deprecated_annotations, request_from, wants_address
from tests.unit.core.builders import DUAL

IPV4, IPV6 = Family.IPV4, Family.IPV6


def service(annotations: dict[str, str] | None = None, **spec: Any) -> dict[str, Any]:
    return {
        "metadata": {"name": "web", "namespace": "prod", "annotations": annotations},
        "spec": {"type": "LoadBalancer", "ports": [{"port": 80}], **spec},
    }


def read(annotations: dict[str, str] | None = None, cluster: tuple[Family, ...] = (IPV4,), **spec: Any) -> Any:
    return request_from(service(annotations, **spec), cluster_families=cluster)


def test_stable_annotations_win_over_legacy_ones() -> None:
    both = {"metallb.io/address-pool": "new", "metallb.universe.tf/address-pool": "old"}
    assert read(both).pool_name == "new"
    assert read({"metallb.universe.tf/address-pool": "old"}).pool_name == "old"


@pytest.mark.parametrize("empty", ["", "  ", "\t"])
def test_every_empty_annotation_counts_as_absent(empty: str) -> None:
    stable = (*ADDRESS_POOL_ANNOTATIONS, *LOAD_BALANCER_IPS_ANNOTATIONS, *ALLOW_SHARED_IP_ANNOTATIONS)
    assert read(dict.fromkeys(stable, empty)) == read({})
    assert deprecated_annotations(service(dict.fromkeys(stable, empty))) == []
    for new, old in (ADDRESS_POOL_ANNOTATIONS, LOAD_BALANCER_IPS_ANNOTATIONS, ALLOW_SHARED_IP_ANNOTATIONS):
        assert read({new: empty, old: "10.0.0.1"}) == read({old: "10.0.0.1"})


def test_an_empty_annotation_does_not_contradict_the_field() -> None:
    assert [str(pin) for pin in read({"metallb.io/loadBalancerIPs": ""}, loadBalancerIP="10.0.0.9").pins] == [
        "10.0.0.9"
    ]
    assert read({"metallb.io/loadBalancerIPs": ""}, loadBalancerIP=" ").pins == ()


def test_pins_come_from_the_annotation_or_the_field_in_the_order_written() -> None:
    assert [str(pin) for pin in read({"metallb.universe.tf/loadBalancerIPs": "fd00::1, 10.0.0.1"}).pins] == [
        "fd00::1",
        "10.0.0.1",
    ]
    assert [str(pin) for pin in read(loadBalancerIP="10.0.0.9").pins] == ["10.0.0.9"]


@pytest.mark.parametrize(
    ("annotations", "field", "says"),
    [
        ({"metallb.io/loadBalancerIPs": "10.0.0.1"}, "10.0.0.1", "keep only one of the two"),
        ({"metallb.io/loadBalancerIPs": "10.0.0.1,web"}, "", "annotations[metallb.io/loadBalancerIPs]: 'web' is not"),
        ({}, "web", "spec.loadBalancerIP: 'web' is not an IP address"),
    ],
)
def test_contradictions_name_the_field(annotations: dict[str, str], field: str, says: str) -> None:
    with pytest.raises(InvalidDocument) as refused:
        read(annotations, loadBalancerIP=field)
    assert says in str(refused.value)


@pytest.mark.parametrize(
    ("cluster", "spec", "families"),
    [
        ((IPV4,), {}, (IPV4,)),
        ((IPV6, IPV4), {}, (IPV6,)),
        ((IPV4, IPV6), {"ipFamilies": ["IPv6"]}, (IPV6,)),
        ((IPV4, IPV6), {"ipFamilyPolicy": "PreferDualStack"}, DUAL),
        ((IPV4,), {"ipFamilyPolicy": "PreferDualStack"}, (IPV4,)),
        ((IPV4, IPV6), {"ipFamilyPolicy": "RequireDualStack", "ipFamilies": ["IPv6"]}, (IPV6, IPV4)),
        ((IPV4, IPV6), {"ipFamilyPolicy": "PreferDualStack", "clusterIPs": ["10.96.0.9"]}, (IPV4,)),
        ((IPV4,), {"clusterIP": "fd00::9"}, (IPV6,)),
        ((IPV4,), {"clusterIP": ""}, (IPV4,)),
    ],
)
def test_families_follow_cluster_ips_then_spec_then_the_cluster(
    cluster: tuple[Family, ...], spec: dict[str, Any], families: tuple[Family, ...]
) -> None:
    assert read(cluster=cluster, **spec).families == families


def test_families_and_policies_that_do_not_exist_are_named() -> None:
    with pytest.raises(InvalidDocument) as refused:
        read(ipFamilyPolicy="TripleStack", ipFamilies=["IPv4", "IPv5"])
    assert [problem.path for problem in refused.value.problems] == ["spec.ipFamilyPolicy", "spec.ipFamilies[1]"]


def test_backends_pin_sharing_only_under_policy_local() -> None:
    assert read(selector={"app": "web"}).backend_key == ""
    assert read(selector={"b": "2", "a": "1"}, externalTrafficPolicy="Local").backend_key == "a=1,b=2"


def test_class_and_type_decide_whose_service_it_is() -> None:
    assert wants_address(service())
    assert not wants_address(service(type="ClusterIP"))
    assert not wants_address(service(loadBalancerClass="example.com/other"))
    assert wants_address(service(loadBalancerClass="example.com/ours"), lb_class="example.com/ours")
    assert not wants_address(service(), lb_class="example.com/ours")

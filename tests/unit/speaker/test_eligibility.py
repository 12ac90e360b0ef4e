"""Which nodes may announce: MetalLB's rules, one by one."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from allocator.kube import resource
from allocator.kube.client import Object
from allocator.kube.reflector import Change
from allocator.objects.document import InvalidDocument
from allocator.objects.names import IP_ADDRESS_POOLS, L2_ADVERTISEMENTS
from allocator.objects.node import node_from
from speaker.cluster.advertisements import advertisement_from
from speaker.cluster.eligibility import NOT_READY_HANDICAP, Nobody, Standing
from speaker.cluster.scope import EVERYWHERE, Scope
from speaker.cluster.service_address import ServiceAddress
from speaker.cluster.state import View
from tests.unit.speaker.objects import advertisement, endpoint, endpoint_slice, node, pool, service

NODES = (node("node-1", labels={"rack": "a"}), node("node-2", labels={"rack": "b"}), node("node-3"))
ALL = ["node-1", "node-2", "node-3"]
SERVED_ON_1 = (endpoint_slice(endpoint("node-1")),)


def judge(
    candidate: Object | None = None,
    *,
    of_pool: Object | None = None,
    slices: Sequence[Object] = SERVED_ON_1,
    advertisements: Sequence[Object] = (advertisement(),),
    nodes: Sequence[Object] = NODES,
    shared: bool = False,
) -> ServiceAddress:
    """Find who may announce the address of a Service in a cluster of these objects."""
    view = View()
    others = [service("192.0.2.10", name="other")] if shared else []
    candidate = candidate or service("192.0.2.10")
    numbered = [
        {**each, "metadata": {**each["metadata"], "name": f"web-{number}"}} for number, each in enumerate(slices)
    ]
    for kind, objects in (
        (resource.NODES, nodes),
        (IP_ADDRESS_POOLS, [of_pool or pool()]),
        (L2_ADVERTISEMENTS, advertisements),
        (resource.ENDPOINT_SLICES_V1, numbered),
        (resource.SERVICES, [candidate, *others]),
    ):
        for each in objects:
            key = (each["metadata"].get("namespace") or "", each["metadata"]["name"])
            seen = view.read(Change(kind, key, None, each, "1"))
            assert seen is not None
            view.apply(seen)
    view.refresh()
    [found] = view.addresses_of(("default", "web"))
    return found


def nobody(verdict: ServiceAddress) -> Nobody | None:
    """Why no node may; there is a reason where, and only where, there is no node."""
    assert (verdict.nobody is None) == bool(verdict.nodes)
    return verdict.nobody


def scopes(verdict: ServiceAddress) -> dict[str, Scope]:
    return {name: standing.scope for name, standing in verdict.nodes.items()}


def rack(value: str) -> dict[str, dict[str, str]]:
    return {"matchLabels": {"rack": value}}


def test_an_advertisement_that_says_nothing_covers_every_pool_node_and_interface() -> None:
    assert judge().nodes == dict.fromkeys(ALL, Standing(scope=EVERYWHERE))


def test_an_address_in_no_pool_is_announced_by_nobody() -> None:
    assert nobody(judge(service("198.51.100.10"))) is Nobody.NO_POOL


@pytest.mark.parametrize(
    ("spec", "covered"),
    [
        ({"ipAddressPools": ["pool"]}, True),
        ({"ipAddressPools": ["other"]}, False),
        ({"ipAddressPools": ["no-such-pool", "pool"]}, True),
        ({"ipAddressPoolSelectors": [{"matchLabels": {"tier": "public"}}]}, True),
        ({"ipAddressPoolSelectors": [{"matchLabels": {"tier": "internal"}}]}, False),
        ({"ipAddressPools": ["other"], "ipAddressPoolSelectors": [{"matchLabels": {"tier": "public"}}]}, True),
        ({"ipAddressPoolSelectors": [{"matchLabels": {"tier": "x"}}, {"matchLabels": {"tier": "public"}}]}, True),
        ({"serviceSelectors": [{"matchLabels": {"app": "web"}}]}, True),
        ({"serviceSelectors": [{"matchLabels": {"app": "db"}}]}, False),
    ],
)
def test_pools_are_covered_by_name_or_label_and_services_by_label(spec: Object, covered: bool) -> None:
    verdict = judge(
        service("192.0.2.10", labels={"app": "web"}),
        of_pool=pool(tier="public"),
        advertisements=[advertisement(**spec)],
    )
    assert (sorted(verdict.nodes) == ALL) if covered else nobody(verdict) is Nobody.NO_ADVERTISEMENT


def test_node_selectors_choose_nodes_and_advertisements_add_up() -> None:
    only_a = advertisement(nodeSelectors=[rack("a")], interfaces=["eth0"])
    only_b = advertisement("l2-b", nodeSelectors=[rack("b")], interfaces=["eth1"])
    eth0, eth1 = Scope(frozenset({"eth0"})), Scope(frozenset({"eth1"}))
    assert scopes(judge(advertisements=[only_a])) == {"node-1": eth0}
    assert scopes(judge(advertisements=[only_a, only_b])) == {"node-1": eth0, "node-2": eth1}


def test_a_nodes_interfaces_are_those_of_all_its_advertisements_and_none_named_means_all() -> None:
    first = advertisement(interfaces=["eth0"])
    second = advertisement("more", interfaces=["eth1"], nodeSelectors=[rack("a")])
    anywhere = advertisement("anywhere", nodeSelectors=[rack("b")])
    verdict = judge(advertisements=[first, second, anywhere])
    assert scopes(verdict) == {
        "node-1": Scope(frozenset({"eth0", "eth1"})),
        "node-2": EVERYWHERE,
        "node-3": Scope(frozenset({"eth0"})),
    }


@pytest.mark.parametrize(
    "unfit",
    [
        node("node-1", network_down=True),
        node("node-1", labels={"node.kubernetes.io/exclude-from-external-load-balancers": ""}),
        node("node-1", labels={"node.kubernetes.io/exclude-from-external-load-balancers": "false"}),
        node("node-1", taint="node.kubernetes.io/out-of-service"),
        {**node("node-1"), "metadata": {"name": "node-1", "deletionTimestamp": "2026-01-01T00:00:00Z"}},
    ],
    ids=["no network", "excluded", "excluded whatever the value", "out of service", "being deleted"],
)
def test_nodes_that_cannot_or_must_not_do_not_announce(unfit: Object) -> None:
    assert sorted(judge(nodes=[unfit, node("node-2")]).nodes) == ["node-2"]
    assert nobody(judge(nodes=[unfit])) is Nobody.NO_NODE


def test_a_node_that_is_not_ready_announces_only_where_no_better_is_found() -> None:
    verdict = judge(nodes=[node("node-1", ready=False), node("node-2")])
    assert {name: standing.handicap for name, standing in verdict.nodes.items()} == {
        "node-1": NOT_READY_HANDICAP,
        "node-2": 0,
    }


def test_the_weights_of_matching_preferences_add_up_for_nodes_the_advertisement_covers() -> None:
    first = advertisement(
        preferredNodeSelectors=[
            {"weight": 10, "preference": rack("a")},
            {"weight": 5, "preference": {"matchExpressions": [{"key": "rack", "operator": "Exists"}]}},
        ]
    )
    second = advertisement(
        "second", nodeSelectors=[rack("a")], preferredNodeSelectors=[{"weight": 7, "preference": {}}]
    )
    verdict = judge(advertisements=[first, second])
    assert {name: standing.weight for name, standing in verdict.nodes.items()} == {
        "node-1": 22,
        "node-2": 5,
        "node-3": 0,
    }


def test_a_shared_address_is_not_announced_by_an_advertisement_that_chooses_services() -> None:
    chosen = service("192.0.2.10", labels={"app": "web"})
    choosy = advertisement(serviceSelectors=[{"matchLabels": {"app": "web"}}])
    assert nobody(judge(chosen, advertisements=[choosy], shared=True)) is Nobody.SHARED_AND_SELECTED
    assert sorted(judge(chosen, advertisements=[choosy]).nodes) == ALL
    assert sorted(judge(chosen, shared=True).nodes) == ALL


@pytest.mark.parametrize(
    ("condition", "serves"),
    [
        (endpoint("node-2"), True),
        (endpoint("node-2", ready=None), True),
        (endpoint("node-2", ready=False), False),
        (endpoint("node-2", ready=False, serving=False), False),
        (endpoint("node-2", ready=False, serving=True), True),
        (endpoint(None), True),
    ],
)
def test_nobody_announces_a_service_that_nothing_serves(condition: Object, serves: bool) -> None:
    verdict = judge(slices=[endpoint_slice(endpoint("node-1", ready=False)), endpoint_slice(condition)])
    assert (sorted(verdict.nodes) == ALL) if serves else nobody(verdict) is Nobody.NO_ENDPOINT


def test_no_slices_and_slices_without_endpoints_serve_nothing() -> None:
    bare = endpoint_slice()
    bare["endpoints"] = None
    for slices in ([], [bare]):
        assert nobody(judge(slices=slices)) is Nobody.NO_ENDPOINT


def test_local_traffic_keeps_to_nodes_with_a_serving_endpoint() -> None:
    local = service("192.0.2.10", externalTrafficPolicy="Local")
    slices = [endpoint_slice(endpoint("node-2"), endpoint("node-3", ready=False), endpoint(None))]
    assert sorted(judge(local, slices=slices).nodes) == ["node-2"]
    elsewhere = [endpoint_slice(endpoint("node-9"))]
    assert nobody(judge(local, slices=elsewhere)) is Nobody.NO_LOCAL_ENDPOINT


def test_the_older_api_names_an_endpoints_node_in_its_topology() -> None:
    old = {"conditions": {"ready": True}, "topology": {"kubernetes.io/hostname": "node-3"}}
    local = service("192.0.2.10", externalTrafficPolicy="Local")
    assert list(judge(local, slices=[endpoint_slice(old)]).nodes) == ["node-3"]


def ports(*names: str) -> list[Object]:
    """Ports as both Services and slices have them."""
    return [{"name": name, "port": 80, "protocol": "TCP"} for name in names]


@pytest.mark.parametrize(
    ("offered", "serves"),
    [
        pytest.param(ports("http"), True, id="the port"),
        pytest.param(ports("http", "metrics"), True, id="and another"),
        pytest.param(ports("metrics"), False, id="another"),
        pytest.param([], False, id="none: the pods lack the named targetPort"),
        pytest.param([{"name": "http", "port": 80, "protocol": "UDP"}], False, id="by another protocol"),
        pytest.param([{"name": "http", "protocol": "TCP"}], False, id="without a number"),
    ],
)
def test_a_slice_that_does_not_offer_the_services_port_serves_nothing(offered: list[Object], serves: bool) -> None:
    without = {**endpoint_slice(endpoint("node-1")), "ports": offered}
    with_it = {**endpoint_slice(endpoint("node-2")), "ports": ports("http")}
    for policy, expected in (("Cluster", ALL), ("Local", ["node-1"])):
        wanting = service("192.0.2.10", ports=ports("http"), externalTrafficPolicy=policy)
        assert sorted(judge(wanting, slices=[without]).nodes) == (expected if serves else [])
    local = service("192.0.2.10", ports=ports("http"), externalTrafficPolicy="Local")
    assert sorted(judge(local, slices=[without, with_it]).nodes) == ["node-1", "node-2"][not serves :]


def test_of_several_ports_one_that_is_offered_is_enough_and_one_without_a_name_matches_its_like() -> None:
    two = service("192.0.2.10", ports=ports("http", "https"), externalTrafficPolicy="Local")
    assert sorted(judge(two, slices=[{**endpoint_slice(endpoint("node-1")), "ports": ports("https")}]).nodes) == [
        "node-1"
    ]
    unnamed = service("192.0.2.10", ports=[{"port": 80}], externalTrafficPolicy="Local")
    assert sorted(
        judge(unnamed, slices=[{**endpoint_slice(endpoint("node-1")), "ports": [{"port": 8080}]}]).nodes
    ) == ["node-1"]


def test_a_node_is_reached_at_its_first_internal_ip_that_is_one() -> None:
    written = node("node-1", address="nonsense")
    written["status"]["addresses"] += [
        {"type": "ExternalIP", "address": "198.51.100.1"},
        {"type": "InternalIP", "address": "203.0.113.201"},
        {"type": "InternalIP", "address": "2001:db8:1::c9"},
    ]
    assert node_from(written).internal_ip == "203.0.113.201"
    assert node_from({"metadata": {"name": "bare"}}).internal_ip is None


def test_an_advertisement_whose_selector_cannot_be_read_is_refused() -> None:
    broken = advertisement(nodeSelectors=[{"matchExpressions": [{"key": "rack", "operator": "Like"}]}])
    with pytest.raises(InvalidDocument, match=r"spec.nodeSelectors\[0\]"):
        advertisement_from(broken)

"""Which nodes may announce what, as the cluster changes."""

from __future__ import annotations

from typing import Any

import pytest

from allocator.core.addresses import Address
from allocator.kube.client import Object
from allocator.kube.reflector import Change
from allocator.kube.resource import ENDPOINT_SLICES_V1, ENDPOINT_SLICES_V1BETA1, LEASES, NODES, SERVICES, Resource
from allocator.objects.names import (
    FROM_POOL_ANNOTATION,
    IP_ADDRESS_POOLS,
    IP_ALLOCATIONS,
    L2_ADVERTISEMENTS,
    MOVE_TO_NODE_ANNOTATION,
)
from speaker.cluster import eligible_nodes, state
from speaker.cluster.scope import Scope
from speaker.cluster.state import View
from speaker.election.candidates import Candidates
from speaker.election.groups import Groups
from speaker.election.inputs import Inputs
from speaker.membership.link import Link
from speaker.membership.liveness import Liveness
from speaker.membership.state_sync import AdvertisedState
from tests.unit.speaker.objects import advertisement, endpoint, endpoint_slice, lease, node, pool, service
from tests.unit.speaker.simulated import WholeHolder

# Of node-a, node-b and node-c, MetalLB ranks b, a, c for 10.0.0.1 and b, c, a for 10.0.0.2.
FIRST, SECOND = "10.0.0.1", "10.0.0.2"
LINKS = (Link(name="eth0", mac=bytes(6)), Link(name="eth1", mac=bytes(6)))
ALIVE = frozenset({"node-a", "node-b", "node-c"})


class Cluster:
    """Applies objects to a View, as its reflectors would, and holds the elections as every node would."""

    def __init__(self, **options: Any) -> None:
        self.view = View(**options)
        self._groups = Groups(self.view)
        for name in sorted(ALIVE):
            self.put(NODES, node(name, address=f"203.0.113.{ord(name[-1])}"))
        self.put(IP_ADDRESS_POOLS, pool(addresses=["10.0.0.0/24"]))
        self.put(L2_ADVERTISEMENTS, advertisement())
        self.put(ENDPOINT_SLICES_V1, endpoint_slice(endpoint("node-a")))

    def put(self, resource: Resource, obj: Object) -> None:
        self._apply(resource, obj, obj)

    def remove(self, resource: Resource, obj: Object) -> None:
        self._apply(resource, obj, None)

    def _apply(self, resource: Resource, obj: Object, new: Object | None) -> None:
        key = (obj["metadata"].get("namespace") or "", obj["metadata"]["name"])
        seen = self.view.read(Change(resource, key, None, new, "1"))
        if seen is not None:
            self.view.apply(seen)
        self._groups.update(self.view.refresh())

    def groups(self) -> tuple[Candidates, ...]:
        """What is elected together."""
        return tuple(self._groups.all())

    def holders(self, alive: frozenset[str] = ALIVE) -> dict[str, str]:
        """Who would announce what, if nobody announced anything yet: every node is asked."""
        found: dict[str, str] = {}
        for name in alive:
            states = {other: AdvertisedState(links=LINKS) for other in alive - {name}}
            liveness = Liveness(alive=alive, heard=alive - {name}, states=states)
            inputs = Inputs(liveness=liveness, links=LINKS)
            for address in WholeHolder(name).decide(self.groups(), inputs, 0.0).scopes:
                assert found.setdefault(str(address), name) == name, f"two announcers of {address}"
        return found

    def scopes(self, node_name: str) -> set[Scope]:
        """Where the node would announce."""
        nodes = [group.nodes[node_name] for group in self.groups()]
        return {scope for node in nodes for scope in node.scopes}


def test_each_address_is_announced_by_the_one_node_metallb_would_choose() -> None:
    cluster = Cluster()
    cluster.put(SERVICES, service(FIRST))
    cluster.put(SERVICES, service(SECOND, name="other"))
    cluster.put(ENDPOINT_SLICES_V1, endpoint_slice(endpoint("node-c"), of="other", name="other-1"))
    assert cluster.holders() == {FIRST: "node-b", SECOND: "node-b"}
    assert cluster.holders(ALIVE - {"node-b"}) == {FIRST: "node-a", SECOND: "node-c"}
    assert cluster.holders(frozenset({"node-a"})) == {FIRST: "node-a", SECOND: "node-a"}
    assert cluster.holders(frozenset()) == {}


def test_both_addresses_of_a_dual_stack_service_are_announced_by_the_node_of_the_first() -> None:
    cluster = Cluster()
    cluster.put(IP_ADDRESS_POOLS, pool(addresses=["10.0.0.0/24", "2001:db8::/64"]))
    cluster.put(SERVICES, service(SECOND, "2001:db8::a"))
    for alive in (ALIVE, ALIVE - {"node-b"}, ALIVE - {"node-b", "node-c"}):
        assert len(set(cluster.holders(alive).values())) == 1


@pytest.mark.parametrize(
    "ignored",
    [
        service(FIRST, kind="ClusterIP"),
        service(FIRST, loadBalancerClass="example.com/other"),
        service("198.51.100.1"),
        service(),
        service("not an address"),
    ],
    ids=["no load balancer", "another class", "in no pool", "no address yet", "garbage in its status"],
)
def test_services_that_are_not_ours_are_left_alone(ignored: Object) -> None:
    cluster = Cluster()
    cluster.put(SERVICES, ignored)
    assert cluster.holders() == {}


def test_with_a_class_of_our_own_only_services_of_that_class_are_served() -> None:
    cluster = Cluster(lb_class="example.com/ours")
    cluster.put(SERVICES, service(FIRST))
    assert cluster.holders() == {}
    cluster.put(SERVICES, service(FIRST, loadBalancerClass="example.com/ours"))
    assert cluster.holders() == {FIRST: "node-b"}


def test_every_kind_of_change_is_followed() -> None:
    cluster = Cluster()
    cluster.put(SERVICES, service(FIRST))

    cluster.put(ENDPOINT_SLICES_V1, endpoint_slice(endpoint("node-a", ready=False)))
    assert cluster.holders() == {}
    cluster.put(ENDPOINT_SLICES_V1, endpoint_slice(endpoint("node-a")))
    assert cluster.holders() == {FIRST: "node-b"}

    cluster.put(NODES, node("node-b", network_down=True))
    assert cluster.holders() == {FIRST: "node-a"}
    cluster.remove(NODES, node("node-a"))
    assert cluster.holders() == {FIRST: "node-c"}
    cluster.put(NODES, node("node-b"))
    assert cluster.holders() == {FIRST: "node-b"}

    cluster.remove(L2_ADVERTISEMENTS, advertisement())
    assert cluster.holders() == {}
    cluster.put(L2_ADVERTISEMENTS, advertisement(interfaces=["eth1"]))
    assert cluster.holders() == {FIRST: "node-b"}
    assert cluster.scopes("node-b") == {Scope(frozenset({"eth1"}))}

    cluster.remove(IP_ADDRESS_POOLS, pool())
    assert cluster.holders() == {}
    cluster.put(IP_ADDRESS_POOLS, pool(addresses=["10.0.0.1/32"]))
    assert cluster.holders() == {FIRST: "node-b"}

    cluster.put(SERVICES, service(SECOND))
    assert cluster.holders() == {}
    cluster.put(SERVICES, service(FIRST))
    cluster.remove(SERVICES, service(FIRST))
    assert cluster.holders() == {}


def test_a_service_may_have_many_slices_of_either_api_version() -> None:
    cluster = Cluster()
    cluster.put(SERVICES, service(FIRST))
    second = endpoint_slice(endpoint("node-b"), name="web-2")
    cluster.put(ENDPOINT_SLICES_V1BETA1, second)
    cluster.remove(ENDPOINT_SLICES_V1, endpoint_slice(name="web-1"))
    assert cluster.holders() == {FIRST: "node-b"}
    cluster.remove(ENDPOINT_SLICES_V1BETA1, second)
    assert cluster.holders() == {}


def test_a_slice_that_passes_to_another_service_serves_only_that_one() -> None:
    cluster = Cluster()
    cluster.put(SERVICES, service(FIRST))
    cluster.put(SERVICES, service(SECOND, name="other"))
    cluster.put(ENDPOINT_SLICES_V1, endpoint_slice(endpoint("node-a"), of="other"))
    assert cluster.holders() == {SECOND: "node-b"}


def test_an_update_that_cannot_be_read_changes_nothing() -> None:
    cluster = Cluster()
    cluster.put(SERVICES, service(FIRST))
    cluster.put(IP_ADDRESS_POOLS, pool(addresses=["nonsense"]))
    cluster.put(L2_ADVERTISEMENTS, advertisement(nodeSelectors=[{"matchExpressions": [{"operator": "Like"}]}]))
    assert cluster.holders() == {FIRST: "node-b"}
    cluster.remove(IP_ADDRESS_POOLS, pool(addresses=["nonsense"]))
    assert cluster.holders() == {}


def test_an_object_that_never_could_be_read_counts_as_not_there() -> None:
    cluster = Cluster()
    cluster.put(IP_ADDRESS_POOLS, pool("broken", addresses=["198.51.100.0/24", "nonsense"]))
    cluster.put(SERVICES, service("198.51.100.1"))
    assert cluster.holders() == {}


def test_an_address_that_left_the_assignable_part_of_its_pool_stays_announced() -> None:
    cluster = Cluster()
    drained = pool(addresses=["10.0.0.0/24"])
    drained["spec"]["excludeAddresses"] = [FIRST]
    cluster.put(IP_ADDRESS_POOLS, drained)
    cluster.put(SERVICES, service(FIRST))
    assert cluster.holders() == {FIRST: "node-b"}


def test_a_status_update_of_a_node_that_changes_nothing_costs_no_recomputation() -> None:
    cluster = Cluster()
    cluster.put(SERVICES, service(FIRST))
    seen = cluster.view.read(Change(NODES, ("", "node-a"), None, node("node-a", address="203.0.113.97"), "1"))
    assert seen is not None
    cluster.view.apply(seen)
    assert not cluster.view.refresh()


@pytest.mark.parametrize(
    ("resource", "stored"),
    [
        (IP_ADDRESS_POOLS, pool(addresses=["10.0.0.0/24"])),
        (L2_ADVERTISEMENTS, advertisement()),
    ],
    ids=["pool", "advertisement"],
)
def test_a_status_update_asks_about_no_service_again(
    monkeypatch: pytest.MonkeyPatch, resource: Resource, stored: Object
) -> None:
    """A pool's counters change with every Service of the cluster."""
    cluster = Cluster()
    for number in range(1, 20):
        cluster.put(SERVICES, service(f"10.0.0.{number}", name=f"web-{number}"))
    asked = counted(monkeypatch, state, "impediment")
    cluster.put(resource, {**stored, "status": {"assignedIPv4": 19, "conditions": []}})
    assert not asked
    cluster.put(resource, {**stored, "metadata": {**stored["metadata"], "labels": {"changed": "yes"}}})
    assert len(asked) == (19 if resource is IP_ADDRESS_POOLS else 0), "an advertisement's labels select nothing"


def counted(monkeypatch: pytest.MonkeyPatch, module: object, name: str) -> list[object]:
    """Take down every call of a function of the module."""
    calls: list[object] = []
    function = getattr(module, name)

    def call(*args: object, **named: object) -> object:
        calls.append((args, named))
        return function(*args, **named)

    monkeypatch.setattr(module, name, call)
    return calls


def test_what_a_change_costs_does_not_grow_with_what_there_is(monkeypatch: pytest.MonkeyPatch) -> None:
    cluster = Cluster()
    cluster.put(IP_ADDRESS_POOLS, pool("far", addresses=["10.9.0.0/24"]))
    for number in range(1, 51):
        policy = "Local" if number % 2 else "Cluster"
        cluster.put(SERVICES, service(f"10.0.0.{number}", name=f"web-{number}", externalTrafficPolicy=policy))
        slices = endpoint_slice(endpoint("node-a"), of=f"web-{number}", name=f"web-{number}")
        cluster.put(ENDPOINT_SLICES_V1, slices)
    judged = counted(monkeypatch, state, "impediment")
    looked_at = counted(monkeypatch, eligible_nodes, "standing")

    def costs(resource: Resource, stored: Object) -> tuple[int, int]:
        judged.clear()
        looked_at.clear()
        cluster.put(resource, stored)
        return len(judged), len(looked_at)

    assert costs(NODES, node("node-b", labels={"rack": "b"})) == (0, 1), "nodes, whatever there is of Services"
    assert costs(NODES, node("node-b", labels={"rack": "b"}, ready=False)) == (0, 1)
    assert costs(L2_ADVERTISEMENTS, advertisement(interfaces=["eth1"])) == (0, 3)
    assert costs(IP_ADDRESS_POOLS, pool("far", addresses=["10.9.0.0/24", "10.8.0.0/24"])) == (0, 0)
    assert costs(SERVICES, service("10.0.0.7", "10.0.0.99", name="web-7", externalTrafficPolicy="Local")) == (2, 0)
    assert costs(ENDPOINT_SLICES_V1, endpoint_slice(endpoint("node-b"), of="web-8", name="web-8")) == (1, 0)
    assert costs(LEASES, lease("node-a", renewed="later")) == (0, 0)
    unused = advertisement("more", ipAddressPools=["far"])
    assert costs(L2_ADVERTISEMENTS, unused) == (0, 0), "no Service has one of its addresses"
    cluster.put(ENDPOINT_SLICES_V1, endpoint_slice(endpoint("node-a"), of="far", name="far"))
    cluster.put(SERVICES, service("10.9.0.1", name="far"))
    assert costs(L2_ADVERTISEMENTS, advertisement("more", ipAddressPools=["far", "none"])) == (1, 3)
    assert costs(L2_ADVERTISEMENTS, advertisement("more"))[0] == 52, "which selects all pools"
    assert costs(L2_ADVERTISEMENTS, advertisement("more", ipAddressPools=["none"]))[0] == 52, "which did"


@pytest.mark.parametrize(
    ("address", "given_from", "selects"),
    [
        ("10.9.0.1", "", {"ipAddressPools": ["far"]}),
        ("10.9.0.1", "", {"ipAddressPoolSelectors": [{"matchLabels": {"lan": "far"}}]}),
        ("10.7.0.1", "far", {"ipAddressPools": ["far"]}),
        ("10.7.0.1", "far", {"ipAddressPoolSelectors": [{"matchLabels": {"lan": "far"}}]}),
        ("10.7.0.1", "gone", {"ipAddressPools": ["gone"]}),
    ],
    ids=["in it", "in it, by label", "given from it", "given from it, by label", "given from one that is gone"],
)
def test_what_an_advertisement_selects_is_followed_however_its_pool_is_known(
    address: str, given_from: str, selects: dict[str, Any]
) -> None:
    cluster = Cluster()
    cluster.remove(L2_ADVERTISEMENTS, advertisement())
    cluster.put(IP_ADDRESS_POOLS, pool("far", addresses=["10.9.0.0/24"], lan="far"))
    for other in (FIRST, address):
        stored = service(other, name=other)
        if other == address and given_from:
            stored["metadata"]["annotations"] = {FROM_POOL_ANNOTATION: given_from}
        cluster.put(ENDPOINT_SLICES_V1, endpoint_slice(endpoint("node-a"), of=other, name=other))
        cluster.put(SERVICES, stored)
    assert cluster.holders() == {}
    cluster.put(L2_ADVERTISEMENTS, advertisement(**selects))
    assert cluster.holders().keys() == {address}
    cluster.put(L2_ADVERTISEMENTS, advertisement(ipAddressPools=["pool"]))
    assert cluster.holders().keys() == {FIRST}
    cluster.put(L2_ADVERTISEMENTS, advertisement(**selects))
    cluster.remove(L2_ADVERTISEMENTS, advertisement())
    assert cluster.holders() == {}


def test_who_is_left_out_is_in_doubt_where_an_advertisement_in_use_or_a_node_differs_in_that() -> None:
    cluster = Cluster()
    cluster.put(IP_ADDRESS_POOLS, pool("far", addresses=["10.9.0.0/24"]))
    cluster.put(L2_ADVERTISEMENTS, advertisement(nodeSelectors=[{"matchLabels": {"rack": "a"}}]))
    cluster.put(SERVICES, service(FIRST))

    def doubted(resource: Resource, stored: Object) -> bool:
        cluster.view.take_left_out_changed()
        cluster.put(resource, stored)
        return cluster.view.take_left_out_changed()

    assert not doubted(L2_ADVERTISEMENTS, advertisement("more", ipAddressPools=["far"]))
    assert not doubted(L2_ADVERTISEMENTS, advertisement("more", ipAddressPools=["far"], nodeSelectors=[{}]))
    assert not doubted(NODES, node("node-b", labels={"owner": "somebody"})), "nothing selects by it"
    assert doubted(NODES, node("node-b", labels={"rack": "a"}))
    assert not doubted(NODES, node("node-b", labels={"rack": "a"}, ready=False)), "it comes after others"
    assert doubted(NODES, node("node-b", labels={"rack": "a"}, network_down=True))
    assert doubted(NODES, node("node-d", labels={"rack": "b"})), "it may be left out"
    rack_b = [{"matchLabels": {"rack": "b"}}]
    assert not doubted(
        L2_ADVERTISEMENTS, advertisement(nodeSelectors=[{"matchLabels": {"rack": "a"}}], interfaces=["eth1"])
    )
    assert doubted(L2_ADVERTISEMENTS, advertisement(nodeSelectors=rack_b))
    cluster.remove(NODES, node("node-d"))
    assert cluster.view.take_left_out_changed()


def test_the_peers_are_the_nodes_with_a_lease_reached_where_it_says() -> None:
    cluster = Cluster()
    assert cluster.view.nodes.peers() == {}
    cluster.put(LEASES, lease("node-a", addresses=["203.0.113.97", " 10.0.0.97", "nonsense", "2001:DB8::61"]))
    cluster.put(LEASES, lease("node-b"))
    cluster.put(LEASES, lease("long-gone", addresses=["203.0.113.1"]))
    cluster.put(LEASES, {"metadata": {"name": "admitlb-reconciler", "namespace": "metallb-system"}, "spec": {}})
    assert cluster.view.nodes.peers() == {
        "node-a": ("203.0.113.97", "10.0.0.97", "2001:db8::61"),
        "node-b": ("203.0.113.98",),
    }


def test_services_that_share_an_address_are_elected_together_where_all_of_them_may_be() -> None:
    cluster = Cluster()
    for name, place in (("web", "node-a"), ("other", "node-c")):
        cluster.put(
            ENDPOINT_SLICES_V1, endpoint_slice(endpoint(place), endpoint("node-b"), of=name, name=f"{name}-1")
        )
        cluster.put(SERVICES, service(FIRST, name=name, externalTrafficPolicy="Local"))
    (group,) = cluster.groups()
    assert list(group.nodes) == ["node-b"]
    assert [key for key, _ in group.services] == [("default", "other"), ("default", "web")]


def test_services_with_nothing_in_common_still_announce_a_shared_address_once() -> None:
    cluster = Cluster()
    for name, place in (("web", "node-a"), ("other", "node-c")):
        cluster.put(ENDPOINT_SLICES_V1, endpoint_slice(endpoint(place), of=name, name=f"{name}-1"))
        cluster.put(SERVICES, service(FIRST, name=name, externalTrafficPolicy="Local"))
    assert cluster.holders() == {FIRST: "node-a"}


def test_addresses_that_no_node_may_announce_together_go_their_own_ways() -> None:
    cluster = Cluster()
    cluster.put(IP_ADDRESS_POOLS, pool("first", addresses=["10.0.0.1/32"]))
    cluster.put(IP_ADDRESS_POOLS, pool("second", addresses=["10.0.0.2/32"]))
    cluster.remove(IP_ADDRESS_POOLS, pool())
    for name, host in (("first", "node-a"), ("second", "node-c")):
        cluster.put(NODES, node(host, labels={"for": name}))
        selectors = [{"matchLabels": {"for": name}}]
        cluster.put(L2_ADVERTISEMENTS, advertisement(name, ipAddressPools=[name], nodeSelectors=selectors))
    cluster.remove(L2_ADVERTISEMENTS, advertisement())
    cluster.put(SERVICES, service(FIRST, SECOND))
    assert cluster.holders() == {FIRST: "node-a", SECOND: "node-c"}


def test_a_second_service_on_an_address_makes_it_shared_and_its_end_unshares_it() -> None:
    cluster = Cluster()
    cluster.put(L2_ADVERTISEMENTS, advertisement(serviceSelectors=[{"matchLabels": {"app": "web"}}]))
    cluster.put(SERVICES, service(FIRST, labels={"app": "web"}))
    assert cluster.holders() == {FIRST: "node-b"}
    cluster.put(SERVICES, service(FIRST, name="other"))
    assert cluster.holders() == {}
    cluster.remove(SERVICES, service(FIRST, name="other"))
    assert cluster.holders() == {FIRST: "node-b"}


@pytest.mark.parametrize("name", ["of-nobody", "10.0.0.300", "10.0.0.1-2", ""])
@pytest.mark.parametrize("asked", ["node-a", ""])
def test_an_allocation_whose_name_is_no_address_moves_nothing(name: str, asked: str) -> None:
    cluster = Cluster()
    cluster.put(SERVICES, service(FIRST))
    before = cluster.holders()
    claim = {"metadata": {"name": name, "annotations": {MOVE_TO_NODE_ANNOTATION: asked}}}
    cluster.put(IP_ALLOCATIONS, claim)
    cluster.remove(IP_ALLOCATIONS, claim)
    assert cluster.holders() == before


def test_a_service_that_nobody_may_announce_does_not_rank_the_nodes_for_one_that_shares_its_address() -> None:
    """Or speakers that saw it go would rank them otherwise than those that did not."""
    cluster = Cluster()
    cluster.put(SERVICES, service(FIRST))
    cluster.put(SERVICES, service(SECOND, FIRST, name="api"))
    assert [group.ranked_by for group in cluster.groups()] == [Address.parse(FIRST)]
    cluster.put(SERVICES, service(name="api"))
    assert [group.ranked_by for group in cluster.groups()] == [Address.parse(FIRST)]

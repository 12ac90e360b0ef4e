"""Who comes after others for want of an interface in the address's subnet: election, status, explain and condition
say the same."""

from __future__ import annotations

from itertools import product

import pytest

from allocator.commands.announcement import nodes_left_out
from allocator.core.addresses import Address
from allocator.core.claims import Claim, ClaimState
from allocator.kube.client import Object
from allocator.kube.reflector import Change
from allocator.kube.resource import ENDPOINT_SLICES_V1, NODES, SERVICES, Resource
from allocator.objects.names import EXCLUDE_FROM_LB_LABEL, IP_ADDRESS_POOLS, L2_ADVERTISEMENTS
from allocator.objects.pool import pool_from
from allocator.rules.l2_advertisement_status import conditions
from allocator.rules.left_out import NO_SUBNET
from allocator.rules.speaker_subnets import pool_subnets, speaker_subnets
from speaker.cluster.state import View
from speaker.decision_facts import DecisionFacts
from speaker.election.groups import Groups
from speaker.election.holder import Holder
from speaker.election.inputs import Inputs
from speaker.membership.link import Link, Subnet
from speaker.membership.liveness import Liveness
from speaker.membership.state_sync import AdvertisedState
from speaker.status.facts import Announced
from tests.unit.speaker.objects import advertisement, endpoint, endpoint_slice, lease, node, pool, service

VIP = Address.parse("10.0.0.1")
POOL = pool("main", addresses=["10.0.0.0/28"])
HERE, ELSEWHERE, EXCLUDED = "10.0.0.0/24", "10.0.1.0/24", "excluded by its label"
NAMES = ("node-a", "node-b", "node-c")


class Segments:
    """Node-a's holder and facts about one Service, in a cluster of nodes in these subnets, all alive."""

    def __init__(self, subnets: dict[str, str], *, by_subnet: bool = True) -> None:
        self.subnets = subnets
        self.nodes = [
            node(name, labels={EXCLUDE_FROM_LB_LABEL: ""} if subnet is EXCLUDED else {})
            for name, subnet in subnets.items()
        ]
        self.leases = [lease(name, subnets=[HERE if one is EXCLUDED else one]) for name, one in subnets.items()]
        for each in self.leases:
            each["metadata"]["annotations"]["admitlb.io/announce-from"] = "subnet" if by_subnet else "any"
        self.view = View()
        self.holder = Holder("node-a", by_subnet=by_subnet)
        self.facts = DecisionFacts(node="node-a", protocol="layer2", view=self.view, holder=self.holder)
        self._groups = Groups(self.view)
        for each in self.nodes:
            self.put(NODES, each)
        self.put(IP_ADDRESS_POOLS, POOL)
        self.put(L2_ADVERTISEMENTS, advertisement())
        self.put(ENDPOINT_SLICES_V1, endpoint_slice(endpoint("node-a")))
        self.put(SERVICES, service(str(VIP)))

    def put(self, resource: Resource, obj: Object) -> None:
        key = (obj["metadata"].get("namespace") or "", obj["metadata"]["name"])
        seen = self.view.read(Change(resource, key, None, obj, "1"))
        assert seen is not None
        self.view.apply(seen)

    def announced(self, *, dead: str = "") -> Announced | None:
        """Decide until node-a has taken the address, if ever; return what it reports, with who is left out."""
        self.holder.elect(self._groups.update(self.view.refresh()))
        links = {
            name: (Link(name="eth0", mac=bytes(6), subnets=(Subnet.parse(HERE if one is EXCLUDED else one),)),)
            for name, one in self.subnets.items()
        }
        own = links.pop("node-a")
        states = {name: AdvertisedState(links=those) for name, those in links.items()}
        alive = frozenset(self.subnets) - {dead}
        liveness = Liveness(alive=alive, heard=alive - {"node-a"}, states=states)
        for now in range(10):
            state = self.holder.decide(Inputs(liveness=liveness, links=own, answered=frozenset({VIP})), float(now))
            facts = self.facts.changed([VIP], Inputs(liveness=liveness, links=own), state)
            found = [fact for fact in facts.values() if isinstance(fact, Announced)]
            if found:
                return found[0]
        return None


@pytest.mark.parametrize("by_subnet", [True, False])
@pytest.mark.parametrize("placed", list(product((HERE, ELSEWHERE, EXCLUDED), repeat=3)))
def test_status_explain_and_condition_name_the_same_nodes(placed: tuple[str, ...], by_subnet: bool) -> None:
    cluster = Segments(dict(zip(NAMES, placed, strict=True)), by_subnet=by_subnet)
    explained = nodes_left_out(
        service(str(VIP)),
        Claim(address=VIP, pool="main", state=ClaimState.BOUND, holders=()),
        advertisements=[advertisement()],
        pools={"main": pool_from(POOL)},
        nodes=cluster.nodes,
        leases=cluster.leases,
        announcements=[],
    )
    lacking = [name for name, reason in explained if reason == NO_SUBNET]
    candidates = [name for name, at in cluster.subnets.items() if at is not EXCLUDED]
    some_inside = any(cluster.subnets[name] is HERE for name in candidates)
    outside = [name for name in candidates if cluster.subnets[name] is ELSEWHERE]
    assert lacking == (outside if by_subnet and some_inside else [])

    found = pool_subnets([pool_from(POOL)], speaker_subnets(cluster.leases))
    labels = {each["metadata"]["name"]: each["metadata"].get("labels") or {} for each in cluster.nodes}
    ready = conditions(advertisement(), None, pools={"main": {}}, nodes=labels, subnets=found)[0]
    assert ready.reason == ("Announcing" if candidates else "NoNode")
    reason = "no interface in a subnet of pool main, comes after those that have one"
    assert (f"{', '.join(lacking)} ({reason})" in ready.message) == bool(lacking)

    fact = cluster.announced()
    if fact is not None:
        reported = [nodes for nodes, why in fact.left_out if why == NO_SUBNET]
        assert reported == ([", ".join(lacking)] if lacking else [])


def test_where_all_nodes_have_the_subnet_a_death_reports_nothing_anew() -> None:
    cluster = Segments(dict.fromkeys(NAMES, HERE))
    cluster.holder.take_outside_changed()
    cluster.announced()
    for dead in NAMES[1:]:
        cluster.announced(dead=dead)
    assert not cluster.holder.take_outside_changed()


def test_a_node_in_another_segment_that_dies_and_comes_back_is_named_all_the_while() -> None:
    """A death or a rollout there writes no Service's status."""
    cluster = Segments({"node-a": HERE, "node-b": ELSEWHERE, "node-c": HERE})
    # Only where node-a holds the address does it report.
    cluster.announced()
    assert cluster.holder.take_outside_changed()
    for dead in ("node-b", "", "node-b", ""):
        cluster.announced(dead=dead)
        assert cluster.holder.outside(VIP) == ("node-b",)
    assert not cluster.holder.take_outside_changed()
    cluster.put(NODES, node("node-b", labels={EXCLUDE_FROM_LB_LABEL: ""}))
    cluster.announced()
    assert cluster.holder.outside(VIP) == (), "it is left out by its label"

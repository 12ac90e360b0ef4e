"""What a node has to say after a decision: what it announces, what another does now, and why nobody does."""

from __future__ import annotations

from collections.abc import Mapping
from collections.abc import Set as AbstractSet
from datetime import UTC, datetime

import pytest

from allocator.core.addresses import Address
from allocator.kube.client import Object
from allocator.kube.reflector import Change
from allocator.kube.resource import ENDPOINT_SLICES_V1, NODES, SERVICES, Resource
from allocator.objects.names import EXCLUDE_FROM_LB_LABEL, IP_ADDRESS_POOLS, L2_ADVERTISEMENTS
from allocator.rules.left_out import NO_ENDPOINT
from speaker.cluster.scope import Scope
from speaker.cluster.state import View
from speaker.decision_facts import DecisionFacts
from speaker.election.graceful_restart import Help
from speaker.election.groups import Groups
from speaker.election.holder import Holder
from speaker.election.holder_state import HolderState
from speaker.election.inputs import Inputs
from speaker.membership.liveness import Liveness
from speaker.membership.state_sync import AdvertisedState, Claim
from speaker.status.facts import Announced, Asked, Awaited, Elsewhere, Fact, Subject, Unannounced
from speaker.status.reporter import Reporter
from speaker.status.statement import Contested, amended, statement_of
from tests.unit.speaker.objects import advertisement, endpoint, endpoint_slice, node, pool, service

VIP = Address.parse("10.0.0.1")
UID = "uid-of-web"
WEB = Subject("layer2", ("default", "web"), VIP)
HELD = HolderState(scopes={VIP: Scope(frozenset({"eth0"}))}, claims={VIP: Claim(term=1)})
NOTHING = HolderState()


class Rig:
    """Node-a's facts about a cluster of one Service that two nodes can announce."""

    def __init__(self, *, announced_otherwise: bool = False) -> None:
        self.view = View()
        self.groups = Groups(self.view)
        self.holder = Holder("node-a")
        self.facts = DecisionFacts(
            node="node-a",
            protocol="layer2",
            view=self.view,
            holder=self.holder,
            announced_otherwise=announced_otherwise,
        )
        self.put(NODES, node("node-a"))
        self.put(NODES, node("node-b"))
        self.put(IP_ADDRESS_POOLS, pool(addresses=["10.0.0.0/24"]))
        self.put(L2_ADVERTISEMENTS, advertisement())
        self.put(ENDPOINT_SLICES_V1, endpoint_slice(endpoint("node-a")))
        self.put(SERVICES, service(str(VIP)))

    def put(self, resource: Resource, obj: Object, *, gone: bool = False) -> None:
        key = (obj["metadata"].get("namespace") or "", obj["metadata"]["name"])
        seen = self.view.read(Change(resource, key, None, None if gone else obj, "1"))
        assert seen is not None
        self.view.apply(seen)

    def decided(
        self,
        state: HolderState,
        *,
        alive: tuple[str, ...] = ("node-a", "node-b"),
        claiming: str = "",
        refused: frozenset[Address] = frozenset(),
    ) -> dict[Subject, Fact | None]:
        self.holder.elect(self.groups.update(self.view.refresh()))
        states = {claiming: AdvertisedState(claims={VIP: Claim(term=2)})} if claiming else {}
        liveness = Liveness(alive=frozenset(alive), heard=frozenset(alive) - {"node-a"}, states=states)
        inputs = Inputs(liveness=liveness, refused=refused)
        self.holder.decide(inputs, 0.0)
        return self.facts.changed([VIP], inputs, state)


@pytest.fixture
def rig() -> Rig:
    return Rig()


def reason(facts: dict[Subject, Fact | None]) -> str:
    fact = facts[WEB]
    assert isinstance(fact, Unannounced), fact
    return fact.reason


def test_a_fact_is_reported_once(rig: Rig) -> None:
    assert rig.decided(HELD) == {WEB: Announced(uid=UID, interfaces=("eth0",))}
    assert rig.decided(HELD) == {}


def test_what_is_asked_for_is_not_announced_yet(rig: Rig) -> None:
    probing = HolderState(scopes=HELD.scopes, probing=frozenset({VIP}))
    assert rig.decided(probing) == {WEB: Asked(uid=UID)}


def test_what_another_claims_is_told_of_by_who_had_something_else_to_say_alone(rig: Rig) -> None:
    assert rig.decided(NOTHING, claiming="node-b") == {}
    rig.decided(HELD)
    assert rig.decided(NOTHING, claiming="node-b") == {WEB: Elsewhere(uid=UID, node="node-b")}
    assert rig.decided(NOTHING, claiming="node-b") == {}


def test_what_is_answered_for_a_restarting_node_is_announced_by_that_one(rig: Rig) -> None:
    helping = HolderState(
        scopes=HELD.scopes, claims=HELD.claims, help={VIP: Help(node="node-b", macs={}, until=9.0, term=1)}
    )
    assert rig.decided(helping) == {}
    rig.decided(HELD)
    assert rig.decided(helping) == {WEB: Elsewhere(uid=UID, node="node-b")}


def test_what_was_claimed_twice_is_compared_anew(rig: Rig) -> None:
    rig.decided(HELD)
    regained = HolderState(scopes=HELD.scopes, claims=HELD.claims, regained=frozenset({VIP}))
    assert rig.decided(regained) == {WEB: Announced(uid=UID, interfaces=("eth0",))}


def test_a_service_that_is_gone_is_taken_back(rig: Rig) -> None:
    rig.decided(HELD)
    rig.put(SERVICES, service(str(VIP)), gone=True)
    assert rig.decided(NOTHING) == {WEB: None}


def test_why_nobody_announces_it_is_a_fact_and_so_is_every_other_reason(rig: Rig) -> None:
    rig.decided(HELD)
    rig.put(ENDPOINT_SLICES_V1, endpoint_slice(), gone=True)
    assert reason(rig.decided(NOTHING)) == "NoEndpoint"
    rig.put(ENDPOINT_SLICES_V1, endpoint_slice(endpoint("node-a")))
    rig.put(L2_ADVERTISEMENTS, advertisement(), gone=True)
    assert reason(rig.decided(NOTHING)) == "NoAdvertisement"
    rig.put(L2_ADVERTISEMENTS, advertisement(nodeSelectors=[{"matchLabels": {"none": "such"}}]))
    assert reason(rig.decided(NOTHING)) == "NoNode"
    rig.put(L2_ADVERTISEMENTS, advertisement())
    assert rig.decided(NOTHING) == {WEB: Awaited(uid=UID)}
    assert reason(rig.decided(NOTHING, alive=())) == "NoSpeaker"
    assert reason(rig.decided(HolderState(unable=frozenset({VIP})))) == "NoInterface"
    assert reason(rig.decided(HolderState(unable=frozenset({VIP})), refused=frozenset({VIP}))) == "Refused"


def test_who_is_heard_to_announce_it_is_believed_before_what_the_api_says(rig: Rig) -> None:
    rig.put(ENDPOINT_SLICES_V1, endpoint_slice(), gone=True)
    assert rig.decided(NOTHING, claiming="node-b") == {}


def test_who_is_left_out_goes_with_the_fact(rig: Rig) -> None:
    rig.put(NODES, node("node-b", labels={EXCLUDE_FROM_LB_LABEL: ""}))
    excluded = ("node-b", f"has the label {EXCLUDE_FROM_LB_LABEL}")
    assert rig.decided(HELD) == {WEB: Announced(uid=UID, interfaces=("eth0",), left_out=(excluded,))}
    rig.put(NODES, node("node-a", labels={EXCLUDE_FROM_LB_LABEL: ""}))
    fact = rig.decided(NOTHING)[WEB]
    assert isinstance(fact, Unannounced)
    assert fact.message.endswith(f": node-a, node-b (has the label {EXCLUDE_FROM_LB_LABEL})")
    rig.put(NODES, node("node-a"))
    rig.put(SERVICES, service(str(VIP), externalTrafficPolicy="Local"))
    rig.put(NODES, node("node-b"))
    assert rig.decided(HELD) == {WEB: Announced(uid=UID, interfaces=("eth0",), left_out=(("node-b", NO_ENDPOINT),))}


LARGE = [f"node-{number}" for number in range(10, 20)]
FRONT = advertisement(nodeSelectors=[{"matchLabels": {"lan": "front"}}])


@pytest.mark.parametrize("name", ["a-node", "node-15b", "zone-b-node"])
@pytest.mark.parametrize("announced", [True, False], ids=["announced", "announced by nobody"])
@pytest.mark.parametrize("why", ["Local", "nodeSelectors", "label"])
def test_in_a_large_cluster_a_node_that_comes_or_goes_changes_no_fact(
    rig: Rig, why: str, announced: bool, name: str
) -> None:
    """Or else the ServiceL2Status of every such Service would be written again for each Node."""
    labels = {EXCLUDE_FROM_LB_LABEL: ""} if why == "label" else {}
    rig.put(NODES, node("node-a", labels={"lan": "front", **({} if announced else {EXCLUDE_FROM_LB_LABEL: ""})}))
    for each in LARGE:
        rig.put(NODES, node(each, labels=labels))
    if why == "nodeSelectors":
        rig.put(L2_ADVERTISEMENTS, FRONT)
    if why == "Local":
        rig.put(SERVICES, service(str(VIP), externalTrafficPolicy="Local"))
    elif not announced:
        rig.put(NODES, node("node-b", labels={EXCLUDE_FROM_LB_LABEL: ""}))
    state = HELD if announced else NOTHING
    (fact,) = rig.decided(state).values()
    assert "more than 3 nodes" in str(fact)
    rig.put(NODES, node(name, labels=labels))
    assert rig.decided(state) == {}
    rig.put(NODES, node(LARGE[0], labels=labels), gone=True)
    assert rig.decided(state) == {}


def traffic(facts: Mapping[Subject, Fact | None]) -> dict[Subject, bool]:
    """Whether those that are announced get any."""
    return {subject: fact.traffic for subject, fact in facts.items() if isinstance(fact, Announced)}


def test_of_services_that_share_an_address_those_without_an_endpoint_here_get_no_traffic(rig: Rig) -> None:
    rig.put(SERVICES, service(str(VIP), externalTrafficPolicy="Local"))
    rig.put(SERVICES, service(str(VIP), name="api", externalTrafficPolicy="Local"))
    rig.put(ENDPOINT_SLICES_V1, endpoint_slice(endpoint("node-b"), of="api", name="api-1"))
    api = Subject("layer2", ("default", "api"), VIP)
    assert traffic(rig.decided(HELD)) == {WEB: True, api: False}
    rig.put(ENDPOINT_SLICES_V1, endpoint_slice(endpoint("node-b"), endpoint("node-a"), of="api", name="api-1"))
    assert traffic(rig.decided(HELD)) == {api: True}


def test_who_gets_no_traffic_is_told_by_an_event_and_on_the_allocation() -> None:
    recorded: list[tuple[str, str]] = []

    class Events:
        def record(self, service: Object, *, reason: str, message: str, normal: bool = True) -> None:
            assert "node-a" in message
            recorded.append((service["metadata"]["name"], reason))
            assert normal == (reason == "nodeAssigned")

    class Statuses:
        def report(self, changed: Mapping[Subject, Fact | None], *, heard: AbstractSet[str]) -> None:
            del changed, heard

        def contest(self, address: Address, contested: Contested) -> None:
            del address, contested

    served, unserved = Announced(uid=UID), Announced(uid=UID, traffic=False)
    reporter = Reporter(node="node-a", events=Events(), statuses=Statuses())
    for fact in (unserved, unserved, served, unserved):
        reporter.report({WEB: fact}, heard=frozenset())
    assert recorded == [("web", "nodeAssigned"), ("web", "noLocalEndpoint"), ("web", "noLocalEndpoint")]

    say = statement_of("node-a", {("default", "api"): served, ("default", "web"): unserved}, None, since="now")
    written = amended({}, say, node="node-a", is_gone=lambda _: False, now=datetime.now(UTC))
    assert written is not None
    (condition,) = written["conditions"]
    assert condition["status"] == "True"
    assert condition["message"].endswith(
        "; no traffic there for default/web: externalTrafficPolicy Local, and no endpoint on that node"
    )


def test_what_another_protocol_may_announce_is_not_said_to_lack_an_advertisement() -> None:
    rig = Rig(announced_otherwise=True)
    rig.put(L2_ADVERTISEMENTS, advertisement(), gone=True)
    assert rig.decided(NOTHING) == {}
    rig.put(ENDPOINT_SLICES_V1, endpoint_slice())
    assert reason(rig.decided(NOTHING)) == "NoEndpoint"

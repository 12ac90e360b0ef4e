"""`admitlb explain`: whether each router has an address from each node, and the first thing that keeps it."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from allocator.bgp.configured import Configured
from allocator.bgp.desired import desired
from allocator.bgp.obstacles import Step
from allocator.commands import bgp_explanation
from allocator.commands.bgp_explanation import BgpFacts, BgpOutcome, LiveStep, bgp_outcomes
from allocator.commands.bgp_lines import bgp_lines
from allocator.commands.explanation import Explanation, Facts, HeldAddress, explanation_of
from allocator.core.addresses import Family
from allocator.objects import names
from allocator.objects.bgp_node_status import BgpNodeStatus, SessionEntry, SessionStatus
from allocator.objects.names import EXCLUDE_FROM_LB_LABEL
from allocator.objects.pool import pool_from
from allocator.rules.silent_speakers import silent_since
from tests.unit.bgp import random_inputs as drawn
from tests.unit.commands.bgp_manifests import bgp_advertisement, peer
from tests.unit.commands.manifests import Object, advertisement, node, pool, service
from tests.unit.commands.test_explanation import allocation
from tests.unit.effort import examples

FOUR = pool("four", "192.0.2.10-192.0.2.13")
WEB = service("web", shows=("192.0.2.10",))
UP = SessionEntry(peer="tor", state=SessionStatus.ESTABLISHED, families=("IPv4",), wanted=1, sent=1)


def reported(*sessions: SessionEntry, name: str = "node-1", message: str = "") -> Object:
    """A node's BGPNodeStatus."""
    status = BgpNodeStatus(node=name, message=message, sessions=sessions).as_status()
    return {"metadata": {"name": name}, "status": status}


def endpoints(*nodes: str, service_name: str = "web") -> Object:
    return {
        "metadata": {
            "name": service_name,
            "namespace": "prod",
            "labels": {"kubernetes.io/service-name": service_name},
        },
        "endpoints": [{"nodeName": name, "conditions": {"ready": True}} for name in nodes],
        "ports": [{"port": 80, "protocol": "TCP"}],
    }


def facts(**given: Any) -> BgpFacts:
    """A peer, an advertisement, an endpoint and a session that is up, but for what is given."""
    objects = {
        names.BGP_PEERS: given.get("peers", [peer()]),
        names.BGP_ADVERTISEMENTS: given.get("advertisements", [bgp_advertisement()]),
    }
    return BgpFacts(
        objects=objects,
        statuses=given.get("statuses", [reported(UP)]),
        services=given.get("services", []),
        slices=given.get("slices", [endpoints("node-1")]),
    )


def outcomes(document: Object = WEB, *, nodes: Any = None, **given: Any) -> list[BgpOutcome]:
    chosen = [node("node-1")] if nodes is None else nodes
    return bgp_outcomes(document, facts(**given), pools={"four": pool_from(FOUR)}, nodes=chosen)


def step(*args: Any, **given: Any) -> str | None:
    (found,) = outcomes(*args, **given)
    return str(found.obstacle.step) if found.obstacle is not None else None


def test_address_that_the_router_has_is_said_with_prefix_and_attributes() -> None:
    (found,) = outcomes(advertisements=[bgp_advertisement(med=5, communities=["no-export"])])
    assert found.reaches
    assert found.as_json() == {
        "node": "node-1",
        "peer": "tor",
        "advertised": True,
        "step": "",
        "why": "",
        "since": "",
        "silentSince": "",
        "prefix": "192.0.2.10/32",
        "communities": ["65535:65281"],
        "localPref": None,
        "med": 5,
        "asPathPrepend": None,
    }
    said = "BGP: node-1 to BGPPeer tor: advertised as 192.0.2.10/32 with 65535:65281, MED 5"
    assert list(bgp_lines([found])) == [said]


LOCAL = service("web", shows=("192.0.2.10",), externalTrafficPolicy="Local")
EXCLUDED: Object = {"metadata": {"name": "node-1", "labels": {EXCLUDE_FROM_LB_LABEL: ""}}}
ELSEWHERE = [{"matchLabels": {"rack": "9"}}]


@pytest.mark.parametrize(
    ("expected", "given"),
    [
        (Step.POOL, {"advertisements": [bgp_advertisement(ipAddressPools=["other"])]}),
        (Step.SERVICE, {"advertisements": [bgp_advertisement(serviceSelectors=ELSEWHERE)]}),
        (Step.ADVERTISED_NODE, {"advertisements": [bgp_advertisement(nodeSelectors=ELSEWHERE)]}),
        (Step.COMMUNITIES, {"advertisements": [bgp_advertisement(communities=["customers"])]}),
        (
            Step.CONFLICT,
            {"advertisements": [bgp_advertisement("a", localPref=1), bgp_advertisement("b", localPref=2)]},
        ),
        (Step.ADVERTISED_PEER, {"advertisements": [bgp_advertisement(peers=["spine"])]}),
        (Step.NODE, {"nodes": [EXCLUDED]}),
        (
            Step.NODE,
            {"statuses": [reported(replace(UP, wanted=0, sent=0), message="the node leaves: is cordoned")]},
        ),
        (Step.ENDPOINTS, {"slices": []}),
        (Step.SESSION, {"peers": [peer(nodeSelectors=ELSEWHERE)]}),
        (Step.FAMILY, {"peers": [peer(peerAddress="2001:db8::1")]}),
        (
            Step.TOO_MANY_COMMUNITIES,
            {"advertisements": [bgp_advertisement(communities=[f"1:{each}" for each in range(64)])]},
        ),
        (LiveStep.SPEAKER, {"statuses": []}),
        (LiveStep.FRR, {"statuses": [reported(message="bgpd is not reached: no such file")]}),
        (LiveStep.FRR, {"statuses": [reported(replace(UP, state=SessionStatus.SHUTDOWN))]}),
        (LiveStep.FRR, {"statuses": [reported(replace(UP, state=SessionStatus.REFUSED, message="no password"))]}),
        (LiveStep.FRR, {"statuses": [reported(replace(UP, state=SessionStatus.IN_USE, message="BIRD has it"))]}),
        (LiveStep.FRR, {"statuses": [reported(replace(UP, state=SessionStatus.DOWN, rejected=True))]}),
        (LiveStep.ESTABLISHED, {"statuses": [reported(replace(UP, state=SessionStatus.DOWN))]}),
        (LiveStep.AGREED, {"statuses": [reported(replace(UP, families=("IPv6",)))]}),
        (LiveStep.SENT, {"statuses": [reported(replace(UP, sent=0))]}),
    ],
)
def test_first_step_that_fails_is_named(expected: str, given: dict[str, Any]) -> None:
    assert step(**given) == expected


def test_every_step_is_produced_by_the_test_above() -> None:
    marks = test_first_step_that_fails_is_named.pytestmark
    assert {expected for expected, _ in marks[0].args[1]} == {*Step, *LiveStep}


def test_local_traffic_needs_an_endpoint_on_the_node() -> None:
    found = outcomes(
        LOCAL, nodes=[node("node-1"), node("node-2")], statuses=[reported(UP), reported(UP, name="node-2")]
    )
    assert [(one.node, one.reaches) for one in found] == [("node-1", True), ("node-2", False)]
    assert "externalTrafficPolicy: Local" in found[1].as_json()["why"]


def test_session_that_is_down_is_said_with_reason_and_since_when() -> None:
    down = replace(
        UP, state=SessionStatus.DOWN, message="not connected; Hold Timer Expired", since="2026-01-01T00:00:00Z"
    )
    (found,) = outcomes(statuses=[reported(replace(down, bfd="Down"))])
    assert found.obstacle is not None
    assert found.obstacle.why == (
        "not connected; Hold Timer Expired since 2026-01-01T00:00:00Z; its BFD session is Down"
    )


def test_nodes_with_which_the_same_becomes_of_it_are_one_line_and_those_that_announce_come_first() -> None:
    nodes = [node(f"node-{number}") for number in range(1, 5)]
    found = outcomes(nodes=nodes, statuses=[reported(UP), reported(UP, name="node-4")])
    assert list(bgp_lines(found)) == [
        "BGP: node-1, node-4 to BGPPeer tor: advertised as 192.0.2.10/32",
        "BGP: node-2, node-3 to BGPPeer tor: not advertised (speaker): the node's speaker reports no BGP: it does "
        "not run, or runs without --frr-sockets",
    ]


def test_attributes_that_another_service_adds_to_the_prefix_are_said() -> None:
    other = service("api", shows=("192.0.2.11",), labels={"tier": "gold"})
    wide = bgp_advertisement("wide", aggregationLength=24)
    gold = bgp_advertisement("gold", aggregationLength=24, communities=["1:7"], ipAddressPools=["six"])
    far = service("far", shows=("198.51.100.9",))
    pools = {"four": pool_from(FOUR), "six": pool_from(pool("six", "192.0.2.11"))}
    given = facts(
        advertisements=[wide, gold],
        services=[other, far],
        slices=[endpoints("node-1"), endpoints("node-1", service_name="api")],
    )
    (found,) = bgp_outcomes(WEB, given, pools={"six": pools["six"], "four": pools["four"]}, nodes=[node("node-1")])
    assert found.as_json()["communities"] == ["1:7"]


def test_what_a_speaker_reported_that_is_silent_is_said_to_be_of_then() -> None:
    given = replace(facts(), silent_since={"node-1": "2026-01-01T00:00:00Z"})
    found = bgp_outcomes(WEB, given, pools={"four": pool_from(FOUR)}, nodes=[node("node-1")])
    assert list(bgp_lines(found)) == [
        "BGP: node-1 to BGPPeer tor: advertised as 192.0.2.10/32 (as reported before 2026-01-01T00:00:00Z: its "
        "speaker is silent since)"
    ]


def test_speaker_is_silent_once_its_lease_has_run_out() -> None:
    def lease(name: str, renewed: str | None) -> Object:
        return {"metadata": {"name": name}, "spec": {"renewTime": renewed, "leaseDurationSeconds": 30}}

    leases = [
        lease("speaker-a", "2026-01-01T00:00:31.000000Z"),
        lease("speaker-b", "2026-01-01T00:00:29.000000Z"),
        lease("speaker-c", None),
        lease("speaker-d", "nonsense"),
        lease("admitlb-reconciler", "2026-01-01T00:01:00.000000Z"),
    ]
    silent = {"b": "2026-01-01T00:00:29.000000Z"}
    right = datetime(2026, 1, 1, 0, 1, tzinfo=UTC)
    for wrong in (timedelta(minutes=-5), timedelta(), timedelta(minutes=5)):
        assert silent_since(leases, right + wrong) == silent
    assert set(silent_since(leases, datetime(2026, 1, 1, 2, 0, tzinfo=UTC))) == {"a", "b"}


def explained(**given: Any) -> tuple[Explanation, HeldAddress]:
    found = explanation_of(
        Facts(
            service=WEB,
            namespace=None,
            pools=[FOUR],
            allocations=[allocation("192.0.2.10", "web")],
            nodes=[node("node-1")],
            **given,
        )
    )
    (held,) = found.addresses
    return found, held


def test_address_that_is_for_bgp_alone_is_not_said_to_be_announced_by_no_node() -> None:
    _, held = explained(advertisements=[], bgp=facts())
    assert (held.layer2, held.not_announced, [one.reaches for one in held.bgp]) == (False, "", [True])


def test_address_of_both_protocols_is_explained_for_both() -> None:
    found, held = explained(advertisements=[advertisement("a")], bgp=facts())
    assert (held.layer2, len(held.bgp)) == (True, 1)
    shown = found.as_json()["addresses"][0]
    assert (shown["layer2"], shown["bgp"][0]["advertised"]) == (True, True)


def test_cluster_without_bgp_is_explained_as_before() -> None:
    _, held = explained(advertisements=[])
    assert (held.layer2, held.bgp) == (True, ())
    assert held.not_announced.startswith("no L2Advertisement or BGPAdvertisement covers")


@settings(max_examples=examples(80), deadline=None)
@given(st.data())
def test_what_is_explained_is_what_the_node_announces(data: st.DataObject) -> None:
    """Of a whole cluster: the peers for which no step fails are those that the node's desired state has it tell."""

    def some(names_: tuple[str, ...], values: st.SearchStrategy[Any]) -> dict[str, Any]:
        return data.draw(st.dictionaries(st.sampled_from(names_), values, max_size=len(names_)))

    inputs = replace(
        Configured().on(data.draw(drawn.nodes), some(drawn.SERVICES, drawn.services)),
        peers={name: replace(each, name=name) for name, each in some(drawn.PEERS, drawn.peers()).items()},
        advertisements={
            name: replace(each, name=name) for name, each in some(drawn.ADVERTISEMENTS, drawn.advertisements).items()
        },
        pools=some(drawn.POOLS, drawn.labels),
    )
    whole = desired(inputs)
    all_up = BgpNodeStatus(
        node=inputs.node.name,
        sessions=tuple(
            SessionEntry(
                peer=name, state=SessionStatus.ESTABLISHED, families=tuple(family.value for family in Family)
            )
            for name in inputs.peers
        ),
    )
    found = {
        (outcome.route.prefix, outcome.peer)
        for key in inputs.services
        for outcome in bgp_explanation.on_node(inputs, key, {inputs.node.name: all_up})
        if outcome.reaches and outcome.route is not None
    }
    announced = {
        (prefix, name)
        for prefix, told in whole.prefixes.items()
        for name, its in whole.sessions.items()
        if prefix.family in its.families and told.for_peer(name) is not None
    }
    assert found == announced

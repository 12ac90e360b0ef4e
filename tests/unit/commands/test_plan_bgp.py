"""`admitlb plan`: what routers get, and which sessions a change resets."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from allocator.bgp.configured import Configured
from allocator.bgp.desired import desired
from allocator.bgp.inputs import LocalNode
from allocator.cli import main
from allocator.core.selectors import Operator, Requirement, Selector, exclude_each_other
from allocator.offline.bgp_plan import ReplayedBgp, bgp_plan
from allocator.offline.sample_nodes import MOST_NODES, sample_nodes
from tests.unit.bgp import random_inputs as drawn
from tests.unit.commands.bgp_manifests import bgp_advertisement, peer, profile
from tests.unit.commands.manifests import Object, Ran, deleted, node, plan, pool, service

POOL = pool("public", "198.51.100.0/24", "2001:db8::/120")
WEB = service("web")
TOR = peer("tor")
ALL = bgp_advertisement("all")
NODES = (node("node-1", rack="1"), node("node-2", rack="2"))
OUT_OF_SERVICE = {"key": "node.kubernetes.io/out-of-service", "effect": "NoExecute"}


def rack(number: str) -> list[Object]:
    return [{"matchLabels": {"rack": number}}]


def routes(ran: Ran) -> list[tuple[str, str, str, tuple[str, ...]]]:
    return [(one["service"], one["prefix"], one["peer"], tuple(one["nodes"])) for one in ran.told["bgp"]["routes"]]


def reasons(ran: Ran) -> list[tuple[str, list[str]]]:
    return [
        (reason["reason"], reason["nodes"]) for one in ran.told["bgp"]["notAnnounced"] for reason in one["reasons"]
    ]


def changed(tmp_path: Path, before: list[Object], *after: Object, prune: bool = False) -> dict[str, Any]:
    """What `--before` says becomes different."""
    there = tmp_path / "before.json"
    there.write_text(json.dumps({"apiVersion": "v1", "kind": "List", "items": before}))
    ran = plan(*after, options=("--before", str(there), *(("--prune",) if prune else ())))
    found: dict[str, Any] = ran.told["bgp"]
    return found


def test_every_node_announces_to_every_peer() -> None:
    ran = plan(*NODES, POOL, TOR, ALL, WEB)
    assert ran.told["bgp"]["nodesKnown"] is True
    assert routes(ran) == [("prod/web", "198.51.100.0/32", "tor", ("node-1", "node-2"))]


def test_attributes_are_those_that_the_peer_is_sent() -> None:
    inner = peer("inner", peerASN=64500, peerAddress="192.0.2.9")
    advertised = bgp_advertisement(
        "all", communities=["no-export", "large:64500:1:2"], localPref=200, med=10, asPathPrepend=2
    )
    ran = plan(POOL, TOR, inner, advertised, WEB)
    by_peer = {one["peer"]: one for one in ran.told["bgp"]["routes"]}
    common = {"communities": ["large:64500:1:2", "65535:65281"], "med": 10}
    assert {key: by_peer["tor"][key] for key in ("communities", "med", "localPref", "asPathPrepend")} == {
        **common,
        "localPref": None,
        "asPathPrepend": 2,
    }
    assert (by_peer["inner"]["localPref"], by_peer["inner"]["asPathPrepend"]) == (200, None)


def test_aggregate_is_one_prefix_for_each_of_its_services() -> None:
    ran = plan(POOL, TOR, bgp_advertisement("all", aggregationLength=24), WEB, service("api"))
    assert [(one[0], one[1]) for one in routes(ran)] == [
        ("prod/web", "198.51.100.0/24"),
        ("prod/api", "198.51.100.0/24"),
    ]


def test_peers_and_advertisements_go_by_the_labels_of_nodes() -> None:
    one, two = (peer(f"tor-{number}", nodeSelectors=rack(number)) for number in "12")
    ran = plan(*NODES, POOL, one, two, ALL, WEB)
    assert {(found[2], found[3]) for found in routes(ran)} == {("tor-1", ("node-1",)), ("tor-2", ("node-2",))}
    ran = plan(*NODES, POOL, TOR, bgp_advertisement("all", nodeSelectors=rack("2")), WEB)
    assert [found[3] for found in routes(ran)] == [("node-2",)]


def test_without_nodes_they_are_named_by_the_labels_that_are_asked_for() -> None:
    """Two routers with one address in two racks are none that one node connects to."""
    one, two = (peer(f"tor-{number}", nodeSelectors=rack(number)) for number in "12")
    ran = plan(POOL, one, two, ALL, WEB)
    assert ran.codes == [200] * 5
    assert ran.told["bgp"]["nodesKnown"] is False
    assert {(found[2], found[3]) for found in routes(ran)} == {("tor-1", ("rack=1",)), ("tor-2", ("rack=2",))}


@pytest.mark.parametrize(
    ("documents", "why"),
    [
        ((*NODES, POOL, TOR, bgp_advertisement("all", nodeSelectors=rack("3"))), "nodeSelectors of BGPAdvertisement"),
        ((*NODES, POOL, TOR, bgp_advertisement("all", communities=["customers"])), "no Community gives a name"),
        ((*NODES, POOL, TOR, bgp_advertisement("all", peers=["spine"])), "does not name it"),
        ((node("node-1", taints=(OUT_OF_SERVICE,)), POOL, TOR, ALL), "out-of-service"),
    ],
)
def test_address_that_is_meant_for_bgp_and_goes_nowhere_is_explained(documents: tuple[Object, ...], why: str) -> None:
    ran = plan(*documents, WEB)
    assert routes(ran) == []
    ((reason, nodes),) = reasons(ran)
    assert why in reason
    assert set(nodes) <= {"node-1", "node-2"}


def test_address_that_no_bgp_advertisement_selects_is_not_mentioned() -> None:
    ran = plan(POOL, TOR, bgp_advertisement("other", ipAddressPools=["other"]), WEB)
    assert (routes(ran), reasons(ran)) == ([], [])


def test_service_keeps_its_routes_though_nothing_is_known_of_its_endpoints() -> None:
    ran = plan(*NODES, POOL, TOR, ALL, service("web", externalTrafficPolicy="Local"))
    assert [found[3] for found in routes(ran)] == [("node-1", "node-2")]


def test_change_of_an_attribute_is_a_route_lost_and_one_won(tmp_path: Path) -> None:
    found = changed(tmp_path, [POOL, TOR, ALL, WEB], bgp_advertisement("all", med=5))
    assert [(one["change"], one["med"]) for one in found["changes"]] == [("removed", None), ("added", 5)]
    assert found["sessions"] == []


def test_nothing_changes_where_nothing_does(tmp_path: Path) -> None:
    found = changed(tmp_path, [*NODES, POOL, TOR, ALL, WEB], TOR, ALL, WEB)
    assert (found["changes"], found["sessions"]) == ([], [])
    assert len(found["routes"]) == 1


@pytest.mark.parametrize(
    ("edited", "expected"),
    [
        (peer("tor", holdTime="30s"), []),
        (peer("tor", description="rack 4"), []),
        (peer("tor", password="secret"), [("tor", "reset", "password set")]),
        (peer("tor", myASN=64999), [("tor", "reset", "myASN changed")]),
        (peer("tor", peerAddress="192.0.2.7"), [("tor", "new", ""), ("tor", "removed", "")]),
        (peer("spine", peerAddress="192.0.2.7"), [("spine", "new", "")]),
        (peer("tor", nodeSelectors=rack("3")), [("tor", "removed", "")]),
    ],
)
def test_sessions_that_an_edit_resets(tmp_path: Path, edited: Object, expected: list[tuple[str, str, str]]) -> None:
    found = changed(tmp_path, [*NODES, POOL, TOR, ALL, WEB], edited)
    assert [(one["peer"], one["change"], one["reason"]) for one in found["sessions"]] == expected
    assert all(one["nodes"] == ["node-1", "node-2"] for one in found["sessions"])


def test_prune_deletes_what_is_no_longer_there(tmp_path: Path) -> None:
    before = [*NODES, POOL, TOR, ALL, WEB]
    found = changed(tmp_path, before, *NODES, POOL, ALL, WEB, prune=True)
    assert [(one["peer"], one["change"]) for one in found["sessions"]] == [("tor", "removed")]
    assert [one["change"] for one in found["changes"]] == ["removed"]
    assert changed(tmp_path, before, *NODES, POOL, ALL, WEB)["sessions"] == []


def test_deleted_peer_loses_its_session(tmp_path: Path) -> None:
    found = changed(tmp_path, [*NODES, POOL, TOR, ALL, WEB], deleted(TOR))
    assert [(one["peer"], one["change"]) for one in found["sessions"]] == [("tor", "removed")]


def test_bfd_profile_that_goes_resets_nothing(tmp_path: Path) -> None:
    fast, slow = profile("fast", receiveInterval=50), profile("fast", receiveInterval=300)
    found = changed(tmp_path, [*NODES, POOL, peer("tor", bfdProfile="fast"), fast, ALL, WEB], slow)
    assert found["sessions"] == []


def test_tables_have_routes_and_changes(tmp_path: Path) -> None:
    there, now = tmp_path / "before.json", tmp_path / "after.json"
    there.write_text("\n".join(map(json.dumps, [*NODES, POOL, TOR, ALL, WEB])))
    now.write_text(json.dumps(peer("tor", password="secret")))
    shown = CliRunner().invoke(main, ["plan", str(there)]).stdout
    assert "prod/web  198.51.100.0/32  tor   node-1, node-2  -" in shown
    shown = CliRunner().invoke(main, ["plan", "--before", str(there), str(now)]).stdout
    assert "reset   tor   node-1, node-2  password set" in shown
    assert "Routes that change" not in shown
    assert "secret" not in shown


def test_prune_takes_a_service_that_names_no_namespace_for_one_of_the_default(tmp_path: Path) -> None:
    bare = {**WEB, "metadata": {"name": "web"}}
    before = tmp_path / "before.json"
    before.write_text(json.dumps({**bare, "metadata": {"name": "web", "namespace": "shop"}}))
    ran = plan(POOL, ALL, bare, options=("--before", str(before), "--prune", "--namespace", "shop"))
    assert list(ran.services) == ["shop/web"]


def test_prune_without_before_is_a_wrong_command_line() -> None:
    assert CliRunner().invoke(main, ["plan", "-", "--prune"]).exit_code == 2


objects = st.builds(
    lambda peers, advertisements, pools: Configured(
        peers={name: replace(each, name=name) for name, each in peers.items()},
        advertisements={name: replace(each, name=name) for name, each in advertisements.items()},
        pools=pools,
    ),
    st.dictionaries(st.sampled_from(drawn.PEERS), drawn.peers(), max_size=4),
    st.dictionaries(st.sampled_from(drawn.ADVERTISEMENTS), drawn.advertisements, max_size=4),
    st.dictionaries(st.sampled_from(drawn.POOLS), drawn.labels, max_size=3),
)


@given(
    objects,
    st.dictionaries(st.sampled_from(drawn.SERVICES), drawn.services, max_size=4),
    st.lists(drawn.nodes, max_size=4),
)
def test_a_plan_is_what_each_node_would_do(configured: Configured, services: Any, nodes: list[LocalNode]) -> None:
    named = tuple(replace(each, name=f"node-{number}") for number, each in enumerate(nodes))
    everywhere = frozenset(each.name for each in named)
    served = {key: replace(one, has_endpoints=True, endpoint_nodes=everywhere) for key, one in services.items()}
    planned = bgp_plan(ReplayedBgp(configured, served, named), named)
    found = {(name, route.peer, route.prefix) for route, where in planned.routes.items() for name in where}
    wanted = set()
    for each in named:
        whole = desired(configured.on(each, served))
        for prefix, route_class in whole.prefixes.items():
            for name, its in whole.sessions.items():
                if prefix.family in its.families and route_class.for_peer(name) is not None:
                    wanted.add((each.name, name, prefix))
    assert found == wanted


requirements = st.builds(
    Requirement,
    st.sampled_from(("rack", "zone")),
    st.sampled_from(list(Operator)),
    st.frozensets(st.sampled_from("ab"), min_size=1),
).map(lambda one: one if one.operator in (Operator.IN, Operator.NOT_IN) else replace(one, values=frozenset()))
selectors = st.frozensets(requirements, max_size=3).map(Selector)
ALL_LABELS = [
    {key: value for key, value in (("rack", rack_), ("zone", zone)) if value is not None}
    for rack_ in (None, "", "a", "b", "c")
    for zone in (None, "", "a", "b", "c")
]


@given(selectors, selectors)
def test_selectors_that_exclude_each_other_share_no_labels(one: Selector, other: Selector) -> None:
    shared = [labels for labels in ALL_LABELS if one.matches(labels) and other.matches(labels)]
    if exclude_each_other(one, other):
        assert not shared
    elif len(one.requirements) == len(other.requirements) == 1:
        # Of single requirements it is certain.
        assert shared


@given(objects, selectors)
def test_there_is_a_sample_node_for_each_selector_that_something_matches(
    configured: Configured, selector: Selector
) -> None:
    asking = {name: replace(each, node_selectors=(selector,)) for name, each in configured.peers.items()}
    nodes = sample_nodes(replace(configured, peers=asking))
    assert len(nodes) <= MOST_NODES
    if asking and any(selector.matches(labels) for labels in ALL_LABELS):
        assert any(selector.matches(each.labels) for each in nodes)

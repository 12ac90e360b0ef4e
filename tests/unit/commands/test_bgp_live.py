"""`admitlb bgp`: sessions and prefixes in tables and as JSON."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from allocator.bgp.configured import Configured
from allocator.bgp.desired import desired
from allocator.bgp.inputs import Advertisement, LocalNode, Peer, Service
from allocator.commands.bgp_live import LiveRoute, live_routes, show
from allocator.core.addresses import Address
from allocator.objects.bgp_node_status import BgpNodeStatus, SessionEntry, SessionStatus
from tests.unit.bgp import random_inputs as drawn
from tests.unit.commands.test_plan_bgp import objects

TOR = Peer(name="tor", my_asn=64500, peer_asn=64501, address=Address.parse("192.0.2.1"))
OBJECTS = Configured(peers={"tor": TOR}, advertisements={"all": Advertisement(name="all", med=5)}, pools={"main": {}})
UP = SessionEntry(
    peer="tor", neighbor="192.0.2.1", state=SessionStatus.ESTABLISHED, families=("IPv4",), wanted=2, sent=2
)
DOWN = replace(UP, state=SessionStatus.DOWN, message="not connected; Hold Timer Expired", families=(), sent=0)
STATUSES = [
    BgpNodeStatus(node="node-1", frr_version="10.3", prefixes=2, sessions=(UP,)),
    BgpNodeStatus(
        node="node-2", frr_version="10.3", prefixes=2, message="the node leaves: SIGTERM", sessions=(DOWN,)
    ),
]
NODES = [LocalNode(name=f"node-{number}") for number in (1, 2, 3)]
SERVICES = {
    f"prod/{name}": Service(addresses={Address.parse(text): ("main",)}, has_endpoints=True)
    for name, text in (("web", "198.51.100.1"), ("api", "198.51.100.2"))
}


def routes() -> list[LiveRoute]:
    return live_routes(OBJECTS, SERVICES, NODES, {status.node: status for status in STATUSES})


def test_sessions_are_a_table_with_the_reason_of_those_that_are_not_up(capsys: pytest.CaptureFixture[str]) -> None:
    show(STATUSES, None, output="text", peer="")
    assert capsys.readouterr().out.splitlines() == [
        "NODE    PEER  NEIGHBOR   STATE        FOR  FAMILIES  BFD  SENT  MESSAGE",
        "node-1  tor   192.0.2.1  Established  -    IPv4      -    2/2   -",
        "node-2  tor   192.0.2.1  Down         -    -         -    0/2   not connected; Hold Timer Expired",
        "node-2: the node leaves: SIGTERM",
    ]


def test_node_whose_speaker_is_silent_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    show(STATUSES, None, output="text", peer="", silent={"node-1": "2026-01-01T00:00:00Z"})
    said = "node-1: as reported before 2026-01-01T00:00:00Z: its speaker is silent since"
    assert said in capsys.readouterr().out.splitlines()


def test_prefixes_are_said_with_the_nodes_they_come_from_and_those_that_are_held_up() -> None:
    first, second = routes()
    assert (str(first.prefix), first.services, first.nodes) == ("198.51.100.1/32", ("prod/web",), ("node-1",))
    assert [(node, str(why.step)) for node, why in first.held_up] == [
        ("node-2", "established"),
        ("node-3", "speaker"),
    ]
    assert second.services == ("prod/api",)


def test_table_of_prefixes(capsys: pytest.CaptureFixture[str]) -> None:
    show(STATUSES, routes(), output="text", peer="")
    row = capsys.readouterr().out.splitlines()[-1].split("  ")
    assert [cell.strip() for cell in row if cell.strip()] == [
        "198.51.100.2/32",
        "tor",
        "node-1",
        "node-2 (established), node-3 (speaker)",
        "MED 5",
        "prod/api",
    ]


def test_json_has_nodes_sessions_and_routes_where_they_are_asked_for(capsys: pytest.CaptureFixture[str]) -> None:
    show(STATUSES, routes(), output="json", peer="")
    told = json.loads(capsys.readouterr().out)
    assert [one["established"] for one in told["nodes"]] == ["1/1", "0/1"]
    assert [(one["node"], one["state"]) for one in told["sessions"]] == [
        ("node-1", "Established"),
        ("node-2", "Down"),
    ]
    assert told["routes"][0] == {
        "prefix": "198.51.100.1/32",
        "peer": "tor",
        "attributes": "MED 5",
        "services": ["prod/web"],
        "nodes": ["node-1"],
        "heldUp": [
            {"node": "node-2", "step": "established", "why": told["routes"][0]["heldUp"][0]["why"]},
            {"node": "node-3", "step": "speaker", "why": told["routes"][0]["heldUp"][1]["why"]},
        ],
    }
    show(STATUSES, None, output="json", peer="spine")
    told = json.loads(capsys.readouterr().out)
    assert (told["sessions"], "routes" in told) == ([], False)


@given(
    objects,
    st.dictionaries(st.sampled_from(drawn.SERVICES), drawn.services, max_size=4),
    st.lists(drawn.nodes, max_size=4),
)
def test_routes_are_what_each_node_would_announce(
    configured: Configured, services: dict[str, Service], nodes: list[LocalNode]
) -> None:
    """Also where nodes differ in who serves: endpoints are on node-1, on another node, or nowhere."""
    named = [replace(each, name=f"node-{number}") for number, each in enumerate(nodes)]
    found = {
        (node, each.peer, each.prefix)
        for each in live_routes(configured, services, named, {})
        for node, _ in each.held_up
    }
    wanted = set()
    for node in named:
        whole = desired(configured.on(node, services))
        for prefix, route_class in whole.prefixes.items():
            for name, its in whole.sessions.items():
                if prefix.family in its.families and route_class.for_peer(name) is not None:
                    wanted.add((node.name, name, prefix))
    assert found == wanted

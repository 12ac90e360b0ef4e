"""What a node's report of its sessions costs: the BGPPeers that it says something else of, whatever else there is."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest

from allocator.kube.client import Object
from allocator.objects import names
from allocator.objects.bgp_node_status import BgpNodeStatus, SessionEntry
from allocator.reconciler.bgp_conditions import BgpConditions
from allocator.rules import bgp_status
from allocator.rules.configuration import Configuration
from tests.unit.commands.bgp_manifests import bgp_advertisement, peer

NODES: dict[str, dict[str, str]] = {f"n{number}": {} for number in range(200)}
PEERS = [f"tor-{number}" for number in range(40)]


def stored(document: Object, version: str = "1") -> Object:
    return {**document, "metadata": {**document["metadata"], "resourceVersion": version, "generation": 1}}


OBJECTS = {
    names.BGP_PEERS: [stored(peer(name, peerAddress=f"192.0.2.{n + 1}")) for n, name in enumerate(PEERS)],
    names.BGP_ADVERTISEMENTS: [stored(bgp_advertisement(f"all-{number}")) for number in range(20)],
    names.BFD_PROFILES: [],
    names.COMMUNITIES: [],
}
FOUND = Configuration()


def report(node: str, *, message: str = "", **sessions: Any) -> Object:
    entries = tuple(
        SessionEntry(peer=name, **(sessions.get(name.replace("-", "_")) or {"state": "Established"}))
        for name in PEERS
    )
    status = BgpNodeStatus(node=node, message=message, sessions=entries)
    return {"metadata": {"name": node}, "status": status.as_status()}


@pytest.fixture
def judged(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """What was judged, by name of the object."""
    counted: Counter[str] = Counter()

    def counting(judge: Callable[..., Any]) -> Callable[..., Any]:
        def counts(document: Object, *args: Any, **more: Any) -> Any:
            counted[document["metadata"]["name"]] += 1
            return judge(document, *args, **more)

        return counts

    for name in ("peer_conditions", "advertisement_conditions"):
        monkeypatch.setattr(bgp_status, name, counting(getattr(bgp_status, name)))
    return counted


@pytest.fixture
def conditions(judged: Counter[str]) -> BgpConditions:
    """All nodes have reported, and all objects show what they are to."""
    found = BgpConditions()
    for node in NODES:
        found.take_report(node, report(node))
    settle(found)
    judged.clear()
    return found


def settle(conditions: BgpConditions) -> dict[str, str]:
    """What those that were looked at show, by name."""
    shown = {}
    for kind, document, now in conditions.pending(FOUND, OBJECTS, NODES, frozenset()):
        conditions.settle(kind, document)
        shown[document["metadata"]["name"]] = f"{now[0].reason}: {now[0].message}"
    return shown


def test_report_costs_the_peers_that_it_says_something_else_of(
    conditions: BgpConditions, judged: Counter[str]
) -> None:
    conditions.take_report("n7", report("n7", tor_3={"state": "Down", "message": "no route"}))
    shown = settle(conditions)
    assert judged == {"tor-3": 1}
    assert shown == {"tor-3": "NotEstablished: up on 199 of 200 nodes; n7 (no route)"}


def test_counters_of_prefixes_cost_nothing(conditions: BgpConditions, judged: Counter[str]) -> None:
    conditions.take_report("n7", report("n7", tor_3={"state": "Established", "sent": 5, "wanted": 5, "since": "now"}))
    assert settle(conditions) == {}
    assert not judged


@pytest.mark.parametrize("changed", [None, report("n7", message="bgpd does not answer")], ids=["gone", "message"])
def test_node_that_stops_to_report_or_says_why_costs_all_peers_and_no_advertisement(
    conditions: BgpConditions, judged: Counter[str], changed: Object | None
) -> None:
    conditions.take_report("n7", changed)
    settle(conditions)
    assert judged == dict.fromkeys(PEERS, 1)


def test_last_report_that_goes_costs_everything(conditions: BgpConditions, judged: Counter[str]) -> None:
    for node in NODES:
        conditions.take_report(node, None)
    shown = settle(conditions)
    assert all("NoBGP" in shown[name] for name in PEERS)
    assert set(judged.values()) == {1}
    assert len(judged) == len(PEERS) + 20


def test_any_order_of_reports_shows_what_judging_everything_anew_shows(conditions: BgpConditions) -> None:
    reports = [
        ("n1", report("n1", tor_1={"state": "Down", "message": "late"})),
        ("n2", None),
        ("n1", report("n1", message="no FRR")),
        ("n2", report("n2", tor_1={"state": "Refused", "message": "bad", "rejected": True})),
        ("n1", report("n1")),
        ("n2", report("n2", tor_2={"state": "Down"})),
    ]
    last: dict[str, Object | None] = {node: report(node) for node in NODES}
    shown = fresh(last)
    for node, document in reports:
        conditions.take_report(node, document)
        last = {**last, node: document}
        shown |= settle(conditions)
        assert shown == fresh(last)


def fresh(reports: dict[str, Object | None]) -> dict[str, str]:
    anew = BgpConditions()
    for node, document in reports.items():
        anew.take_report(node, document)
    return settle(anew)


def test_report_of_a_node_that_is_silent_or_gone_does_not_count(conditions: BgpConditions) -> None:
    conditions.set_silent(frozenset({"n0", "n7"}))
    shown = settle(conditions)
    assert shown.keys() == set(PEERS)
    assert shown["tor-3"] == "Established: up on 198 of 198 nodes; no speaker reports BGP on n0, n7"
    conditions.set_silent(frozenset({"n0", "n7"}))
    conditions.take_report("n0", report("n0"))
    conditions.set_silent(frozenset({"n0"}))
    assert settle(conditions)["tor-3"] == "Established: up on 199 of 199 nodes; no speaker reports BGP on n0"
    conditions.set_silent(frozenset())
    assert settle(conditions)["tor-3"] == "Established: up on 200 of 200 nodes"


def test_silence_of_all_nodes_is_no_session(conditions: BgpConditions) -> None:
    conditions.set_silent(frozenset(NODES))
    assert settle(conditions)["tor-3"].startswith("NotEstablished: no node connects; no speaker reports BGP on n0, ")

"""ServiceBGPStatuses: one object for each Service that goes anywhere, and nothing written twice."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from allocator.bgp.desired import Announcement
from allocator.core.addresses import Address
from allocator.kube.client import Object
from allocator.kube.reflector import Change
from allocator.objects.names import SERVICE_BGP_STATUSES
from speaker.bgp.reports import ServiceRoutes, Snapshot
from speaker.status.service_bgp_status import NOTHING, Said, StoredServiceStatuses, said_of, steps
from speaker.status.service_l2_status import NAME_LABEL, NAMESPACE_LABEL, NODE_LABEL, Drop, Tell, name_of
from tests.unit.speaker.bgp.said_by_bgp import SIX, TOR, prefix, session

NODE, WEB = "node-1", ("default", "web")
NAME = name_of(NODE, WEB, prefix="bgp")
V4, V6 = Address.parse("198.51.100.1"), Address.parse("2001:db8:1::1")
BOTH = Said(("six", "tor"), ("tor",))


def status(said: Said) -> Object:
    return {
        "node": NODE,
        "serviceName": "web",
        "serviceNamespace": "default",
        "peers": list(said.peers),
        "sentTo": list(said.sent_to),
    }


def document(name: str = NAME, said: Said | None = None) -> Object:
    labels = {NODE_LABEL: NODE, NAMESPACE_LABEL: WEB[0], NAME_LABEL: WEB[1]}
    return {"metadata": {"name": name, "labels": labels}, "status": status(said) if said is not None else {}}


def change(name: str, new: Object | None) -> Change:
    return Change(SERVICE_BGP_STATUSES, ("metallb-system", name), None, new, "1")


def routes(*peers: str, v6: bool = False) -> ServiceRoutes:
    announcements = {V4: Announcement({prefix("198.51.100.1/32"): ("all",)})}
    if v6:
        announcements[V6] = Announcement({prefix("2001:db8:1::1/128"): ("all",)})
    return ServiceRoutes(announcements, frozenset(peers))


def test_service_that_goes_somewhere_has_one_object_and_is_written_once() -> None:
    assert list(steps(NODE, WEB, BOTH, {})) == [Tell(NAME, False, status(BOTH))]
    assert list(steps(NODE, WEB, BOTH, {NAME: BOTH})) == []
    assert list(steps(NODE, WEB, BOTH, {NAME: NOTHING})) == [Tell(NAME, True, status(BOTH))]


def test_service_that_goes_nowhere_has_none() -> None:
    assert list(steps(NODE, WEB, NOTHING, {NAME: BOTH})) == [Drop(NAME)]
    assert list(steps(NODE, WEB, NOTHING, {})) == []


def test_what_metallb_left_is_taken_over_and_a_second_one_goes() -> None:
    assert list(steps(NODE, WEB, BOTH, {"bgp-x7k2p": BOTH})) == []
    assert list(steps(NODE, WEB, BOTH, {"bgp-a": BOTH, "bgp-b": BOTH})) == [Drop("bgp-b")]
    assert list(steps(NODE, WEB, BOTH, {"bgp-a": BOTH, NAME: BOTH})) == [Drop("bgp-a")]


@pytest.mark.parametrize(
    ("states", "sent_to"),
    [
        ({}, ()),
        ({"tor": session(TOR, families=("IPv4",))}, ("tor",)),
        ({"tor": session(TOR, "Active", families=("IPv4",))}, ()),
        ({"tor": session(TOR, families=("IPv6",))}, ()),
        ({"tor": session(TOR, families=("IPv4",)), "six": session(SIX, families=("IPv6",))}, ("tor",)),
    ],
)
def test_sent_to_are_those_whose_session_is_up_and_carries_the_family(states: Any, sent_to: tuple[str, ...]) -> None:
    said = said_of(routes("tor", "six"), Snapshot(node=NODE, states=states))
    assert said == Said(("six", "tor"), sent_to)


def test_dual_stack_service_goes_to_peers_of_either_family() -> None:
    states = {"tor": session(TOR, families=("IPv4",)), "six": session(SIX, families=("IPv6",))}
    assert said_of(routes("tor", "six", v6=True), Snapshot(node=NODE, states=states)).sent_to == ("six", "tor")
    assert said_of(ServiceRoutes(), Snapshot(node=NODE)) == NOTHING


def test_change_that_says_nothing_new_is_not_looked_at() -> None:
    stored = StoredServiceStatuses()
    assert stored.note(change(NAME, document(said=BOTH))) == WEB
    assert stored.note(change(NAME, document(said=BOTH))) is None
    assert stored.note(change(NAME, document(said=NOTHING))) == WEB
    assert stored.note(change(NAME, None)) == WEB
    assert stored.note(change(NAME, None)) is None
    assert (stored.services(), stored.of(WEB)) == ((), {})


said = st.sampled_from((NOTHING, BOTH, Said(("tor",), ()), Said(("tor",), ("tor",))))


@given(said, st.dictionaries(st.sampled_from((NAME, "bgp-a", "bgp-b")), said, max_size=3))
def test_steps_come_to_what_is_to_be_said_and_then_there_are_none(say: Said, there: dict[str, Said]) -> None:
    stored = StoredServiceStatuses()
    for name, what in there.items():
        stored.put(document(name, what))
    for step in steps(NODE, WEB, say, stored.of(WEB)):
        if isinstance(step, Drop):
            stored.drop(step.name)
        else:
            assert step.exists == (step.name in stored.of(WEB))
            stored.put({**document(step.name), "status": step.said})
    assert list(stored.of(WEB).values()) == ([say] if say.peers else [])
    assert list(steps(NODE, WEB, say, stored.of(WEB))) == []

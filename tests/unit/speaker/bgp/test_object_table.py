"""Objects as they come and go, and what of them the desired state has."""

from __future__ import annotations

from typing import Any

import pytest

from allocator.bgp.desired import DesiredState
from allocator.bgp.frr_config import Config
from allocator.bgp.inputs import LocalNode, Password, Service
from allocator.bgp.sessions import NoSession
from allocator.core.addresses import Address
from allocator.kube.reflector import Change
from allocator.kube.resource import NODES, SERVICES, Resource
from allocator.objects.names import BFD_PROFILES, BGP_ADVERTISEMENTS, BGP_PEERS, COMMUNITIES
from speaker.bgp.object_table import ObjectTable
from speaker.bgp.observed import observe
from tests.unit.speaker.objects import node, service


class Table:
    """A table and its desired state, fed with watch events."""

    def __init__(self) -> None:
        self.state = DesiredState(LocalNode(name="node-a"))
        self.table = ObjectTable(self.state)

    def put(self, resource: Resource, name: str, created: str = "", **spec: Any) -> None:
        metadata = {"name": name, "namespace": "metallb-system", "creationTimestamp": created}
        self._take(resource, name, {"metadata": metadata, "spec": spec})

    def remove(self, resource: Resource, name: str) -> None:
        self._take(resource, name, None)

    def _take(self, resource: Resource, name: str, document: dict[str, Any] | None) -> None:
        seen = observe(Change(resource, ("metallb-system", name), None, document, "1"))
        if seen is not None:
            self.table.take(seen)


@pytest.fixture
def table() -> Table:
    return Table()


RUNNING = Config({("neighbor", "", "192.0.2.1", "password"): Password("old")})

SECRET_PEER: dict[str, Any] = {
    "myASN": 64512,
    "peerASN": 64513,
    "peerAddress": "192.0.2.1",
    "passwordSecret": {"name": "tor"},
}


def test_session_waits_for_its_secret(table: Table) -> None:
    table.put(BGP_PEERS, "tor", **SECRET_PEER)
    assert table.table.secrets == {"tor"}
    assert table.state.sessions.refused["tor"].reason is NoSession.NO_PASSWORD
    table.table.set_passwords({"tor": Password("one")}, frozenset({"tor"}))
    assert table.state.sessions.running["tor"].password == Password("one")
    table.table.set_passwords({"tor": Password("two")}, frozenset({"tor"}))
    assert table.state.sessions.running["tor"].password == Password("two")


def test_password_that_frr_has_keeps_a_session_whose_secret_is_gone(table: Table) -> None:
    table.table.adopt_passwords(RUNNING)
    table.put(BGP_PEERS, "tor", **SECRET_PEER)
    assert table.state.sessions.running["tor"].password == Password("old")
    table.table.set_passwords({"tor": Password("new")}, frozenset({"tor"}))
    assert table.state.sessions.running["tor"].password == Password("new")


@pytest.mark.parametrize("before", [{"password": "one"}, {"passwordSecret": {"name": "old"}}, {}])
def test_session_goes_on_until_the_secret_that_its_peer_names_anew_has_been_read(
    table: Table, before: dict[str, Any]
) -> None:
    """Its end would be no reset, which waits for this node's turn: all nodes would end theirs at once."""
    plain = {name: value for name, value in SECRET_PEER.items() if name != "passwordSecret"}
    password = Password("one") if before else None
    table.put(BGP_PEERS, "tor", **plain, **before)
    table.table.set_passwords({"old": Password("one")}, frozenset({"old"}))
    table.put(BGP_PEERS, "tor", **SECRET_PEER)
    assert table.state.sessions.running["tor"].password == password
    table.table.set_passwords({"tor": Password("two")}, frozenset({"tor"}))
    assert table.state.sessions.running["tor"].password == Password("two")


def test_session_goes_on_with_its_password_where_the_secret_named_anew_is_missing(table: Table) -> None:
    table.put(BGP_PEERS, "tor", **SECRET_PEER)
    table.table.set_passwords({"tor": Password("one")}, frozenset({"tor"}))
    table.put(BGP_PEERS, "tor", **{**SECRET_PEER, "passwordSecret": {"name": "typo"}})
    table.table.set_passwords({}, frozenset({"typo"}))
    assert table.state.sessions.running["tor"].password == Password("one")
    table.table.adopt_passwords(Config())
    assert table.state.sessions.running["tor"].password == Password("one")


def test_session_without_a_password_ends_where_the_secret_that_is_to_have_it_is_missing(table: Table) -> None:
    table.put(BGP_PEERS, "tor", **{name: value for name, value in SECRET_PEER.items() if name != "passwordSecret"})
    table.put(BGP_PEERS, "tor", **SECRET_PEER)
    assert "tor" in table.state.sessions.running
    table.table.set_passwords({}, frozenset({"tor"}))
    assert table.state.sessions.refused["tor"].reason is NoSession.NO_PASSWORD


def test_session_that_ends_before_its_secret_is_read_does_not_begin_again_without_it(table: Table) -> None:
    plain = {name: value for name, value in SECRET_PEER.items() if name != "passwordSecret"}
    selecting: dict[str, Any] = {"nodeSelectors": [{"matchLabels": {"rack": "a"}}]}
    table.table.set_node_labels({"rack": "a"})
    table.state.set_node(LocalNode(name="node-a", labels={"rack": "a"}))
    table.put(BGP_PEERS, "tor", **plain, **selecting)
    table.put(BGP_PEERS, "tor", **SECRET_PEER, **selecting)
    assert "tor" in table.state.sessions.running
    labels: dict[str, str]
    for labels in ({}, {"rack": "a"}):
        table.table.set_node_labels(labels)
        table.state.set_node(LocalNode(name="node-a", labels=labels))
    assert table.state.sessions.refused["tor"].reason is NoSession.NO_PASSWORD


def test_password_that_frr_has_is_for_nobody_who_names_no_secret(table: Table) -> None:
    table.put(BGP_PEERS, "tor", myASN=64512, peerASN=64513, peerAddress="192.0.2.1")
    table.table.adopt_passwords(RUNNING)
    assert table.state.sessions.running["tor"].password is None


def test_object_that_cannot_be_read_changes_nothing(table: Table) -> None:
    table.put(BGP_PEERS, "tor", myASN=64512, peerASN=64513, peerAddress="192.0.2.1")
    table.put(BGP_PEERS, "tor", myASN=0, peerASN=64513, peerAddress="192.0.2.9")
    assert str(table.state.sessions.running["tor"].address) == "192.0.2.1"
    table.remove(BGP_PEERS, "tor")
    assert table.state.sessions.running == {}


def test_of_two_communities_that_give_a_name_the_older_counts(table: Table) -> None:
    table.put(BGP_ADVERTISEMENTS, "all", communities=["customers"])
    address = Address.parse("198.51.100.1")
    table.state.set_service("prod/web", Service(addresses={address: ("main",)}, has_endpoints=True))
    for name, created, value in (("b", "2026-01-02", "64500:2"), ("a", "2026-01-03", "64500:3")):
        table.put(COMMUNITIES, name, created, communities=[{"name": "customers", "value": value}])
    (route_class,) = table.state.prefixes.values()
    assert [each.communities for each in route_class.told] == [{(64500, 2)}]
    table.remove(COMMUNITIES, "b")
    (route_class,) = table.state.prefixes.values()
    assert [each.communities for each in route_class.told] == [{(64500, 3)}]


def test_profiles_come_and_go(table: Table) -> None:
    table.put(BFD_PROFILES, "fast", receiveInterval=50)
    assert table.state.profiles["fast"].receive_milliseconds == 50
    table.remove(BFD_PROFILES, "fast")
    assert table.state.profiles == {}


def test_what_is_no_object_for_bgp_is_passed_over() -> None:
    web = service("192.0.2.1")
    assert observe(Change(SERVICES, ("default", "web"), None, web, "1")) is None
    seen = observe(Change(NODES, ("", "node-a"), None, node("node-a"), "1"))
    assert seen is not None

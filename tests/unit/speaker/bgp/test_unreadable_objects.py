"""Objects that are stored and cannot be read: a speaker that restarts over them changes nobody's route."""

from __future__ import annotations

from copy import deepcopy
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from allocator.bgp.changes import changes
from allocator.bgp.command import Daemon
from allocator.bgp.frr_config import Config
from allocator.bgp.inputs import LocalNode, Service
from allocator.bgp.rendering import render
from allocator.core.addresses import Address
from allocator.kube.reflector import Change
from allocator.kube.resource import Resource
from allocator.objects.names import BFD_PROFILES, BGP_ADVERTISEMENTS, BGP_PEERS, COMMUNITIES
from speaker.bgp.decision import SERVICES as SERVICES_KIND
from speaker.bgp.decision import Decision
from speaker.bgp.events import Connected, Disconnected, Event
from speaker.bgp.observed import observe
from speaker.bgp.settings import LISTED, BgpSettings

Objects = dict[tuple[Resource, str], dict[str, Any]]

PEER = {"myASN": 64512, "peerASN": 64513, "holdTime": "9s", "keepaliveTime": "3s"}
OBJECTS: Objects = {
    (BGP_PEERS, "tor-1"): {**PEER, "peerAddress": "192.0.2.1", "bfdProfile": "fast", "enableGracefulRestart": True},
    (BGP_PEERS, "tor-2"): {**PEER, "peerAddress": "192.0.2.2", "password": "hunter2", "connectTime": "5s"},
    (BGP_PEERS, "spine"): {**PEER, "peerAddress": "2001:db8::1", "ebgpMultiHop": True, "vrf": "red"},
    (BFD_PROFILES, "fast"): {"receiveInterval": 50, "transmitInterval": 50},
    (COMMUNITIES, "names"): {"communities": [{"name": "backup", "value": "64512:7"}]},
    (BGP_ADVERTISEMENTS, "plain"): {"ipAddressPools": ["blue"]},
    (BGP_ADVERTISEMENTS, "backup"): {"ipAddressPools": ["green"], "communities": ["backup"], "peers": ["tor-2"]},
    (BGP_ADVERTISEMENTS, "block"): {"ipAddressPools": ["green"], "aggregationLength": 28, "localPref": 200},
}
INVALID: dict[str, dict[str, Any]] = {
    BGP_PEERS.plural: {"myASN": 0},
    BFD_PROFILES.plural: {"detectMultiplier": 1},
    COMMUNITIES.plural: {"communities": [{"name": "backup", "value": "nonsense"}]},
    BGP_ADVERTISEMENTS.plural: {"aggregationLength": 99},
}
SERVICES = {
    ("default", name): Service(addresses={Address.parse(text): (pool,)}, has_endpoints=True)
    for name, text, pool in (
        ("one", "198.51.100.1", "blue"),
        ("two", "198.51.100.2", "blue"),
        ("three", "203.0.113.3", "green"),
        ("four", "2001:db8:1::4", "blue"),
    )
}
NODE = LocalNode(name="node-a", ipv4="10.0.0.7")


class Speaker:
    """What one process of the speaker takes in; FRR has `running` when it comes."""

    def __init__(self, objects: Objects, running: Config, node: LocalNode = NODE) -> None:
        settings = BgpSettings(node="node-a", sockets=None, kube_proxy_url="", marked_seconds=0)  # type: ignore[arg-type]
        self.decision = Decision(settings, turn=None, on_secrets=lambda _: None)
        for daemon in Daemon:
            lines = {key: line for key, line in running.lines.items() if (key[0] == "bfd") == (daemon is Daemon.BFDD)}
            found = Config(lines, running.networks if daemon is Daemon.BGPD else {})
            self.decision.take_event(Connected(daemon, 1, "10.3", found))
        for key, spec in objects.items():
            self.put(key, spec)
        self.decision.take_services(SERVICES)
        self.decision.follow_node(node)
        self.decision.begin()
        self.running = running

    def put(self, key: tuple[Resource, str], spec: dict[str, Any] | None) -> None:
        resource, name = key
        document = {"metadata": {"name": name, "namespace": "metallb-system"}, "spec": spec}
        seen = observe(Change(resource, ("m", name), None, document if spec is not None else None, "1"))
        assert seen is not None
        self.decision.take_object(seen)

    def config(self) -> Config:
        """What FRR is to have."""
        return render(self.decision.state.desired, self.running).copy()


def broken(objects: Objects, keys: set[tuple[Resource, str]]) -> Objects:
    return {key: {**spec, **(INVALID[key[0].plural] if key in keys else {})} for key, spec in objects.items()}


BEFORE = Speaker(OBJECTS, Config()).config()


@given(st.sets(st.sampled_from(sorted(OBJECTS, key=str)), min_size=1))
@settings(max_examples=60, deadline=None)
def test_restart_sends_nothing_whichever_objects_cannot_be_read(keys: set[tuple[Resource, str]]) -> None:
    wanted = Speaker(broken(OBJECTS, keys), BEFORE).config()
    assert [command.shown for command in changes(BEFORE, wanted)] == []


@given(st.sets(st.sampled_from(sorted(OBJECTS, key=str)), min_size=1), st.data())
@settings(max_examples=30, deadline=None)
def test_objects_that_can_be_read_again_count_again(keys: set[tuple[Resource, str]], data: st.DataObject) -> None:
    """Healed as they were nothing is sent; and then nothing is left of what was kept: the next edit counts."""
    here = Speaker(broken(OBJECTS, keys), BEFORE)
    for key in data.draw(st.permutations(sorted(keys, key=str))):
        here.put(key, OBJECTS[key])
    assert [command.shown for command in changes(BEFORE, here.config())] == []
    for key in [key for key in OBJECTS if key[0] == BGP_ADVERTISEMENTS]:
        here.put(key, None)
    assert not here.config().networks


def test_what_is_kept_for_an_advertisement_goes_with_its_service_and_its_endpoints() -> None:
    here = Speaker(broken(OBJECTS, {(BGP_ADVERTISEMENTS, "plain")}), BEFORE)
    ended = Service(addresses=SERVICES["default", "two"].addresses, has_endpoints=False)
    here.decision.take_services({("default", "one"): None, ("default", "two"): ended})
    assert {str(prefix) for _, prefix in here.config().networks} == {
        "203.0.113.3/32",
        "203.0.113.0/28",
        "2001:db8:1::4/128",
    }


def test_what_is_kept_for_an_advertisement_goes_with_it() -> None:
    here = Speaker(broken(OBJECTS, {(BGP_ADVERTISEMENTS, "plain")}), BEFORE)
    here.put((BGP_ADVERTISEMENTS, "plain"), None)
    assert {str(prefix) for _, prefix in here.config().networks} == {"203.0.113.3/32", "203.0.113.0/28"}


def test_what_waits_for_a_community_stays_over_a_restart_of_the_speaker() -> None:
    names = (COMMUNITIES, "names")
    here = Speaker({key: spec for key, spec in OBJECTS.items() if key != names}, BEFORE)
    assert [command.shown for command in changes(BEFORE, here.config())] == []
    here.put(names, OBJECTS[names])
    assert [command.shown for command in changes(BEFORE, here.config())] == []
    fresh = Speaker({key: spec for key, spec in OBJECTS.items() if key != names}, Config())
    assert "203.0.113.3/32" not in {str(prefix) for _, prefix in fresh.config().networks}


def test_session_is_kept_whose_address_is_what_cannot_be_read() -> None:
    objects = deepcopy(OBJECTS)
    objects[BGP_PEERS, "tor-1"]["peerAddress"] = "192.0.2.001"
    here = Speaker(objects, BEFORE)
    assert not changes(BEFORE, here.config())
    here.put((BGP_PEERS, "tor-1"), None)
    assert "192.0.2.1" not in {key[2] for key in here.config().under("neighbor")}


def test_nothing_is_made_up_for_an_object_of_which_frr_has_nothing() -> None:
    here = Speaker(broken(OBJECTS, set(OBJECTS)), Config())
    assert not here.decision.state.desired.sessions
    assert not here.decision.state.desired.prefixes


def test_session_of_a_peer_that_is_gone_is_not_kept_for_another_that_cannot_be_read() -> None:
    objects = broken(OBJECTS, {(BGP_PEERS, "tor-2")})
    del objects[BGP_PEERS, "tor-1"]
    here = Speaker(objects, BEFORE)
    assert {key[2] for key in here.config().under("neighbor")} == {"192.0.2.2", "2001:db8::1"}


@pytest.mark.parametrize("second", [Connected(Daemon.BFDD, 1, "10.3"), Disconnected(Daemon.BFDD, "no such file")])
def test_both_daemons_are_tried_before_anything_is_changed(second: Event) -> None:
    """A profile that cannot be read would otherwise be removed from a bfdd that comes a moment after bgpd."""
    settings = BgpSettings(node="node-a", sockets=None, kube_proxy_url="", marked_seconds=0)  # type: ignore[arg-type]
    decision = Decision(settings, turn=None, on_secrets=lambda _: None)
    for kind in (SERVICES_KIND, *(each.kind for each in LISTED)):
        decision.readiness.set_listed(kind)
    decision.take_event(Connected(Daemon.BGPD, 1, "10.3"))
    decision.readiness.advance(serving=True)
    assert not decision.readiness.begun
    decision.take_event(second)
    decision.readiness.advance(serving=True)
    assert decision.readiness.begun

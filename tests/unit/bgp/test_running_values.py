"""What FRR runs, read back to values, is what it was rendered from, as far as FRR can say."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given, settings

from allocator.bgp.desired import Desired
from allocator.bgp.frr_config import Config
from allocator.bgp.rendering import render
from allocator.bgp.running_values import neighbors, peer_of, profile_of, router_ids, routes_of
from tests.unit.bgp import random_desired


def read_back(running: Config, desired: Desired) -> Desired:
    """All sessions by their neighbour, profiles by name, prefixes for these sessions."""
    ids = router_ids(running)
    sessions = {}
    for name, peer in desired.sessions.items():
        found = peer_of(running, (peer.vrf, peer.id), name=name, created=peer.created, router_id=ids[peer.vrf])
        assert found is not None
        sessions[name] = found
    profiles = {name: profile_of(running, name) for name in desired.profiles}
    routes = routes_of(running, sessions.values())
    return Desired(sessions, {name: each for name, each in profiles.items() if each is not None}, routes)


@given(random_desired.desired)
@settings(max_examples=40)
def test_values_read_back_render_to_what_runs(desired: Desired) -> None:
    running = render(desired)
    found = read_back(running, desired)
    assert neighbors(running) == {(peer.vrf, peer.id) for peer in desired.sessions.values()}
    assert found.profiles.keys() == desired.profiles.keys()
    again = render(found, running)
    sections = ("router", "neighbor", "bfd")
    assert {key: line for key, line in again.lines.items() if key[0] in sections} == {
        key: line for key, line in running.lines.items() if key[0] in sections
    }


@given(random_desired.desired)
@settings(max_examples=40)
def test_every_peer_is_told_what_it_was(desired: Desired) -> None:
    found = read_back(render(desired), desired)
    for prefix, route_class in desired.prefixes.items():
        for name, peer in desired.sessions.items():
            told = route_class.for_peer(name)
            if told is not None and prefix.family in peer.families:
                again = found.prefixes[prefix].for_peer(name)
                assert again is not None
                # On iBGP nothing is ever prepended.
                assert replace(again, prepend=told.prepend) == told
                assert not peer.external or again.prepend == told.prepend


@given(random_desired.desired)
@settings(max_examples=40)
def test_what_all_peers_are_told_alike_keeps_its_class(desired: Desired) -> None:
    """So that a speaker which takes it over sends nothing."""
    running = render(desired)
    found = read_back(running, desired)
    for prefix, route_class in desired.prefixes.items():
        alike = route_class.default is not None and route_class.default.prepend is None and not route_class.named
        if alike and prefix in found.prefixes:
            assert found.prefixes[prefix] == route_class

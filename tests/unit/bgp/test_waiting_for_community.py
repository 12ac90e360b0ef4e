"""While an advertisement waits for a community, prefixes that it covers stay as they are, and no new one goes out.

Announced by another advertisement alone, a prefix could go where `no-export` was to keep it from. Withdrawn, it would
be gone for a name that the next object of the same commit brings.
"""

from __future__ import annotations

from dataclasses import replace

import pytest

from allocator.bgp.communities import Community
from allocator.bgp.desired import DesiredState
from allocator.bgp.eligibility import Reason
from allocator.bgp.inputs import Advertisement, LocalNode, Peer, Service
from allocator.bgp.route_class import Prefix, prefix_of
from allocator.core.addresses import Address
from allocator.core.pool_selection import PoolSelection
from allocator.objects.bgp_community import CommunityValue

ADDRESS = Address.parse("198.51.100.1")
PREFIX = prefix_of(ADDRESS, 32)
WEB = Service(addresses={ADDRESS: ("public",)}, has_endpoints=True)
GOOD = Advertisement(name="good", communities=("64512:1",))
WAITING = Advertisement(name="waiting", communities=("inside",))
INSIDE = {"inside": CommunityValue((65535, 65281))}
Told = frozenset[Community] | None
BEFORE, BOTH = frozenset({(64512, 1)}), frozenset({(64512, 1), (65535, 65281)})


@pytest.fixture
def state() -> DesiredState:
    found = DesiredState(LocalNode(name="node-1"))
    found.set_pool("public", {})
    for number, name in enumerate(("tor", "spine"), start=1):
        address = Address.parse(f"192.0.2.{number}")
        found.set_peer(name, Peer(name=name, my_asn=64512, peer_asn=64513, address=address))
    return found


def told(state: DesiredState, prefix: Prefix = PREFIX) -> tuple[Told, Told]:
    """The communities that each peer is told with a prefix; None for one that does not get it."""
    route_class = state.prefixes.get(prefix)
    found = [route_class.for_peer(name) if route_class is not None else None for name in ("tor", "spine")]
    tor, spine = (each.communities if each is not None else None for each in found)
    return tor, spine


def put(state: DesiredState, *advertisements: Advertisement) -> None:
    for each in advertisements:
        state.set_advertisement(each.name, each)


@pytest.mark.parametrize("order", [(GOOD, WAITING), (WAITING, GOOD)])
def test_new_prefix_waits_though_another_advertisement_covers_it(
    state: DesiredState, order: tuple[Advertisement, ...]
) -> None:
    put(state, *order)
    state.set_service("prod/web", WEB)
    assert told(state) == (None, None)
    announcement = state.announcements("prod/web")[ADDRESS]
    assert (announcement.reason, announcement.detail) == (Reason.UNKNOWN_COMMUNITY, "waiting")
    assert (state.wanted, state.peers_of("prod/web")) == ({"tor": 0, "spine": 0}, frozenset())
    state.set_aliases(INSIDE)
    assert told(state) == (BOTH, BOTH)


def test_prefix_that_is_announced_stays_as_it_is_and_gets_the_community_with_its_name(state: DesiredState) -> None:
    put(state, GOOD)
    state.set_service("prod/web", WEB)
    state.take_difference()
    put(state, WAITING)
    assert not state.take_difference()
    assert told(state) == (BEFORE, BEFORE)
    assert state.peers_of("prod/web") == {"tor", "spine"}
    state.set_aliases(INSIDE)
    assert told(state) == (BOTH, BOTH)
    state.set_aliases({})
    assert told(state) == (BOTH, BOTH), "a name that is taken away takes no community away"


def test_edit_that_names_what_is_not_there_changes_nothing(state: DesiredState) -> None:
    put(state, GOOD)
    state.set_service("prod/web", WEB)
    state.take_difference()
    put(state, replace(GOOD, communities=("inside",), med=7))
    assert not state.take_difference()


def test_it_stays_over_a_time_without_endpoints(state: DesiredState) -> None:
    put(state, GOOD)
    state.set_service("prod/web", WEB)
    put(state, WAITING)
    state.set_service("prod/web", replace(WEB, has_endpoints=False))
    assert told(state) == (None, None)
    state.set_service("prod/web", WEB)
    assert told(state) == (BEFORE, BEFORE)


def test_peers_of_other_advertisements_alone_wait_for_nothing(state: DesiredState) -> None:
    put(state, GOOD, replace(WAITING, peers=frozenset({"tor"})))
    state.set_service("prod/web", WEB)
    assert told(state) == (None, BEFORE)
    assert state.peers_of("prod/web") == {"spine"}
    assert state.announcements("prod/web")[ADDRESS].reason is None
    put(state, replace(GOOD, communities=("64512:2",)))
    assert told(state) == (None, frozenset({(64512, 2)}))


def test_prefixes_of_other_lengths_and_pools_wait_for_nothing(state: DesiredState) -> None:
    elsewhere = PoolSelection(names=frozenset({"other"}))
    put(state, replace(GOOD, aggregation_v4=24), replace(WAITING, pools=elsewhere), replace(WAITING, name="wider"))
    state.set_service("prod/web", WEB)
    assert told(state, prefix_of(ADDRESS, 24)) == (BEFORE, BEFORE)
    assert told(state) == (None, None)


def test_prefix_goes_with_the_last_advertisement_that_covers_it(state: DesiredState) -> None:
    put(state, GOOD)
    state.set_service("prod/web", WEB)
    put(state, WAITING)
    state.set_advertisement("good", None)
    assert told(state) == (BEFORE, BEFORE)
    state.set_advertisement("waiting", None)
    assert told(state) == (None, None)

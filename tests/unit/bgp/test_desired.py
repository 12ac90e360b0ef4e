"""The desired state: kept change by change, it is what MetalLB's rules make of the whole, said naively.

But for prefixes that wait for a community: these stay as they were when they began to.
"""

from __future__ import annotations

import tracemalloc
from collections.abc import Iterable, Mapping
from dataclasses import replace
from functools import partial
from types import MappingProxyType
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from allocator.bgp.desired import Desired, DesiredState, desired
from allocator.bgp.eligibility import Reason, conflict
from allocator.bgp.inputs import Advertisement, Inputs, LocalNode, Peer, Service
from allocator.bgp.route_class import Attributes, Contribution, Prefix, merged, prefix_of
from allocator.bgp.sessions import NoSession, sessions
from allocator.core.addresses import Address, Family
from allocator.core.pool_selection import ALL_POOLS, PoolSelection
from allocator.core.selectors import Operator, Requirement, Selector, matches_any
from allocator.objects.bgp_community import CommunityValue, resolved
from allocator.objects.names import EXCLUDE_FROM_LB_LABEL
from tests.unit.bgp import random_inputs as drawn

Told = dict[tuple[str, Prefix], Attributes]


def naive(inputs: Inputs, before: Mapping[Prefix, Told] = MappingProxyType({})) -> Told:
    """What each peer is told of each prefix: every Service, address, advertisement and peer by itself.

    `before` is what prefixes were announced with that wait for a community.
    """
    running = sessions(inputs.peers.values(), inputs.node).running
    said, waiting = gathered(inputs)
    held = {(peer, prefix) for peer, prefix in waiting if peer in running}
    kept = {key: before[key[1]][key] for key in held if key in before.get(key[1], {})}
    return kept | {key: each for key, each in said.items() if key[0] in running and key not in held}


def gathered(inputs: Inputs) -> tuple[Told, set[tuple[str, Prefix]]]:
    """What would be told to every peer that there may be, and which prefixes wait for a community for which."""
    gathered: dict[tuple[str, Prefix], list[Attributes]] = {}
    waiting = set()
    for service in inputs.services.values():
        for address, pools in service.addresses.items():
            for advertisement in announcing(inputs, service, address, pools):
                prefix = prefix_of(address, advertisement.aggregation(address.family))
                found = [resolved(each, inputs.aliases) for each in advertisement.communities]
                attributes = Attributes(
                    communities=frozenset(each.parts for each in found if each is not None),
                    local_pref=advertisement.local_pref or None,
                    med=advertisement.med,
                    prepend=advertisement.prepend or None,
                )
                for peer in drawn.PEERS:
                    if advertisement.peers is not None and peer not in advertisement.peers:
                        continue
                    gathered.setdefault((peer, prefix), []).append(attributes)
                    if None in found:
                        waiting.add((peer, prefix))
    told = {
        key: Attributes(
            communities=frozenset().union(*(each.communities for each in several)),
            local_pref=max((each.local_pref for each in several if each.local_pref), default=None),
            med=min((each.med for each in several if each.med is not None), default=None),
            prepend=min((each.prepend for each in several if each.prepend), default=None),
        )
        for key, several in gathered.items()
    }
    return told, waiting


def announcing(inputs: Inputs, service: Service, address: Address, pools: tuple[str, ...]) -> list[Advertisement]:
    """The advertisements that announce an address; none where any rule of MetalLB's keeps the node from it."""
    node = inputs.node
    ruled_out = EXCLUDE_FROM_LB_LABEL in node.labels or node.leaving
    if node.network_unavailable or (ruled_out and not node.marked) or not service.has_endpoints:
        return []
    if service.local and node.name not in service.endpoint_nodes:
        return []
    chosen = []
    for each in inputs.advertisements.values():
        if each.node_selectors and not matches_any(each.node_selectors, node.labels):
            continue
        if each.service_selectors and not matches_any(each.service_selectors, service.labels):
            continue
        by_label = any(
            name in inputs.pools and matches_any(each.pools.selectors, inputs.pools[name]) for name in pools
        )
        if each.pools.everything or by_label or not each.pools.names.isdisjoint(pools):
            chosen.append(each)
    known = [each for each in chosen if all(resolved(written, inputs.aliases) for written in each.communities)]
    if any(conflict(one, other, address.family) for one in known for other in known):
        return []
    return chosen


def waits_here(inputs: Inputs, advertisement: Advertisement) -> bool:
    selects = not advertisement.node_selectors or matches_any(advertisement.node_selectors, inputs.node.labels)
    return selects and None in [resolved(each, inputs.aliases) for each in advertisement.communities]


class History:
    """What prefixes that wait for a community were announced with when they began to, change by change."""

    def __init__(self) -> None:
        self.before: dict[Prefix, Told] = {}
        self._announced: Told = {}

    def told(self, inputs: Inputs, now: Desired) -> Told:
        """Take in the state after a change; return what peers with a session are to be told."""
        said, waiting = gathered(inputs)
        prefixes = {prefix for _, prefix in waiting}
        for prefix in prefixes - self.before.keys():
            self.before[prefix] = {key: each for key, each in self._announced.items() if key[1] == prefix}
        for prefix in {prefix for _, prefix in said} - prefixes:
            self.before.pop(prefix, None)
        if not any(map(partial(waits_here, inputs), inputs.advertisements.values())):
            self.before.clear()
        self._announced = announced(now, drawn.PEERS)
        return naive(inputs, self.before)


def announced(now: Desired, peers: Iterable[str]) -> Told:
    return {
        (peer, prefix): attributes
        for prefix, route_class in now.prefixes.items()
        for peer in peers
        if (attributes := route_class.for_peer(peer)) is not None
    }


def assert_whole(now: Desired, inputs: Inputs) -> None:
    """It is what the whole comes to, but for prefixes that wait."""
    whole = desired(inputs)
    assert (now.sessions, now.profiles) == (whole.sessions, whole.profiles)
    waiting = {prefix for _, prefix in gathered(inputs)[1]}
    for prefix in (now.prefixes.keys() | whole.prefixes.keys()) - waiting:
        assert now.prefixes.get(prefix) == whole.prefixes.get(prefix)


class Changes(RuleBasedStateMachine):
    """Any sequence of changes: what was kept up to date equals what the whole comes to."""

    def __init__(self) -> None:
        super().__init__()
        self.state = DesiredState(LocalNode(name=drawn.NODE))
        self.inputs = Inputs(
            node=LocalNode(name=drawn.NODE),
            peers={},
            profiles={},
            advertisements={},
            aliases={},
            pools={},
            services={},
        )
        self.history = History()
        self.received: dict[Prefix, Any] = {}
        self.sessions: Any = {}
        self.profiles: Any = {}
        self.said: dict[str, Any] = {}
        self.said_of: Any = {}

    @initialize(
        services=st.lists(drawn.services, min_size=4, max_size=8),
        pools=st.lists(drawn.labels, min_size=3, max_size=3),
        advertisement=drawn.advertisements,
    )
    def some_of_all(self, services: list[Service], pools: list[dict[str, str]], advertisement: Advertisement) -> None:
        for name, labels in zip(drawn.POOLS, pools, strict=True):
            self.pool(name, labels)
        for key, service in zip(drawn.SERVICES, services, strict=False):
            self.service(key, service)
        self.advertisement("adv-a", advertisement)
        self.peer("peer-a", Peer(name="", my_asn=64500, peer_asn=64501, address=Address.parse("192.0.2.1")))

    @rule(node=drawn.nodes)
    def node(self, node: LocalNode) -> None:
        self.inputs = replace(self.inputs, node=node)
        self.state.set_node(node)

    @rule(name=st.sampled_from(drawn.PEERS), peer=st.one_of(st.none(), drawn.peers()))
    def peer(self, name: str, peer: Peer | None) -> None:
        named = replace(peer, name=name) if peer is not None else None
        self._put("peers", name, named)
        self.state.set_peer(name, named)

    @rule(name=st.sampled_from(drawn.PROFILES), profile=st.one_of(st.none(), drawn.profiles))
    def profile(self, name: str, profile: Any) -> None:
        named = replace(profile, name=name) if profile is not None else None
        self._put("profiles", name, named)
        self.state.set_profile(name, named)

    @rule(name=st.sampled_from(drawn.POOLS), labels=st.one_of(st.none(), drawn.labels))
    def pool(self, name: str, labels: dict[str, str] | None) -> None:
        self._put("pools", name, labels)
        self.state.set_pool(name, labels)

    @rule(
        aliases=st.dictionaries(
            st.sampled_from(drawn.ALIASES), st.sampled_from((CommunityValue((1, 2)), CommunityValue((1, 2, 3))))
        )
    )
    def aliases(self, aliases: dict[str, CommunityValue]) -> None:
        self.inputs = replace(self.inputs, aliases=aliases)
        self.state.set_aliases(aliases)

    @rule(name=st.sampled_from(drawn.ADVERTISEMENTS), advertisement=st.one_of(st.none(), drawn.advertisements))
    def advertisement(self, name: str, advertisement: Advertisement | None) -> None:
        named = replace(advertisement, name=name) if advertisement is not None else None
        self._put("advertisements", name, named)
        self.state.set_advertisement(name, named)

    @rule(key=st.sampled_from(drawn.SERVICES), service=st.one_of(st.none(), drawn.services))
    def service(self, key: str, service: Service | None) -> None:
        self._put("services", key, service)
        self.state.set_service(key, service)

    @invariant()
    def each_peer_is_told_what_the_rules_say(self) -> None:
        now = self.state.desired
        assert announced(now, now.sessions) == self.history.told(self.inputs, now)
        assert_whole(now, self.inputs)

    @invariant()
    def differences_add_up(self) -> None:
        difference = self.state.take_difference()
        for prefix, route_class in difference.prefixes.items():
            if route_class is None:
                self.received.pop(prefix, None)
            else:
                self.received[prefix] = route_class
        self.sessions = difference.sessions if difference.sessions is not None else self.sessions
        self.profiles = difference.profiles if difference.profiles is not None else self.profiles
        now = self.state.desired
        assert (self.received, self.sessions, self.profiles) == (now.prefixes, now.sessions, now.profiles)
        assert not self.state.take_difference()

    @invariant()
    def every_address_is_announced_or_has_a_reason(self) -> None:
        for key, service in self.inputs.services.items():
            announcements = self.state.announcements(key)
            assert announcements.keys() == service.addresses.keys()
            assert all(bool(each.prefixes) != bool(each.reason) for each in announcements.values())

    @invariant()
    def a_services_peers_are_those_of_its_own_advertisements(self) -> None:
        for key, service in self.inputs.services.items():
            alone = replace(self.inputs, services={key: service})
            running = self.state.sessions.running
            whole = naive(self.inputs, self.history.before)
            said, waiting = gathered(alone)
            told = {
                peer
                for peer, prefix in {*said, *waiting}
                if (peer, prefix) in whole and prefix.family in running[peer].families
            }
            assert self.state.peers_of(key) == told

    @invariant()
    def services_of_which_something_else_is_said_are_named(self) -> None:
        said = {key: (self.state.announcements(key), self.state.peers_of(key)) for key in drawn.SERVICES}
        running = dict(self.state.sessions.running)
        named = self.state.take_services_changed()
        differ = {key for key, each in said.items() if self.said.get(key, ({}, frozenset())) != each}
        assert differ <= named or running != self.said_of
        self.said, self.said_of = said, running

    def _put(self, table: str, name: str, value: Any) -> None:
        entries = dict(getattr(self.inputs, table))
        if value is None:
            entries.pop(name, None)
        else:
            entries[name] = value
        changed: dict[str, Any] = {table: entries}
        self.inputs = replace(self.inputs, **changed)


Changes.TestCase.settings = settings(max_examples=20, stateful_step_count=20, deadline=None)
TestChanges = Changes.TestCase

_EDITS: dict[str, st.SearchStrategy[Any]] = {
    "pools": st.sampled_from(
        (ALL_POOLS, PoolSelection(names=frozenset({"pool-a"})), PoolSelection(selectors=(drawn.TIER_A,)))
    ),
    "node_selectors": st.sampled_from(((), (drawn.TIER_A,))),
    "service_selectors": st.sampled_from(((), (drawn.TIER_A,))),
    "peers": st.sampled_from((None, frozenset({"peer-a"}), frozenset({"peer-b"}))),
    "communities": st.sampled_from(((), ("1:1",), ("customers",))),
    "local_pref": st.sampled_from((None, 0, 100, 200)),
    "med": st.sampled_from((None, 5)),
    "prepend": st.sampled_from((None, 0, 2)),
    "aggregation_v4": st.sampled_from((32, 24)),
    "aggregation_v6": st.sampled_from((128, 64)),
}
_FIELDS = st.sampled_from(sorted(_EDITS)).flatmap(lambda field: st.tuples(st.just(field), _EDITS[field]))
_V4, _V6 = drawn.ADDRESSES[0], drawn.ADDRESSES_V6[0]


@given(data=st.data())
@settings(max_examples=150, deadline=None)
def test_one_field_edited_comes_to_what_the_whole_comes_to(data: st.DataObject) -> None:
    """All is announced to begin with, so that each edit has something to go wrong with."""
    inputs = Inputs(
        node=LocalNode(name=drawn.NODE, labels={"tier": "a"}),
        peers={
            name: Peer(name=name, my_asn=64500, peer_asn=64501, address=Address.parse(address))
            for name, address in (("peer-a", "192.0.2.1"), ("peer-b", "192.0.2.2"))
        },
        advertisements={
            "one": Advertisement(name="one"),
            "two": Advertisement(
                name="two", pools=PoolSelection(selectors=(drawn.TIER_A,)), communities=("customers",)
            ),
        },
        aliases={"customers": CommunityValue((1, 2))},
        pools={"pool-a": {"tier": "a"}, "pool-b": {}},
        services={
            "x/a": Service(labels={"tier": "a"}, addresses={_V4: ("pool-a",), _V6: ("pool-a",)}, has_endpoints=True),
            "x/b": Service(labels={}, addresses={drawn.ADDRESSES[1]: ("pool-b",)}, has_endpoints=True),
        },
    )
    state = DesiredState(inputs.node)
    fill(state, inputs)
    history = History()
    history.told(inputs, state.desired)
    for _ in range(6):
        what = data.draw(st.sampled_from(("advertisement",) * 4 + ("pool", "service", "node", "aliases")))
        if what == "advertisement":
            name = data.draw(st.sampled_from(("one", "two")))
            field, value = data.draw(_FIELDS)
            edit: dict[str, Any] = {field: value}
            edited = replace(inputs.advertisements[name], **edit)
            inputs = replace(inputs, advertisements={**inputs.advertisements, name: edited})
            state.set_advertisement(name, edited)
        elif what == "pool":
            name, labels = data.draw(st.sampled_from(drawn.POOLS[:2])), data.draw(drawn.labels)
            inputs = replace(inputs, pools={**inputs.pools, name: labels})
            state.set_pool(name, labels)
        elif what == "service":
            key, labels = data.draw(st.sampled_from(("x/a", "x/b"))), data.draw(drawn.labels)
            service = replace(inputs.services[key], labels=labels)
            inputs = replace(inputs, services={**inputs.services, key: service})
            state.set_service(key, service)
        elif what == "node":
            inputs = replace(inputs, node=replace(inputs.node, labels=data.draw(drawn.labels)))
            state.set_node(inputs.node)
        else:
            inputs = replace(
                inputs,
                aliases=data.draw(
                    st.sampled_from(
                        ({}, {"customers": CommunityValue((1, 2))}, {"customers": CommunityValue((2, 2))})
                    )
                ),
            )
            state.set_aliases(inputs.aliases)
        now = state.desired
        told = history.told(inputs, now)
        assert_whole(now, inputs)
        assert state.wanted == {
            name: sum(
                prefix.family in peer.families and route_class.for_peer(name) is not None
                for prefix, route_class in now.prefixes.items()
            )
            for name, peer in now.sessions.items()
        }
        assert announced(now, now.sessions) == told


def fill(state: DesiredState, inputs: Inputs) -> None:
    """Bring it all in the other way round than `desired` does: Services first."""
    for key, service in inputs.services.items():
        state.set_service(key, service)
    for name, peer in inputs.peers.items():
        state.set_peer(name, peer)
    for name, advertisement in inputs.advertisements.items():
        state.set_advertisement(name, advertisement)
    state.set_aliases(inputs.aliases)
    for name, labels in inputs.pools.items():
        state.set_pool(name, labels)


LABELLED = Selector(frozenset({Requirement("tier", Operator.IN, frozenset({"a"}))}))
ADDRESS = Address.parse("198.51.100.7")
SERVICE = Service(
    labels={"tier": "b"},
    addresses={ADDRESS: ("pool-a",)},
    has_endpoints=True,
    endpoint_nodes=frozenset({"node-1"}),
)
EVERYTHING = Advertisement(name="all")


@pytest.mark.parametrize(
    ("reason", "advertisements", "node", "service"),
    [
        (Reason.NOT_OWNER, [], LocalNode(name="node-1"), SERVICE),
        (Reason.NOT_OWNER, [replace(EVERYTHING, node_selectors=(LABELLED,))], LocalNode(name="node-1"), SERVICE),
        (
            Reason.NOT_OWNER,
            [replace(EVERYTHING, pools=PoolSelection(names=frozenset({"pool-b"})))],
            LocalNode(name="node-1"),
            SERVICE,
        ),
        (
            Reason.NO_MATCHING_ADVERTISEMENT,
            [replace(EVERYTHING, service_selectors=(LABELLED,))],
            LocalNode(name="node-1", network_unavailable=True),
            SERVICE,
        ),
        (
            Reason.CONFLICTING_ADVERTISEMENTS,
            [replace(EVERYTHING, local_pref=200), replace(EVERYTHING, name="other")],
            LocalNode(name="node-1", network_unavailable=True),
            SERVICE,
        ),
        (
            Reason.NODE_NETWORK_UNAVAILABLE,
            [EVERYTHING],
            LocalNode(name="node-1", network_unavailable=True, labels={EXCLUDE_FROM_LB_LABEL: "false"}),
            SERVICE,
        ),
        (
            Reason.NODE_EXCLUDED,
            [EVERYTHING],
            LocalNode(name="node-1", labels={EXCLUDE_FROM_LB_LABEL: ""}),
            replace(SERVICE, has_endpoints=False, endpoint_nodes=frozenset()),
        ),
        (Reason.NODE_LEAVING, [EVERYTHING], LocalNode(name="node-1", leaving=True), SERVICE),
        (
            Reason.NO_LOCAL_ENDPOINTS,
            [EVERYTHING],
            LocalNode(name="node-1"),
            replace(SERVICE, local=True, has_endpoints=False, endpoint_nodes=frozenset()),
        ),
        (
            Reason.NO_LOCAL_ENDPOINTS,
            [EVERYTHING],
            LocalNode(name="node-1"),
            replace(SERVICE, local=True, endpoint_nodes=frozenset({"node-2"})),
        ),
        (
            Reason.NO_ENDPOINTS,
            [EVERYTHING],
            LocalNode(name="node-1"),
            replace(SERVICE, has_endpoints=False, endpoint_nodes=frozenset()),
        ),
        (
            Reason.UNKNOWN_COMMUNITY,
            [replace(EVERYTHING, communities=("nobody",))],
            LocalNode(name="node-1"),
            SERVICE,
        ),
        (
            Reason.TOO_MANY_COMMUNITIES,
            [replace(EVERYTHING, communities=tuple(f"64500:{number}" for number in range(64)))],
            LocalNode(name="node-1"),
            SERVICE,
        ),
        (None, [EVERYTHING], LocalNode(name="node-1"), SERVICE),
        (None, [EVERYTHING], LocalNode(name="node-1"), replace(SERVICE, local=True)),
        (
            None,
            [replace(EVERYTHING, communities=tuple(f"64500:{number}" for number in range(63)))],
            LocalNode(name="node-1"),
            SERVICE,
        ),
    ],
)
def test_first_reason_in_metallbs_order_is_given(
    reason: Reason | None, advertisements: list[Advertisement], node: LocalNode, service: Service
) -> None:
    state = DesiredState(node)
    state.set_pool("pool-a", {})
    for advertisement in advertisements:
        state.set_advertisement(advertisement.name, advertisement)
    state.set_service("production/web", service)
    announcement = state.announcements("production/web")[ADDRESS]
    assert announcement.reason is reason
    assert bool(announcement.prefixes) is (reason is None)


def test_pool_that_is_gone_is_selected_by_name_only() -> None:
    state = DesiredState(LocalNode(name="node-1"))
    state.set_advertisement("x", Advertisement(name="x", pools=PoolSelection(selectors=(Selector(frozenset()),))))
    state.set_service("production/web", SERVICE)
    assert state.announcements("production/web")[ADDRESS].reason is Reason.NOT_OWNER
    state.set_advertisement("y", Advertisement(name="y", pools=PoolSelection(names=frozenset({"pool-a"}))))
    assert state.announcements("production/web")[ADDRESS].reason is None


def test_aggregate_stays_until_the_last_of_its_services_goes() -> None:
    state = DesiredState(LocalNode(name="node-1"))
    state.set_advertisement("all", replace(EVERYTHING, aggregation_v4=24))
    state.set_service("production/one", SERVICE)
    state.set_service("production/two", replace(SERVICE, addresses={Address.parse("198.51.100.8"): ("pool-a",)}))
    prefix = Prefix(Family.IPV4, Address.parse("198.51.100.0").value, 24)
    assert state.take_difference().prefixes.keys() == {prefix}
    state.set_service("production/one", None)
    assert not state.take_difference()
    state.set_service("production/two", None)
    assert state.take_difference().prefixes == {prefix: None}


def test_new_peer_changes_the_class_of_no_prefix() -> None:
    state = DesiredState(LocalNode(name="node-1"))
    state.set_advertisement("all", EVERYTHING)
    state.set_advertisement("one", Advertisement(name="one", peers=frozenset({"late"}), communities=("1:1",)))
    state.set_service("production/web", SERVICE)
    state.take_difference()
    state.set_peer("late", Peer(name="late", my_asn=1, peer_asn=2, address=Address.parse("192.0.2.1")))
    difference = state.take_difference()
    assert difference.sessions is not None
    assert not difference.prefixes


@given(
    st.lists(
        st.builds(
            Contribution,
            st.builds(
                Attributes,
                communities=st.frozensets(st.sampled_from(((1, 1), (1, 2), (1, 2, 3)))),
                local_pref=st.sampled_from((None, 100, 200)),
                med=st.sampled_from((None, 0, 5)),
                prepend=st.sampled_from((None, 1, 2)),
            ),
            st.one_of(st.none(), st.frozensets(st.sampled_from(("a", "b", "c")))),
        )
    )
)
def test_merging_does_not_depend_on_order_or_repetition(contributions: list[Contribution]) -> None:
    assert merged(contributions) == merged([*reversed(contributions), *contributions])


def test_conflict_ends_when_the_advertisements_have_no_peer_in_common() -> None:
    state = DesiredState(LocalNode(name="node-1"))
    state.set_advertisement("one", Advertisement(name="one", local_pref=200, peers=frozenset({"a"})))
    state.set_advertisement("two", Advertisement(name="two", peers=frozenset({"a", "b"})))
    state.set_service("production/web", SERVICE)
    assert state.announcements("production/web")[ADDRESS].reason is Reason.CONFLICTING_ADVERTISEMENTS
    state.set_advertisement("two", Advertisement(name="two", peers=frozenset({"b"})))
    assert state.announcements("production/web")[ADDRESS].reason is None


def test_peers_that_contradict_each_other_cost_the_younger_one_only() -> None:
    old = Peer(name="z", created="2026-01-01", my_asn=1, peer_asn=2, address=Address.parse("192.0.2.1"))
    twin = replace(old, name="a", created="2026-01-02")
    other_asn = replace(twin, name="b", my_asn=3, address=Address.parse("192.0.2.2"))
    other_id = replace(twin, name="c", router_id="192.0.2.9", address=Address.parse("192.0.2.3"))
    other_vrf = replace(other_asn, name="d", vrf="red")
    no_secret = replace(twin, name="e", needs_password=True)
    elsewhere = replace(twin, name="f", node_selectors=(LABELLED,))
    found = sessions([twin, other_asn, other_id, other_vrf, no_secret, elsewhere, old], LocalNode(name="node-1"))
    assert found.running.keys() == {"z", "d"}
    assert {name: (each.reason, each.other) for name, each in found.refused.items()} == {
        "a": (NoSession.SAME_NEIGHBOR, "z"),
        "b": (NoSession.OTHER_ASN, "z"),
        "c": (NoSession.OTHER_ROUTER_ID, "z"),
        "e": (NoSession.NO_PASSWORD, ""),
        "f": (NoSession.NOT_SELECTED, ""),
    }


def test_services_are_named_whose_advertisement_goes_to_other_peers() -> None:
    state = DesiredState(LocalNode(name="node-1"))
    for name, address in (("a", "192.0.2.1"), ("b", "192.0.2.2")):
        state.set_peer(name, Peer(name=name, my_asn=1, peer_asn=2, address=Address.parse(address)))
    state.set_advertisement("x", Advertisement(name="x", peers=frozenset({"a"})))
    state.set_service("production/web", SERVICE)
    assert state.take_services_changed() == {"production/web"}
    state.set_advertisement("x", Advertisement(name="x", peers=frozenset({"a", "b"})))
    assert state.peers_of("production/web") == {"a", "b"}
    assert state.take_services_changed() == {"production/web"}


def test_services_are_named_whose_prefix_gets_too_many_communities_from_another() -> None:
    """Both are in one aggregate, which gets one community more than FRR announces with the second one's."""
    state = DesiredState(LocalNode(name="node-1"))
    most = tuple(f"64500:{number}" for number in range(63))
    state.set_advertisement("all", replace(EVERYTHING, name="all", aggregation_v4=24, communities=most))
    labelled = replace(
        EVERYTHING, name="more", aggregation_v4=24, communities=("1:1",), service_selectors=(LABELLED,)
    )
    state.set_service("production/one", SERVICE)
    other = replace(SERVICE, labels={"tier": "a"}, addresses={Address.parse("198.51.100.8"): ("pool-a",)})
    state.set_advertisement("more", labelled)
    state.take_services_changed()
    state.set_service("production/two", other)
    assert state.announcements("production/one")[ADDRESS].reason is Reason.TOO_MANY_COMMUNITIES
    assert "production/one" in state.take_services_changed()
    state.set_service("production/two", None)
    assert state.announcements("production/one")[ADDRESS].reason is None
    assert "production/one" in state.take_services_changed()


def test_a_service_takes_half_a_kilobyte() -> None:
    """What most are: one address, of one pool, announced by one advertisement."""

    def memory(count: int) -> int:
        state = DesiredState(LocalNode(name="node-a"))
        state.set_pool("public", {})
        state.set_peer("tor", Peer(name="tor", my_asn=1, peer_asn=2, address=Address.parse("192.0.2.1")))
        state.set_advertisement("all", Advertisement(name="all"))
        first = Address.parse("10.0.0.0").value
        services = {
            f"prod/{number}": Service(
                addresses={Address(Family.IPV4, first + number): ("public",)}, has_endpoints=True
            )
            for number in range(count)
        }
        tracemalloc.start()
        for key, service in services.items():
            state.set_service(key, service)
        state.take_difference()
        state.take_services_changed()
        used, _ = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert state.prefix_count == count
        return used

    assert (memory(3000) - memory(1000)) / 2000 < 700

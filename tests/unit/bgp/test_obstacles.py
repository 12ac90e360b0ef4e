"""The way to a peer, step by step, ends where what the node announces says it does."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from allocator.bgp.desired import desired_state
from allocator.bgp.inputs import Advertisement, Inputs, LocalNode, Peer, Service
from allocator.bgp.obstacles import Obstacle, Step, obstacle
from allocator.bgp.routes import routes_of
from allocator.core.addresses import Address
from allocator.core.pool_selection import PoolSelection
from allocator.core.selectors import Operator, Requirement, Selector
from allocator.objects.bgp_community import CommunityValue
from allocator.objects.names import EXCLUDE_FROM_LB_LABEL
from tests.unit.bgp import random_inputs as drawn
from tests.unit.effort import examples

ADDRESS = Address.parse("198.51.100.1")
SIX = Address.parse("2001:db8:1::1")
WEB = "production/web"
TIER_B = Selector(frozenset({Requirement("tier", Operator.IN, frozenset({"b"}))}))

MANY = tuple(f"64500:{number}" for number in range(64))

SOUND = Inputs(
    node=LocalNode(name="node-1", labels={"tier": "a"}),
    peers={"tor": Peer(name="tor", my_asn=64500, peer_asn=64501, address=Address.parse("192.0.2.1"))},
    advertisements={"all": Advertisement(name="all")},
    pools={"main": {}},
    services={WEB: Service(labels={"tier": "a"}, addresses={ADDRESS: ("main",), SIX: ("main",)}, has_endpoints=True)},
)


def with_advertisement(**fields: Any) -> Inputs:
    return replace(SOUND, advertisements={"all": replace(SOUND.advertisements["all"], **fields)})


def with_node(**fields: Any) -> Inputs:
    return replace(SOUND, node=replace(SOUND.node, **fields))


def with_service(**fields: Any) -> Inputs:
    return replace(SOUND, services={WEB: replace(SOUND.services[WEB], **fields)})


def with_peer(**fields: Any) -> Inputs:
    return replace(SOUND, peers={"tor": replace(SOUND.peers["tor"], **fields)})


def first(inputs: Inputs, address: Address = ADDRESS, peer: str = "tor") -> Obstacle | None:
    return obstacle(inputs, desired_state(inputs), WEB, address, peer)


@pytest.mark.parametrize(
    ("inputs", "step"),
    [
        (SOUND, None),
        (with_advertisement(pools=PoolSelection(names=frozenset({"other"}))), Step.POOL),
        (replace(SOUND, advertisements={}), Step.POOL),
        (with_advertisement(service_selectors=(TIER_B,)), Step.SERVICE),
        (with_advertisement(node_selectors=(TIER_B,)), Step.ADVERTISED_NODE),
        (with_advertisement(communities=("customers",)), Step.COMMUNITIES),
        (
            replace(
                SOUND,
                advertisements={
                    "one": Advertisement(name="one", local_pref=100),
                    "two": Advertisement(name="two", local_pref=200),
                },
            ),
            Step.CONFLICT,
        ),
        (with_advertisement(peers=frozenset({"spine"})), Step.ADVERTISED_PEER),
        (with_node(network_unavailable=True), Step.NODE),
        (with_node(labels={EXCLUDE_FROM_LB_LABEL: ""}), Step.NODE),
        (with_node(leaving=True), Step.NODE),
        (with_service(has_endpoints=False), Step.ENDPOINTS),
        (with_service(local=True, endpoint_nodes=frozenset({"node-2"})), Step.ENDPOINTS),
        (with_peer(node_selectors=(TIER_B,)), Step.SESSION),
        (with_peer(needs_password=True), Step.SESSION),
        (replace(SOUND, peers={}), Step.SESSION),
        (with_advertisement(communities=MANY), Step.TOO_MANY_COMMUNITIES),
    ],
)
def test_first_step_that_fails_is_named(inputs: Inputs, step: Step | None) -> None:
    found = first(inputs)
    assert (found.step if found is not None else None) == step


def test_family_that_the_session_does_not_carry_is_named() -> None:
    found = first(SOUND, SIX)
    assert found is not None
    assert (found.step, "dualStackAddressFamily" in found.why) == (Step.FAMILY, True)


def test_earlier_step_is_named_where_two_fail() -> None:
    found = first(replace(with_advertisement(node_selectors=(TIER_B,)), node=replace(SOUND.node, leaving=True)))
    assert found is not None
    assert found.step == Step.ADVERTISED_NODE


def test_every_step_is_produced_by_one_of_these_tests() -> None:
    marks = test_first_step_that_fails_is_named.pytestmark  # type: ignore[attr-defined]
    named = {step for _, step in marks[0].args[1]}
    assert named | {Step.FAMILY} == {None, *Step}


@settings(max_examples=examples(150), deadline=None)
@given(st.data())
def test_a_step_fails_if_and_only_if_the_peer_gets_nothing(data: st.DataObject) -> None:
    def some(names: tuple[str, ...], values: st.SearchStrategy[Any]) -> dict[str, Any]:
        return data.draw(st.dictionaries(st.sampled_from(names), values, max_size=len(names)))

    def named(found: dict[str, Any]) -> dict[str, Any]:
        return {name: replace(value, name=name) for name, value in found.items()}

    inputs = Inputs(
        node=data.draw(drawn.nodes),
        peers=named(some(drawn.PEERS, drawn.peers())),
        advertisements=named(some(drawn.ADVERTISEMENTS, drawn.advertisements)),
        aliases=some(drawn.ALIASES, st.just(CommunityValue((64500, 7)))),
        pools=some(drawn.POOLS, drawn.labels),
        services=some(drawn.SERVICES, drawn.services),
    )
    state = desired_state(inputs)
    for key, service in inputs.services.items():
        gets = {(route.address, route.peer) for route in routes_of(state, key)}
        assert {peer for _, peer in gets} == state.peers_of(key)
        for address in service.addresses:
            for peer in inputs.peers:
                found = obstacle(inputs, state, key, address, peer)
                assert (found is None) == ((address, peer) in gets), (key, address, peer, found)

"""Whatever field of a BGPPeer is edited: what resets its session waits for the node's turn, and nothing else ends."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from allocator.bgp.desired import Desired, Difference
from allocator.bgp.frr_config import Key, Line
from allocator.bgp.inputs import Peer
from allocator.bgp.neighbor_changes import RESETS_WHEN_SET
from allocator.bgp.object_values import peer_value
from allocator.bgp.rendering import render
from allocator.bgp.route_class import Attributes, Contribution, merged, prefix_of
from allocator.core.addresses import Address
from allocator.rules.bgp_session_resets import resetting_fields
from speaker.bgp.events import Resetting
from tests.unit.bgp.test_announced_resets import ELSEWHERE, edited, read
from tests.unit.commands.bgp_manifests import peer
from tests.unit.rules.bgp_objects import PEER_FIELDS, sound_peers
from tests.unit.speaker.bgp.applying_node import Node
from tests.unit.speaker.bgp.vty_daemons import vty_daemons

ONE, TWO = (prefix_of(Address.parse(each), 32) for each in ("198.51.100.1", "198.51.100.2"))
PLAIN, MARKED = (merged([Contribution(Attributes(communities=each))]) for each in (frozenset(), frozenset({(1, 2)})))
STAYS = RESETS_WHEN_SET | {"bfd"}


@contextmanager
def a_node() -> Iterator[Node]:
    with tempfile.TemporaryDirectory() as folder, vty_daemons(Path(folder)) as daemons:
        node = Node(daemons)
        try:
            yield node
        finally:
            node.applying.close()


def session(node: Node, value: Peer) -> dict[Key, Line]:
    """What FRR has of it that no other one may become without a reset."""
    here = node.applying.present
    lines = {key: line for key, line in here.under("neighbor", value.vrf, value.id).items() if key[-1] in STAYS}
    return {**lines, ("router",): here.lines["router", value.vrf]}


@pytest.mark.parametrize("alone", [True, False])
@pytest.mark.parametrize("field", sorted(PEER_FIELDS.keys() - ELSEWHERE))
@given(st.data())
@settings(max_examples=4, deadline=None)
def test_edit_that_resets_waits_for_the_turn(field: str, alone: bool, data: st.DataObject) -> None:
    document = data.draw(st.one_of(sound_peers(), st.just(peer("tor", bfdProfile="fast", routerID="10.0.0.1"))))
    one, other = read(document), read(edited(document, field, data.draw(PEER_FIELDS[field])))
    if one is None or other is None or other.shutdown:
        return  # what is shut down ends for good, and waits for nobody
    assert_paced(peer_value(one), peer_value(other), alone=alone, resets=bool(resetting_fields(one, other)))


@pytest.mark.parametrize("alone", [True, False])
@pytest.mark.parametrize(
    "edit",
    [{"vrf": "red"}, {"vrf": "red", "my_asn": 64999}, {"vrf": "red", "address": Address.parse("192.0.2.7")}],
)
def test_move_to_another_vrf_waits_for_the_turn(edit: dict[str, object], alone: bool) -> None:
    found = read(peer("tor"))
    assert found is not None
    before = peer_value(found)
    assert_paced(before, replace(before, **edit), alone=alone, resets=True)  # type: ignore[arg-type]


def assert_paced(before: Peer, after: Peer, *, alone: bool, resets: bool) -> None:
    def beside(value: Peer, asn_of: Peer) -> list[Peer]:
        address = Address.parse("203.0.113.77")
        same = {"vrf": before.vrf, "my_asn": asn_of.my_asn, "router_id": asn_of.router_id}
        plain = Peer(name="beside", peer_asn=64777, address=address, **same)  # type: ignore[arg-type]
        return [value] if alone else [value, plain]

    wanted = beside(after, after if after.vrf == before.vrf else before)
    with a_node() as node:
        node.want(*beside(before, before))
        node.rendering.update(Difference(prefixes={ONE: PLAIN}))
        node.applying.apply()
        present = session(node, before)
        node.permitted = False
        node.events.clear()
        withheld = node.want(*wanted).withheld
        node.rendering.update(Difference(prefixes={ONE: None, TWO: MARKED}))
        node.applying.apply()
        assert bool(withheld) is resets
        moved = (before.vrf, before.id) != (after.vrf, after.id)
        assert [each.peer for each in withheld if each.peer] == [before.name] * moved
        assert [event for event in node.events if isinstance(event, Resetting)] == []
        if resets:
            assert session(node, before) == present
            assert {prefix for vrf, prefix in node.applying.present.networks if vrf == before.vrf} <= {TWO}
        node.permitted = True
        assert node.want(*wanted).withheld == ()
        whole = render(Desired({each.name: each for each in wanted}, {}, {TWO: MARKED}), node.applying.present)
        assert node.applying.present == whole

"""What admission says of a change of a BGPPeer is what the driver's commands are classed as."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from allocator.bgp.changes import changes
from allocator.bgp.desired import Desired
from allocator.bgp.object_values import peer_value
from allocator.bgp.rendering import render
from allocator.objects.bgp_peer import Peer, peer_from
from allocator.objects.document import InvalidDocument
from allocator.rules.bgp_session_resets import resetting_fields
from tests.unit.commands.bgp_manifests import peer
from tests.unit.commands.manifests import Object
from tests.unit.rules.bgp_objects import PEER_FIELDS, sound_peers

INSTEAD_OF = {"dynamicASN": "peerASN", "interface": "peerAddress", "ttlSecurityHops": "ebgpMultiHop"}
ELSEWHERE = {"nodeSelectors", "passwordSecret", "disableMP"}
"""Where sessions are, a value that this node has to read first, and what has no effect."""


def desired(value: Peer) -> Desired:
    return Desired({value.name: peer_value(value)}, {}, {})


def resets(before: Peer, after: Peer) -> bool:
    """Whether the commands from one to the other end the session."""
    present = render(desired(before))
    return any(command.resets for command in changes(present, render(desired(after), present)))


def edited(document: Object, field: str, value: Any) -> Object:
    spec = {key: one for key, one in document["spec"].items() if key != INSTEAD_OF.get(field)}
    return {**document, "spec": {**spec, field: value}}


def read(document: Object) -> Peer | None:
    try:
        return peer_from(document)
    except InvalidDocument:
        return None


@pytest.mark.parametrize("field", sorted(PEER_FIELDS.keys() - ELSEWHERE))
@given(st.data())
@settings(max_examples=25)
def test_the_field_is_named_exactly_where_its_session_is_reset(field: str, data: st.DataObject) -> None:
    document = data.draw(st.one_of(sound_peers(), st.just(peer("tor", bfdProfile="fast", routerID="10.0.0.1"))))
    changed = edited(document, field, data.draw(PEER_FIELDS[field]))
    before, after = read(document), read(changed)
    if before is None or after is None:
        return
    assert bool(resetting_fields(before, after)) is resets(before, after)

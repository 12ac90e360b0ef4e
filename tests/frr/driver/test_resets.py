"""What FRR does to a session at each edit of its peer: exactly what the commands were classed as."""

from __future__ import annotations

import time
from typing import Any

import pytest

from allocator.bgp.desired import Difference
from allocator.bgp.inputs import BFDProfile, Password
from allocator.core.addresses import Address
from allocator.objects.bgp_peer import DynamicAsn
from speaker.bgp.events import Rejected, Resetting
from tests.frr.driver.bed import Bed, numbered_peer

SETTLED_SECONDS = 1.5
LATE_SECONDS = 150.0
"""A first attempt that meets a busy router is made again after FRR's own 120 s."""

EDITS: dict[str, tuple[dict[str, Any], dict[str, Any], bool]] = {
    "description": ({}, {"description": "rack 4"}, False),
    "description gone": ({"description": "rack 4"}, {}, False),
    "timers": ({}, {"keepalive_seconds": 5, "hold_seconds": 15}, False),
    "timers gone": ({"keepalive_seconds": 5, "hold_seconds": 15}, {}, False),
    "connect time": ({}, {"connect_seconds": 7}, False),
    # Set once the session is up: 10.3 may hold back a session whose BFD has no answer, as none has here.
    "bfd": ({}, {"bfd_profile": "one"}, False),
    "port": ({}, {"port": 1790}, True),
    "password": ({}, {"password": Password("secret")}, True),
    "source address": ({}, {"source_address": Address.parse("10.0.2.1")}, True),
    "source address gone": ({}, {"source_address": None}, True),
    "multihop": ({}, {"ebgp_multihop": True}, True),
    "multihop becomes ttl security": ({"ebgp_multihop": True}, {"ttl_security_hops": 2}, True),
    "multihop gone": ({"ebgp_multihop": True}, {}, True),
    "ttl security": ({}, {"ttl_security_hops": 1}, True),
    "graceful restart": ({}, {"graceful_restart": True}, True),
    "graceful restart gone": ({"graceful_restart": True}, {}, True),
    "restart time": ({"graceful_restart": True}, {"graceful_restart": True, "restart_seconds": 60}, False),
    "restart time gone": (
        {"graceful_restart": True, "restart_seconds": 60},
        {"graceful_restart": True},
        False,
    ),
    "local ASN": ({}, {"local_asn": 64999}, True),
    "peer ASN": ({}, {"peer_asn": DynamicAsn.EXTERNAL}, True),
    "family": ({}, {"dual_stack": True}, True),
    "family gone": ({"dual_stack": True}, {}, True),
    "shutdown": ({}, {"shutdown": True}, True),
}
"""A peer's fields before and after, and whether the session ends."""


@pytest.mark.timeout(300)
def test_each_edit_does_to_its_own_session_what_it_was_classed_as(site: Bed) -> None:
    """All sessions at once, so that each edit is also one of another peer for all the others."""
    peers = {name: numbered_peer(index, **before) for index, (name, (before, _, _)) in enumerate(EDITS.items())}
    profiles = {name: BFDProfile(name=name) for name in ("one", "two")}
    sessions = {peer.name: peer for peer in peers.values()}
    here = site.applying
    here.rendering.update(Difference(sessions, profiles))
    here.applying.apply()
    here.wait_established([peer.id for peer in peers.values()], LATE_SECONDS)
    for index, (name, (_, after, resets)) in enumerate(EDITS.items()):
        before = here.drops()
        sessions = {**sessions, peers[name].name: numbered_peer(index, **after)}
        here.events.clear()
        here.rendering.update(Difference(sessions))
        here.applying.apply()
        classed = [each for event in here.events if isinstance(event, Resetting) for each in event.resets]
        assert not [event for event in here.events if isinstance(event, Rejected)], here.events
        assert [(each.vrf, each.neighbor) for each in classed] == [("", peers[name].id)] * len(classed)
        assert bool(classed) is resets, (name, here.events)
        time.sleep(0.05)
        dropped = {neighbor for neighbor, count in here.drops().items() if count != before.get(neighbor, 0)}
        assert dropped <= {peers[name].id}, name
    time.sleep(SETTLED_SECONDS)
    ended = {name for name, peer in peers.items() if here.drops()[peer.id]}
    assert ended == {name for name, (_, _, resets) in EDITS.items() if resets}

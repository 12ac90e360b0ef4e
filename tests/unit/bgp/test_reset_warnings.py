"""What admission warns of is what the commands do: a field resets sessions for both or for neither."""

from __future__ import annotations

from dataclasses import replace

import pytest

from allocator.bgp.changes import changes
from allocator.bgp.desired import Desired
from allocator.bgp.inputs import LocalNode, Password
from allocator.bgp.object_values import peer_value
from allocator.bgp.rendering import render
from allocator.bgp.sessions import sessions
from allocator.core.addresses import Address
from allocator.objects.bgp_peer import DynamicAsn, Peer
from allocator.objects.bgp_timers import Timers
from allocator.rules.bgp_session_resets import resetting_fields

PEER = Peer(name="tor", my_asn=64500, remote=64501, address=Address.parse("192.0.2.1"))
SIX = replace(PEER, address=Address.parse("2001:db8::1"))
NODE = LocalNode(name="node-1", ipv4="192.0.2.100")


def resets(before: Peer, after: Peer) -> bool:
    """Whether the commands from one to the other reset a session."""
    present, wanted = (
        render(
            Desired(
                sessions(
                    [peer_value(each, secret=Password(each.password_secret) if each.password_secret else None)], NODE
                ).running
            )
        )
        for each in (before, after)
    )
    return any(command.resets for command in changes(present, wanted))


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (PEER, replace(PEER, my_asn=64502)),
        (PEER, replace(PEER, remote=64502)),
        (PEER, replace(PEER, remote=DynamicAsn.EXTERNAL)),
        (PEER, replace(PEER, local_asn=64999)),
        (PEER, SIX),
        (PEER, replace(PEER, address=None, interface="eth0")),
        (PEER, replace(PEER, vrf="red")),
        (PEER, replace(PEER, port=1790)),
        (PEER, replace(PEER, source=Address.parse("192.0.2.9"))),
        (PEER, replace(PEER, router_id=Address.parse("192.0.2.9"))),
        (PEER, replace(PEER, password="secret")),
        (replace(PEER, password="secret"), PEER),
        (replace(PEER, password_secret="one"), replace(PEER, password_secret="two")),
        (PEER, replace(PEER, bfd_profile="fast")),
        (replace(PEER, bfd_profile="fast"), replace(PEER, bfd_profile="slow")),
        (replace(PEER, bfd_profile="fast"), PEER),
        (PEER, replace(PEER, graceful_restart=True)),
        (replace(PEER, graceful_restart=True), PEER),
        (PEER, replace(PEER, timers=Timers(hold_seconds=9, keepalive_seconds=3))),
        (PEER, replace(PEER, timers=Timers(connect_seconds=3))),
        (
            replace(PEER, graceful_restart=True),
            replace(PEER, graceful_restart=True, timers=Timers(restart_seconds=60)),
        ),
        (PEER, replace(PEER, multi_hop=True)),
        (SIX, replace(SIX, multi_hop=True)),
        (PEER, replace(PEER, ttl_security_hops=1)),
        (PEER, replace(PEER, dual_stack=True)),
        (PEER, replace(PEER, shutdown=True)),
        (PEER, replace(PEER, description="rack 4")),
    ],
)
def test_field_resets_for_both_or_for_neither(before: Peer, after: Peer) -> None:
    assert bool(resetting_fields(before, after)) is resets(before, after)

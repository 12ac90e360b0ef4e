"""To which addresses of a node its heartbeats go."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, closing
from dataclasses import replace

import pytest

from allocator.core.addresses import Address
from speaker.membership.link import Link, Subnet
from speaker.membership.transport import HeartbeatSocket
from tests.unit.speaker.test_sources import free_port

OWN, USUAL, OTHER = "127.0.0.1", "127.0.1.2", "127.0.2.2"
LAN = Link(name="eth0", mac=bytes(6), subnets=(Subnet.parse("127.0.1.0/24"),))
STORAGE = Link(name="eth1", mac=bytes(6), subnets=(Subnet.parse("127.0.2.0/24"),))
BRIDGE = Link(name="br-1", mac=bytes(6), subnets=(Subnet.parse("172.18.0.0/16"),))
UPLINK = Link(name="eth2", mac=bytes(6), default_route=True)


@pytest.fixture
def sockets() -> Iterator[dict[str, HeartbeatSocket]]:
    port = free_port()
    with ExitStack() as stack:
        found = {name: stack.enter_context(closing(HeartbeatSocket(port, name))) for name in (OWN, USUAL, OTHER)}
        for transport in found.values():
            transport.bind()
        yield found


def lost(link: Link) -> Link:
    return replace(link, lost=True)


@pytest.mark.parametrize("stated", [False, True], ids=["by its Lease", "by its own heartbeats"])
@pytest.mark.parametrize(
    ("links", "ways"),
    [
        ((LAN, STORAGE), {USUAL}),
        ((lost(LAN), STORAGE), {USUAL, OTHER}),
        ((LAN, lost(STORAGE)), {USUAL}),
        ((LAN, STORAGE, lost(BRIDGE)), {USUAL}),
        ((LAN, STORAGE, lost(UPLINK)), {USUAL}),
        ((STORAGE, UPLINK), {USUAL}),
        ((STORAGE, lost(UPLINK)), {USUAL, OTHER}),
        ((), {USUAL}),
    ],
    ids=[
        "all is well",
        "the interface in its subnet is lost",
        "another is",
        "a container network's bridge is",
        "the default route's is, which does not lead there",
        "it is reached by the default route",
        "which is lost",
        "no interface is known",
    ],
)
def test_a_node_is_reached_at_its_first_address_unless_the_way_there_is_lost(
    sockets: dict[str, HeartbeatSocket], links: tuple[Link, ...], ways: set[str], *, stated: bool
) -> None:
    transport = sockets[OWN]
    if stated:
        transport.set_addresses({"node": [USUAL]})
        transport.set_stated("node", (Address.parse(OTHER), Address.parse(USUAL)))
    else:
        transport.set_addresses({"node": [USUAL, OTHER]})
    transport.set_links(links)
    transport.put("node", b"heartbeat", in_trouble=False, met=True)
    transport.flush()
    assert {name for name in (USUAL, OTHER) if sockets[name].receive(10)} == ways


def test_a_node_in_trouble_is_answered_at_an_address_that_only_it_has_stated(
    sockets: dict[str, HeartbeatSocket],
) -> None:
    transport = sockets[OWN]
    transport.set_addresses({"node": [USUAL]})
    transport.heard("node", OTHER)
    transport.set_stated("node", (Address.parse(USUAL), Address.parse(OTHER)))
    transport.heard("node", OTHER)
    transport.set_addresses({"node": [USUAL]})
    transport.put("node", b"heartbeat", in_trouble=True, met=True)
    transport.flush()
    assert {name for name in (USUAL, OTHER) if sockets[name].receive(10)} == {OTHER}
    transport.set_addresses({})
    transport.set_addresses({"node": [USUAL]})
    transport.put("node", b"heartbeat", in_trouble=True, met=True)
    transport.flush()
    assert {name for name in (USUAL, OTHER) if sockets[name].receive(10)} == {USUAL}, "another node of the name"


def test_what_a_node_has_stated_is_expected_as_a_source(sockets: dict[str, HeartbeatSocket]) -> None:
    transport = sockets[OWN]
    transport.set_addresses({"node": [USUAL]})
    assert not transport.expects(OTHER)
    transport.set_stated("stranger", (Address.parse(OTHER),))
    assert not transport.expects(OTHER)
    transport.set_stated("node", (Address.parse(OTHER),))
    assert transport.expects(OTHER)

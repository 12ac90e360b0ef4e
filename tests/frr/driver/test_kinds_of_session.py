"""Each kind of session comes up with a router and carries the prefixes of its families."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from allocator.bgp.desired import Difference
from allocator.bgp.inputs import Password, Peer
from allocator.bgp.route_class import Attributes, Contribution, merged, prefix_of
from allocator.core.addresses import Address, Family
from allocator.objects.bgp_peer import DynamicAsn
from tests.frr.driver.bed import NODE_ASN, ROUTER_ASN, Bed, numbered_peer, vtysh
from tests.lab.waiting import wait_until

SECONDS = 40.0
PREFIXES = (prefix_of(Address.parse("198.51.100.7"), 32), prefix_of(Address.parse("2001:db8:7::7"), 128))
PLAIN = merged([Contribution(Attributes())])
SECRET = "s3cret"

SIX = Peer(
    name="six",
    my_asn=NODE_ASN,
    peer_asn=ROUTER_ASN,
    address=Address.parse("2001:db8:b::2"),
    router_id="10.0.1.1",
    connect_seconds=1,
)
UNNUMBERED = Peer(
    name="unnumbered",
    my_asn=NODE_ASN,
    peer_asn=DynamicAsn.EXTERNAL,
    interface="eth1",
    router_id="10.0.1.1",
    connect_seconds=1,
)
KINDS: dict[str, tuple[Peer, str, tuple[str, ...]]] = {
    "IPv6": (SIX, "2001:db8:b::1", ()),
    "unnumbered": (UNNUMBERED, "eth0", ("interface remote-as external",)),
    "password": (numbered_peer(24, password=Password(SECRET)), "10.0.2.225", (f"password {SECRET}",)),
    "TTL security": (numbered_peer(25, ttl_security_hops=1), "10.0.2.226", ("ttl-security hops 1",)),
    "multihop": (numbered_peer(26, ebgp_multihop=True), "10.0.2.227", ()),
    "dual stack": (numbered_peer(27, dual_stack=True), "10.0.2.228", ()),
    "another local AS": (numbered_peer(28, local_asn=64999), "10.0.2.229", ("remote-as 64999",)),
}
"""The peer, the node as the router has it, and what the router is told of it beside what it has."""


@pytest.fixture
def routed(site: Bed) -> Iterator[Bed]:
    """The router takes every kind, and is as before afterwards."""
    start = ("end", "configure terminal", f"router bgp {ROUTER_ASN}")
    told = [f"neighbor {node} {line}" for _, node, lines in KINDS.values() for line in lines]
    vtysh(site.router, *start, *told, "address-family ipv6 unicast", "neighbor eth0 activate", "end")
    yield site
    back = [f"no neighbor {node} {line.split()[0]}" for _, node, lines in KINDS.values() for line in lines[:1]]
    undone = [
        "no neighbor eth0 interface",
        *(line for line in back if "eth0" not in line and "remote-as" not in line),
    ]
    vtysh(site.router, *start, *undone, f"neighbor 10.0.2.229 remote-as {NODE_ASN}", "end")


def received(site: Bed, node: str) -> dict[Family, int]:
    """How many prefixes the router took from the node, by family of those that both sides agreed on."""
    found = site.router_show(f"show bgp neighbors {node} json").get(node, {})
    families = found.get("addressFamilyInfo") or {}
    names = {Family.IPV4: "ipv4Unicast", Family.IPV6: "ipv6Unicast"}
    return {family: families.get(name, {}).get("acceptedPrefixCounter", 0) for family, name in names.items()}


def carried(peer: Peer) -> dict[Family, int]:
    return {family: int(family in peer.families) for family in Family}


def test_each_kind_of_session_carries_the_prefixes_of_its_families(routed: Bed) -> None:
    here = routed.applying
    sessions = {peer.name: peer for peer, _, _ in KINDS.values()}
    here.rendering.update(Difference(sessions, {}, dict.fromkeys(PREFIXES, PLAIN)))
    here.applying.apply()
    here.wait_established([peer.id for peer, _, _ in KINDS.values()], SECONDS)
    for kind, (peer, node, _) in KINDS.items():
        wait_until(
            lambda peer=peer, node=node: received(routed, node) == carried(peer),  # type: ignore[misc]
            SECONDS,
            f"the router has what it is to have by {kind}",
        )

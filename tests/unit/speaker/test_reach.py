"""Which interfaces have a say about an address."""

from __future__ import annotations

import pytest

from allocator.core.addresses import Address
from speaker.cluster.scope import EVERYWHERE, Scope
from speaker.election.reach import reach
from speaker.membership.link import Link, Subnet

LAN = (Subnet.parse("192.0.2.0/24"), Subnet.parse("2001:db8::/64"))
VIP4, VIP6 = Address.parse("192.0.2.100"), Address.parse("2001:db8::100")


def link(name: str, *, ipv6: bool = True, lost: bool = False, subnets: tuple[Subnet, ...] = LAN) -> Link:
    return Link(name=name, mac=bytes(6), ipv6=ipv6, lost=lost, subnets=subnets, default_route=True)


@pytest.mark.parametrize("scope", [EVERYWHERE, Scope(frozenset({"eth0"}))])
def test_an_interface_without_ipv6_is_no_candidate_for_an_ipv6_address(scope: Scope) -> None:
    without = [link("eth0", ipv6=False)]
    assert not reach(VIP6, scope, without).possible
    assert not reach(VIP6, scope, without).subnet
    assert reach(VIP4, scope, without).possible
    assert reach(VIP4, scope, without).subnet


def test_that_it_lost_its_link_does_not_matter_to_an_ipv6_address_either() -> None:
    links = [link("eth0", ipv6=False, lost=True), link("eth1")]
    assert not reach(VIP6, EVERYWHERE, links).lost
    assert reach(VIP4, EVERYWHERE, links).lost

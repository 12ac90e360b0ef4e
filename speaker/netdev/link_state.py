"""Which of this node's interfaces can announce, and which could until something happened to them."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable

from allocator.core.addresses import Address
from speaker.membership.link import Link, Subnet
from speaker.membership.transport import known_addresses
from speaker.netdev.interfaces import Interface, announcing

_ADDRESSES_ADVERTISED = 8
MOST_SUBNETS = 64
MOST_ADDRESSES = 128
"""Of one interface, both: other programs may give it hundreds, and speakers count them in a byte."""
MOST_LEASED = 256
"""Subnets of all interfaces in a Lease: no more are read, and the API server refuses very long annotations."""


class LinkMemory:
    """Remembers what once could announce. Owned by whoever serialises the calls.

    An interface that never had a carrier is a spare; one that lost it, or was taken down, is trouble, as long as it
    is there at all: one that was removed, or was put into a bridge or bond, was not lost but changed. Of one that is
    lost the last subnets and the default route stay known: the kernel takes some of them off with the link.
    """

    def __init__(self) -> None:
        self._once: dict[str, Link] = {}

    def links(self, interfaces: Iterable[Interface]) -> tuple[Link, ...]:
        """Return the interfaces to advertise to the other speakers, by name."""
        present = {interface.name: interface for interface in interfaces}
        usable = {interface.name for interface in announcing(present.values())}
        self._once = {
            name: _link(interface) if name in usable else _lost(interface, self._once[name])
            for name, interface in sorted(present.items())
            if name in usable or (name in self._once and interface.speaks_arp)
        }
        return tuple(self._once.values())


def _link(interface: Interface) -> Link:
    return Link(
        name=interface.name,
        mac=interface.mac,
        subnets=_widest(interface.subnets),
        addresses=_addresses(interface),
        default_route=interface.default_route,
        ipv6=interface.ipv6,
    )


def _addresses(interface: Interface) -> tuple[Address, ...]:
    """Those at which other nodes of its subnets reach it."""
    found = (
        Address.parse(address)
        for address in known_addresses(interface.addresses)
        if not ipaddress.ip_address(address).is_link_local
    )
    return tuple(sorted(address for address in found if any(address in subnet for subnet in interface.subnets)))[
        :MOST_ADDRESSES
    ]


def _widest(subnets: Iterable[Subnet], at_most: int = MOST_SUBNETS) -> tuple[Subnet, ...]:
    """As many as are advertised, in order: what a narrow one holds lies in a wider one, most often."""
    return tuple(sorted(sorted(subnets, key=lambda each: (each.length, each))[:at_most]))


def _lost(interface: Interface, before: Link) -> Link:
    return Link(
        name=interface.name,
        mac=interface.mac,
        lost=True,
        subnets=_widest({*interface.subnets, *before.subnets}),
        default_route=interface.default_route or before.default_route,
        ipv6=interface.ipv6,
    )


def reachable_at(interfaces: Iterable[Interface]) -> tuple[str, ...]:
    """Return the addresses at which other nodes may reach this one: those of its LANs, carrier or not."""
    found = {
        ipaddress.ip_address(address)
        for interface in interfaces
        if interface.may_announce
        for address in interface.addresses
    }
    usable = [address for address in found if not (address.is_link_local or address.is_loopback)]
    return tuple(
        map(str, sorted(usable, key=lambda address: (address.version, int(address)))[:_ADDRESSES_ADVERTISED])
    )


def subnets_of(interfaces: Iterable[Interface]) -> tuple[str, ...]:
    """Return the subnets of the interfaces that can announce, carrier or not; of very many the widest."""
    usable = (each for each in interfaces if each.may_announce)
    return tuple(map(str, _widest({subnet for each in usable for subnet in each.subnets}, MOST_LEASED)))

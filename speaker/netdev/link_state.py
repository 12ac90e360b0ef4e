"""Which of this node's interfaces can announce, and which could until something happened to them."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable

from speaker.membership.state_sync import Link
from speaker.netdev.interfaces import EXCLUDED_NAMES, Interface, announcing

_ADDRESSES_TOLD = 8


class LinkMemory:
    """Remembers what once could announce. Owned by whoever serialises the calls.

    An interface that never had a carrier is a spare; one that lost it, or was taken down, is trouble, as long as it
    is there at all: one that was removed, or was put into a bridge or bond, was not lost but changed.
    """

    def __init__(self) -> None:
        self._once: set[str] = set()

    def links(self, interfaces: Iterable[Interface]) -> tuple[Link, ...]:
        """Return the interfaces to tell the other speakers about, by name."""
        present = {interface.name: interface for interface in interfaces}
        usable = {interface.name for interface in announcing(present.values())}
        self._once = {name for name in self._once | usable if name in present and present[name].speaks_arp}
        return tuple(
            Link(name=name, mac=present[name].mac, lost=name not in usable) for name in sorted(self._once | usable)
        )


def reachable_at(interfaces: Iterable[Interface]) -> tuple[str, ...]:
    """Return the addresses at which other nodes may reach this one: those of its LANs, carrier or not."""
    excluded = re.compile("|".join(EXCLUDED_NAMES))
    found = {
        ipaddress.ip_address(address)
        for interface in interfaces
        if interface.speaks_arp and not excluded.search(interface.name)
        for address in interface.addresses
    }
    usable = [address for address in found if not (address.is_link_local or address.is_loopback)]
    return tuple(map(str, sorted(usable, key=lambda address: (address.version, int(address)))[:_ADDRESSES_TOLD]))

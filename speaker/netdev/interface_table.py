"""The node's links, their addresses and its default routes, from the kernel's messages about them."""

from __future__ import annotations

import re
import socket
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from struct import Struct

from allocator.core.addresses import Address, AddressError, Family
from speaker.membership.link import Subnet
from speaker.netdev import netlink
from speaker.netdev.interfaces import Interface
from speaker.netdev.netlink import Kind, Message, attributes

# linux/if_link.h
_IFLA_ADDRESS, _IFLA_IFNAME, _IFLA_MASTER, _IFLA_LINKINFO, _IFLA_AF_SPEC = 1, 3, 10, 18, 26
_IFLA_INFO_KIND, _IFLA_INET6_CONF, _DEVCONF_DISABLE_IPV6 = 1, 2, 26
# linux/if_addr.h
_IFA_ADDRESS, _IFA_LOCAL, _IFA_FLAGS, _IFA_F_DADFAILED = 1, 2, 8, 0x8
# linux/rtnetlink.h
_RTA_OIF, _RTA_MULTIPATH, _RTN_UNICAST, _RT_TABLE_MAIN = 4, 9, 1, 254
_NEXT_HOP = Struct("=HBBi")
_NUMBER = Struct("=I")
_CONFIGURATION = Struct("=i")

_MAC_BYTES = 6
_FAMILIES: Mapping[int, Family] = {socket.AF_INET: Family.IPV4, socket.AF_INET6: Family.IPV6}


@dataclass(frozen=True, slots=True)
class _Entry:
    """One address of a link: as text unless another host has it (duplicate address detection), and its subnet."""

    text: str | None
    subnet: Subnet | None


class InterfaceTable:
    """What is known of the links. Owned by one thread.

    Of links that can never announce (excluded by name, no Ethernet, dummies) the addresses are neither asked for nor
    kept: kube-proxy gives kube-ipvs0 one for every Service.
    """

    def __init__(self, excluded: Iterable[str]) -> None:
        """`excluded` are regular expressions; a link whose name matches one anywhere does not announce."""
        self._patterns = [re.compile(pattern) for pattern in excluded]
        self._links: dict[int, Interface] = {}
        self._addresses: dict[int, dict[bytes, _Entry]] = {}
        self._default_routes: frozenset[int] = frozenset()

    def replace_links(self, listed: Iterable[Message]) -> None:
        """Know exactly these links, and of their addresses nothing yet."""
        self._links.clear()
        self._addresses.clear()
        for message in listed:
            self.apply_link(message)

    def apply_link(self, message: Message) -> None:
        """Follow a link that is new, changed or gone."""
        family, hardware, index, flags, _ = netlink.LINK.unpack_from(message.body)
        if family != socket.AF_UNSPEC:
            return
        if message.kind == Kind.DELETE_LINK:
            self._links.pop(index, None)
            self._addresses.pop(index, None)
            return
        found = attributes(message.body, netlink.LINK.size)
        name = found.get(_IFLA_IFNAME, b"").rstrip(b"\0").decode(errors="replace")
        mac = found.get(_IFLA_ADDRESS, b"")
        # Tunnels have addresses of other lengths, or none; a message without a name is about something else.
        if not name or len(mac) != _MAC_BYTES:
            return
        master = found.get(_IFLA_MASTER)
        self._links[index] = Interface(
            index=index,
            name=name,
            mac=mac,
            hardware=hardware,
            flags=flags,
            kind=attributes(found.get(_IFLA_LINKINFO, b"")).get(_IFLA_INFO_KIND, b"").rstrip(b"\0").decode(),
            master=None if master is None else _NUMBER.unpack_from(master)[0],
            ipv6=_has_ipv6(found),
            excluded=any(pattern.search(name) for pattern in self._patterns),
        )

    def announcers(self) -> frozenset[int]:
        """The indexes of the links that can announce, or could if they were up."""
        return frozenset(index for index, link in self._links.items() if link.may_announce)

    def replace_addresses(self, index: int, listed: Iterable[Message]) -> None:
        """Know exactly those of the addresses that are this link's."""
        self._addresses[index] = {}
        for message in listed:
            self._apply_address(message, {index})

    def apply_address(self, message: Message) -> None:
        """Follow an address that is new, changed or gone."""
        self._apply_address(message, self._addresses.keys())

    def forget_addresses(self, indexes: Iterable[int]) -> None:
        """Keep no addresses of these links any more."""
        for index in indexes:
            self._addresses.pop(index, None)

    def replace_default_routes(self, listed: Iterable[Message]) -> None:
        """Know exactly the default routes among these."""
        found: set[int] = set()
        for message in listed:
            found |= _default_route(message.body)
        self._default_routes = frozenset(found)

    def interfaces(self) -> tuple[Interface, ...]:
        """Return every link that has an Ethernet address, by index."""
        return tuple(self._interface(self._links[index]) for index in sorted(self._links))

    def _interface(self, link: Interface) -> Interface:
        entries = self._addresses.get(link.index)
        default_route = link.index in self._default_routes
        if not entries:
            return replace(link, default_route=default_route) if default_route else link
        return replace(
            link,
            addresses=frozenset(entry.text for entry in entries.values() if entry.text is not None),
            subnets=frozenset(entry.subnet for entry in entries.values() if entry.subnet is not None),
            default_route=default_route,
        )

    def _apply_address(self, message: Message, wanted: Iterable[int]) -> None:
        family, length, flags, _, index = netlink.ADDRESS.unpack_from(message.body)
        if index not in wanted or family not in _FAMILIES:
            return
        found = attributes(message.body, netlink.ADDRESS.size)
        subnet_of = found.get(_IFA_ADDRESS, b"")
        local = found.get(_IFA_LOCAL, subnet_of)
        key = bytes((family, length)) + local + subnet_of
        if message.kind == Kind.DELETE_ADDRESS:
            self._addresses[index].pop(key, None)
            return
        if len(local) != _FAMILIES[family].bits // 8:
            return
        if _IFA_FLAGS in found:
            (flags,) = _NUMBER.unpack_from(found[_IFA_FLAGS])
        text = None if flags & _IFA_F_DADFAILED else str(_address(family, local))
        self._addresses[index][key] = _Entry(text, _subnet(_address(family, subnet_of or local), length))


def _has_ipv6(link: Mapping[int, bytes]) -> bool:
    """Whether the kernel has IPv6 on the link: not where it was disabled, nor where the kernel has none at all."""
    state = attributes(attributes(link.get(_IFLA_AF_SPEC, b"")).get(socket.AF_INET6, b""))
    configuration = state.get(_IFLA_INET6_CONF, b"")
    if len(configuration) < (_DEVCONF_DISABLE_IPV6 + 1) * _CONFIGURATION.size:
        return False
    return not _CONFIGURATION.unpack_from(configuration, _DEVCONF_DISABLE_IPV6 * _CONFIGURATION.size)[0]


def _address(family: int, value: bytes) -> Address:
    return Address(_FAMILIES[family], int.from_bytes(value, "big"))


def _subnet(address: Address, length: int) -> Subnet | None:
    """The subnet of an address; None for a link-local one: it is on every LAN."""
    if any(address in link_local for link_local in _LINK_LOCAL):
        return None
    try:
        return Subnet.parse(f"{address}/{length}")
    except AddressError:
        return None


_LINK_LOCAL = (Subnet.parse("169.254.0.0/16"), Subnet.parse("fe80::/10"))


def _default_route(body: bytes) -> set[int]:
    """The links to which the route leads, if it is a default route of the main table."""
    _, length, _, _, table, _, _, kind, _ = netlink.ROUTE.unpack_from(body)
    if length or table != _RT_TABLE_MAIN or kind != _RTN_UNICAST:
        return set()
    found = attributes(body, netlink.ROUTE.size)
    links = {int(_NUMBER.unpack(found[_RTA_OIF])[0])} if _RTA_OIF in found else set()
    hops = found.get(_RTA_MULTIPATH, b"")
    while len(hops) >= _NEXT_HOP.size:
        size, _, _, index = _NEXT_HOP.unpack_from(hops)
        links.add(index)
        hops = hops[max(size + -size % 4, _NEXT_HOP.size) :]
    return links

"""Which frames each of the speaker's sockets lets through: everything else stays in the kernel.

A filter may let a little more through than it should when addresses are many and scattered; the reader decides.
"""

from __future__ import annotations

import itertools
import socket
import sys
from collections.abc import Iterable
from functools import lru_cache

from allocator.core.addresses import Address, Family
from speaker.membership.link import Subnet
from speaker.netdev import bpf
from speaker.netdev.bpf import PacketType, Program
from speaker.netdev.netlink import Kind

_KEPT = 2
"""How many programs of each kind are kept: mostly the same addresses are answered for on every interface."""
_PREFIX_LIMIT = 8
"""How many different upper 96 bits of IPv6 addresses one program compares; each takes the room of four ranges."""

# Offsets from the Ethernet header on.
_ARP_HARDWARE_AND_PROTOCOL, _ARP_SIZES_AND_OPERATION = 14, 18
_ARP_SIZES, _ARP_OPERATION = 18, 20
_ARP_SENDER, _ARP_TARGET = 28, 38
_IPV6_NEXT_HEADER, _ICMPV6_TYPE_AND_CODE, _NDP_TARGET = 20, 54, 62

# Offsets from an IP header on.
_IPV4_SOURCE, _IPV6_SOURCE = 12, 8

# Offsets from a netlink message's header on.
_MESSAGE_KIND, _FAMILY, _PREFIX, _CHANGED_LINK = 4, 16, 17, 20
_OWN_LINKS = (socket.AF_UNSPEC, socket.AF_INET6)
"""Not AF_BRIDGE: a port that leaves its bridge is there still, though such a message says that it is deleted."""

_BRIDGES_OWN = {0x0180_C200: range(0x10), 0x0100_0CCC: (0xCCCC, 0xCCCD)}
"""The first four bytes of a destination, and the last two."""

_IPV4_OVER_ETHERNET = 0x0001_0800
_SIX_AND_FOUR_BYTES = 0x0604
_REQUEST, _REPLY = 1, 2
_ICMPV6 = 58
_SOLICITATION, _ADVERTISEMENT = 135 << 8, 136 << 8


@lru_cache(maxsize=_KEPT)
def arp_requests_for(addresses: frozenset[Address]) -> Program:
    """Accept ARP requests for IPv4 over Ethernet, addressed to this host or broadcast, that ask for an address."""
    ranges = bpf.cover(addresses)
    if not ranges:
        return bpf.NOTHING
    return (
        *bpf.addressed_to(PacketType.BROADCAST, PacketType.HOST),
        *bpf.word_is(_ARP_HARDWARE_AND_PROTOCOL, _IPV4_OVER_ETHERNET),
        *bpf.word_is(_ARP_SIZES_AND_OPERATION, _SIX_AND_FOUR_BYTES << 16 | _REQUEST),
        *bpf.accept_words(_ARP_TARGET, ranges),
    )


@lru_cache(maxsize=_KEPT)
def arp_claims_of(addresses: frozenset[Address]) -> Program:
    """Accept ARP of either operation that calls an address the sender's own."""
    ranges = bpf.cover(addresses)
    if not ranges:
        return bpf.NOTHING
    return (
        *_all_arp(),
        *bpf.accept_words(_ARP_SENDER, ranges),
    )


@lru_cache(maxsize=_KEPT)
def solicitations_for(addresses: frozenset[Address]) -> Program:
    """Accept neighbour solicitations whose target is an address, sent to this host or to a group.

    Those behind extension headers are not seen: no implementation sends them, and RFC 6980 forbids the fragment
    header, which is what attackers used.
    """
    return _ndp_about(addresses, _SOLICITATION)


@lru_cache(maxsize=_KEPT)
def ndp_claims_of(addresses: frozenset[Address]) -> Program:
    """Accept neighbour advertisements whose target is an address."""
    return _ndp_about(addresses, _ADVERTISEMENT)


def arp() -> Program:
    """Accept ARP of either operation."""
    return (*_all_arp(), *bpf.EVERYTHING)


def advertisements() -> Program:
    """Accept neighbour advertisements."""
    return (*_all_ndp(_ADVERTISEMENT), *bpf.EVERYTHING)


def route_changes(indexes: Iterable[int]) -> Program:
    """Accept rtnetlink notifications of links, of addresses on the links of these indexes, and of default routes.

    A node's other addresses (kube-ipvs0 has one for every Service) and routes (one for every pod) wake nobody.
    """
    # The machine's own byte order, which BPF does not know: it reads every number as the network writes it.
    links = bpf.cover_values(_as_read(index, 4) for index in indexes)
    on_links = bpf.accept_words(_CHANGED_LINK, links) if links else bpf.NOTHING
    own_links = bpf.accept_bytes(_FAMILY, _OWN_LINKS)
    default_routes = bpf.accept_bytes(_PREFIX, (0,))
    return (
        *bpf.if_half_word(_MESSAGE_KIND, _kinds(Kind.NEW_LINK, Kind.DELETE_LINK), own_links),
        *bpf.if_half_word(_MESSAGE_KIND, _kinds(Kind.NEW_ADDRESS, Kind.DELETE_ADDRESS), on_links),
        *bpf.if_half_word(_MESSAGE_KIND, _kinds(Kind.NEW_ROUTE, Kind.DELETE_ROUTE), default_routes),
        *bpf.EVERYTHING,
    )


def _kinds(*kinds: Kind) -> list[int]:
    return [_as_read(kind, 2) for kind in kinds]


def _as_read(number: int, size: int) -> int:
    return int.from_bytes(number.to_bytes(size, sys.byteorder), "big")


def datagrams_from(subnets: Iterable[Subnet]) -> Program:
    """Accept what a UDP socket receives from an address of these subnets; of IPv6, what agrees in the first 32 bits.

    Many subnets are joined to fewer ranges that hold them all: the reader must still check each source.
    """
    ranges: dict[Family, list[tuple[int, int]]] = {family: [] for family in Family}
    for subnet in subnets:
        last = subnet.value | (1 << subnet.family.bits - subnet.length) - 1
        surplus = subnet.family.bits - 32
        ranges[subnet.family].append((subnet.value >> surplus, last >> surplus))
    ipv4, ipv6 = (
        bpf.accept_words(bpf.NETWORK + offset, bpf.cover_ranges(ranges[family])) if ranges[family] else bpf.NOTHING
        for family, offset in ((Family.IPV4, _IPV4_SOURCE), (Family.IPV6, _IPV6_SOURCE))
    )
    return (
        *bpf.if_byte(bpf.NETWORK, range(0x40, 0x50), ipv4),
        *bpf.if_byte(bpf.NETWORK, range(0x60, 0x70), ipv6),
        *bpf.NOTHING,
    )


def restrict(sock: socket.socket, subnets: Iterable[Subnet]) -> None:
    """Have a UDP socket receive only what comes from these subnets, as far as its filter can see. Raises OSError."""
    bpf.attach(sock, datagrams_from(subnets))


def forwarded() -> Program:
    """Accept what others sent through the switch: nothing to the group addresses that bridges keep for themselves.

    Those are IEEE 802.1D's (spanning tree, LACP, LLDP, pause) and Cisco's (CDP, per-VLAN spanning tree).
    """
    kept: Program = ()
    for first, seconds in _BRIDGES_OWN.items():
        kept += bpf.if_words(0, [first], bpf.if_half_word(4, seconds, bpf.NOTHING) + bpf.EVERYTHING)
    return (*bpf.addressed_to(*PacketType), *kept, *bpf.EVERYTHING)


def _all_arp() -> Program:
    """Drop all but ARP of either operation, for IPv4 over Ethernet, addressed to this host or broadcast."""
    return (
        *bpf.addressed_to(PacketType.BROADCAST, PacketType.HOST),
        *bpf.word_is(_ARP_HARDWARE_AND_PROTOCOL, _IPV4_OVER_ETHERNET),
        *bpf.half_word_is(_ARP_SIZES, _SIX_AND_FOUR_BYTES),
        *bpf.half_word_is(_ARP_OPERATION, _REQUEST, _REPLY),
    )


def _ndp_about(addresses: Iterable[Address], type_and_code: int) -> Program:
    accept = _accept_targets(addresses)
    if not accept:
        return bpf.NOTHING
    return (*_all_ndp(type_and_code), *accept)


def _all_ndp(type_and_code: int) -> Program:
    """Drop all but ICMPv6 of a type and code, addressed to this host or a group."""
    return (
        *bpf.addressed_to(PacketType.MULTICAST, PacketType.HOST),
        *bpf.byte_is(_IPV6_NEXT_HEADER, _ICMPV6),
        *bpf.half_word_is(_ICMPV6_TYPE_AND_CODE, type_and_code),
    )


def _accept_targets(addresses: Iterable[Address]) -> Program:
    by_prefix: dict[int, list[int]] = {}
    for address in addresses:
        by_prefix.setdefault(address.value >> 32, []).append(address.value & 0xFFFF_FFFF)
    last_word = _NDP_TARGET + 12
    if len(by_prefix) > _PREFIX_LIMIT:
        # Only the last 32 bits are compared: foreign addresses that share them with one of ours pass, too.
        return bpf.accept_words(last_word, bpf.cover_values(itertools.chain.from_iterable(by_prefix.values())))
    program: Program = ()
    for prefix, values in by_prefix.items():
        ranges = bpf.cover_values(values, limit=bpf.RANGE_LIMIT // len(by_prefix) - 4)
        words = (prefix >> 64, prefix >> 32 & 0xFFFF_FFFF, prefix & 0xFFFF_FFFF)
        program += bpf.if_words(_NDP_TARGET, words, bpf.accept_words(last_word, ranges))
    return (*program, *bpf.NOTHING) if program else ()

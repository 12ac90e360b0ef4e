"""One interface of a node as the other speakers know it."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass, replace
from typing import Self

from allocator.core.addresses import Address, AddressError, Family


@dataclass(frozen=True, slots=True, order=True)
class Subnet:
    """A network prefix: `value` is its first address, `length` the bits of the prefix."""

    family: Family
    value: int
    length: int

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read `address/length`; bits of the host are masked away. Raises AddressError."""
        base, _, length = text.partition("/")
        address = Address.parse(base)
        # int() refuses thousands of digits.
        if not (length.isascii() and length.isdigit() and len(length) <= 3 and int(length) <= address.family.bits):
            raise AddressError(text, "has no valid prefix length", f"use 0 to {address.family.bits}")
        host_bits = address.family.bits - int(length)
        return cls(address.family, address.value >> host_bits << host_bits, int(length))

    @property
    def last(self) -> int:
        """Its last address, as `value` is its first."""
        return self.value | (1 << self.family.bits - self.length) - 1

    def __contains__(self, address: Address) -> bool:
        host_bits = self.family.bits - self.length
        return self.family is address.family and address.value >> host_bits == self.value >> host_bits

    def __str__(self) -> str:
        return f"{Address(self.family, self.value)}/{self.length}"


@dataclass(frozen=True, slots=True, order=True, kw_only=True)
class Link:
    """An interface that can announce, or (`lost`) that could until its carrier or the link went.

    `addresses` are those it has, `subnets` theirs; `default_route` says that a default route leads out of it, `ipv6`
    that IPv6 is enabled on it. One that is `cut_off` has its carrier, but on its LAN other nodes hear each other and
    not this one (`lans`).
    """

    name: str
    mac: bytes
    lost: bool = False
    cut_off: bool = False
    subnets: tuple[Subnet, ...] = ()
    addresses: tuple[Address, ...] = ()
    default_route: bool = False
    ipv6: bool = True

    def carries(self, family: Family) -> bool:
        """Return whether addresses of the family can be announced on it."""
        return self.ipv6 or family is not Family.IPV6


def with_cut_off(links: Iterable[Link], names: Collection[str]) -> tuple[Link, ...]:
    """Return the links, exactly those of these names being cut off."""
    return tuple(
        link if link.cut_off == (link.name in names) else replace(link, cut_off=not link.cut_off) for link in links
    )

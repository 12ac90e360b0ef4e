"""Addresses and ranges as exact integers; nothing here ever enumerates a range."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass
from enum import StrEnum
from typing import Self


class Family(StrEnum):
    """An IP family, spelled as Kubernetes spells it in spec.ipFamilies."""

    IPV4 = "IPv4"
    IPV6 = "IPv6"

    @property
    def bits(self) -> int:
        """The width of an address."""
        return 32 if self is Family.IPV4 else 128


class AddressError(ValueError):
    """Text that is not an address or a range; the message says what is wrong and what would be right."""


@dataclass(frozen=True, slots=True, order=True)
class Address:
    """One IP address. Orders IPv4 before IPv6, then by value."""

    family: Family
    value: int

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read an address; refuses zone ids, IPv4-mapped IPv6 and leading zeros. Raises AddressError."""
        stripped = text.strip()
        try:
            parsed = ipaddress.ip_address(stripped)
        except ValueError:
            raise AddressError(f"{stripped!r} is not an IP address; {_remedy(stripped)}") from None
        if isinstance(parsed, ipaddress.IPv6Address):
            if parsed.scope_id is not None:
                raise AddressError(f"{stripped!r} has a zone id; a LoadBalancer address has none")
            if parsed.ipv4_mapped is not None:
                raise AddressError(f"{stripped!r} is an IPv4-mapped address; write {parsed.ipv4_mapped}")
            return cls(Family.IPV6, int(parsed))
        return cls(Family.IPV4, int(parsed))

    @classmethod
    def from_claim_name(cls, name: str) -> Self:
        """Read the address back from an IPAllocation's name. Raises AddressError."""
        return cls.parse(name.replace("-", ":"))

    @property
    def claim_name(self) -> str:
        """The IPAllocation's name: the address itself, IPv6 fully expanded with `-` (a DNS-1123 subdomain)."""
        if self.family is Family.IPV4:
            return str(self)
        return ipaddress.IPv6Address(self.value).exploded.replace(":", "-")

    def __str__(self) -> str:
        if self.family is Family.IPV4:
            return str(ipaddress.IPv4Address(self.value))
        return str(ipaddress.IPv6Address(self.value))


@dataclass(frozen=True, slots=True)
class AddressRange:
    """The addresses `first` to `last`, both included, as written in a pool (`text`)."""

    family: Family
    first: int
    last: int
    text: str
    anycast: int | None = None
    """The subnet-router anycast address (RFC 4291 2.6.1) of an IPv6 CIDR of /126 or shorter, else None."""

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read a CIDR (host bits are masked away), `first-last`, or a single address. Raises AddressError."""
        written = text.strip()
        if "/" in written:
            return cls._from_cidr(written)
        if "-" in written:
            return cls._from_bounds(written)
        address = Address.parse(written)
        return cls(address.family, address.value, address.value, str(address))

    @classmethod
    def _from_cidr(cls, text: str) -> Self:
        base, _, length_text = text.partition("/")
        address = Address.parse(base)
        family = address.family
        # isdigit alone admits digits of other scripts, which int() would then accept.
        if not (length_text.isascii() and length_text.isdigit() and int(length_text) <= family.bits):
            raise AddressError(f"{text!r} has no valid prefix length; use 0 to {family.bits}")
        if length_text != str(int(length_text)):
            raise AddressError(f"{text!r} has leading zeros in its prefix length; write /{int(length_text)}")
        length = int(length_text)
        host_bits = family.bits - length
        first = address.value >> host_bits << host_bits
        anycast = first if family is Family.IPV6 and length <= 126 else None
        return cls(family, first, first + (1 << host_bits) - 1, f"{Address(family, first)}/{length}", anycast)

    @classmethod
    def _from_bounds(cls, text: str) -> Self:
        low, _, high = text.partition("-")
        first, last = Address.parse(low), Address.parse(high)
        if first.family is not last.family:
            raise AddressError(
                f"{text!r} starts as {first.family} and ends as {last.family}; write one range per family"
            )
        if first.value > last.value:
            raise AddressError(f"{text!r} starts after it ends; write {last}-{first}")
        return cls(first.family, first.value, last.value, f"{first}-{last}")

    @property
    def size(self) -> int:
        """How many addresses the range spans."""
        return self.last - self.first + 1

    def __contains__(self, address: Address) -> bool:
        return self.family is address.family and self.first <= address.value <= self.last

    def overlaps(self, other: AddressRange) -> bool:
        """Tell whether any address lies in both ranges."""
        return self.family is other.family and self.first <= other.last and other.first <= self.last

    def __str__(self) -> str:
        return self.text


_UNUSABLE = {
    "multicast": "use unicast addresses",
    "loopback": "no other host can reach it",
    "link-local": "routers do not forward it",
    "unspecified": "no host can hold it",
}


def unusable_part(candidate: AddressRange) -> tuple[str, str] | None:
    """Name what makes part of a range unfit for Services, as (kind, why), or None when all of it is fit."""
    for kind, reserved in _RESERVED:
        if candidate.overlaps(reserved):
            return kind, _UNUSABLE[kind]
    return None


_RESERVED = tuple(
    (kind, AddressRange.parse(text))
    for kind, text in (
        ("unspecified", "0.0.0.0/8"),
        ("loopback", "127.0.0.0/8"),
        ("link-local", "169.254.0.0/16"),
        ("multicast", "224.0.0.0/4"),
        ("unspecified", "::/128"),
        ("loopback", "::1/128"),
        ("link-local", "fe80::/10"),
        ("multicast", "ff00::/8"),
    )
)


def _remedy(text: str) -> str:
    octets = text.split(".")
    if len(octets) == 4 and all(octet.isdecimal() for octet in octets):
        plain = ".".join(octet.lstrip("0") or "0" for octet in octets)
        if plain != text and all(int(octet) < 256 for octet in octets):
            # Some programs read a leading zero as octal, so that no two need agree on what was meant.
            return f"leading zeros are ambiguous, write {plain}"
        return "each of its four numbers is 0 to 255"
    return "write it like 192.0.2.10 or 2001:db8::10"

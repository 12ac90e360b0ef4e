"""Addresses and ranges as exact integers; nothing here ever enumerates a range."""

from __future__ import annotations

import ipaddress
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import Self

from allocator.core.address_forms import addresses_meant, entries_meant
from allocator.core.listing import cut


class Family(StrEnum):
    """An IP family, spelled as Kubernetes spells it in spec.ipFamilies."""

    IPV4 = "IPv4"
    IPV6 = "IPv6"

    @property
    def bits(self) -> int:
        """The width of an address."""
        return 32 if self is Family.IPV4 else 128


class AddressError(ValueError):
    """Text that is not an address or a range: the entry as written, what is wrong with it, what would be right."""

    def __init__(self, entry: str, why: str, remedy: str) -> None:
        super().__init__(f"{quoted(entry)} {why}; {remedy}")
        self.why = why
        self.remedy = remedy


_QUOTED_CHARACTERS = 100


def quoted(text: str) -> str:
    """Text as messages show it: between quotes, on one line, cut where it is long."""
    return repr(cut(text, limit=_QUOTED_CHARACTERS))


def _dotted_quad(text: str) -> int | None:
    """The value of an IPv4 address in four decimal parts without leading zeros; None for any other text."""
    parts = text.split(".", 4)
    if len(parts) != 4:
        return None
    value = 0
    for part in parts:
        if not part.isascii() or not part.isdigit() or len(part) > 3 or (part[0] == "0" and part != "0"):
            return None
        number = int(part)
        if number > 0xFF:
            return None
        value = value << 8 | number
    return value


@dataclass(frozen=True, slots=True, order=True)
class Address:
    """One IP address. Orders IPv4 before IPv6, then by value."""

    family: Family
    value: int

    def __hash__(self) -> int:
        """The value alone: cheaper than both fields, and addresses that follow each other do not collide."""
        return self.value

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read an address; refuses zone ids, IPv4-mapped IPv6 and leading zeros. Raises AddressError.

        The error proposes what may have been meant (`address_forms.addresses_meant`).
        """
        try:
            return cls._read(text)
        except AddressError as error:
            meant = addresses_meant(text, _can(cls._read))
            raise AddressError(text, error.why, f"write {','.join(meant)}" if meant else error.remedy) from None

    @classmethod
    def _read(cls, text: str) -> Self:
        stripped = text.strip()
        # Every event of a watch has several: `ipaddress` takes twenty times as long.
        if (value := _dotted_quad(stripped)) is not None:
            return cls(Family.IPV4, value)
        try:
            parsed = ipaddress.ip_address(stripped)
        except ValueError:
            raise AddressError(text, *_fault(stripped)) from None
        if isinstance(parsed, ipaddress.IPv6Address):
            if parsed.scope_id is not None:
                raise AddressError(text, "has a zone id", "a LoadBalancer address has none")
            if parsed.ipv4_mapped is not None:
                raise AddressError(text, "is an IPv4-mapped address", f"write {parsed.ipv4_mapped}")
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
        value = self.value
        if self.family is Family.IPV4:
            return f"{value >> 24}.{value >> 16 & 0xFF}.{value >> 8 & 0xFF}.{value & 0xFF}"
        return str(ipaddress.IPv6Address(value))


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
        """Read a CIDR (host bits are masked away), `first-last`, or a single address. Raises AddressError.

        The error proposes what may have been meant (`address_forms.entries_meant`).
        """
        try:
            return cls._read(text)
        except AddressError as error:
            meant = entries_meant(text, _can(cls._read))
            raise AddressError(text, error.why, _write(meant) if meant else error.remedy) from None

    @classmethod
    def _read(cls, text: str) -> Self:
        written = text.strip()
        if "/" in written:
            return cls._from_cidr(written)
        if "-" in written:
            return cls._from_bounds(written)
        address = Address._read(written)
        return cls(address.family, address.value, address.value, str(address))

    @classmethod
    def _from_cidr(cls, text: str) -> Self:
        base, _, length_text = text.partition("/")
        address = cls._read_part(text, base, "before the prefix length")
        family = address.family
        # isdigit alone admits digits of other scripts, which int() would then accept; and int() refuses thousands.
        digits = length_text.lstrip("0") or "0"
        if not (length_text.isascii() and length_text.isdigit() and len(digits) <= 3 and int(digits) <= family.bits):
            raise AddressError(text, "has no valid prefix length", f"use 0 to {family.bits}")
        if length_text != digits:
            raise AddressError(text, "has leading zeros in its prefix length", f"write {base}/{digits}")
        length = int(digits)
        host_bits = family.bits - length
        first = address.value >> host_bits << host_bits
        anycast = first if family is Family.IPV6 and length <= 126 else None
        return cls(family, first, first + (1 << host_bits) - 1, f"{Address(family, first)}/{length}", anycast)

    @classmethod
    def _read_part(cls, text: str, part: str, role: str) -> Address:
        try:
            return Address._read(part)
        except AddressError as error:
            raise AddressError(text, f"has {quoted(part)} {role}, which {error.why}", error.remedy) from None

    @classmethod
    def _from_bounds(cls, text: str) -> Self:
        low, _, high = (part.strip() for part in text.partition("-"))
        if not (low and high):
            raise AddressError(text, "is a range with one end", "write the first and the last address, or one alone")
        first, last = (cls._read_part(text, part, "as an end") for part in (low, high))
        if first.family is not last.family:
            raise AddressError(
                text, f"starts as {first.family} and ends as {last.family}", "write one range per family"
            )
        if first.value > last.value:
            raise AddressError(text, "starts after it ends", f"write {last}-{first}")
        return cls(first.family, first.value, last.value, f"{first}-{last}")

    @property
    def size(self) -> int:
        """How many addresses the range spans."""
        return self.last - self.first + 1

    def __contains__(self, address: Address) -> bool:
        return self.family is address.family and self.first <= address.value <= self.last

    def overlaps(self, other: AddressRange) -> bool:
        """Return whether any address lies in both ranges."""
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


def _can(read: Callable[[str], object]) -> Callable[[str], bool]:
    def reads(text: str) -> bool:
        try:
            read(text)
        except AddressError:
            return False
        return True

    return reads


def _write(entries: tuple[str, ...]) -> str:
    if len(entries) == 1:
        return f"write {entries[0]}"
    return f"write {len(entries)} entries: {', '.join(entries)}"


def _fault(text: str) -> tuple[str, str]:
    """Say why text is not an address, and what to write."""
    octets = text.split(".")
    if len(octets) == 4 and all(octet.isascii() and octet.isdigit() for octet in octets):
        plain = [octet.lstrip("0") or "0" for octet in octets]
        if plain != octets and all(len(octet) <= 3 and int(octet) < 256 for octet in plain):
            # Some programs read a leading zero as octal, so that no two need agree on what was meant.
            return "has leading zeros, which not all programs read alike", f"write {'.'.join(plain)}"
        return "is not an IP address", "each of its four numbers is 0 to 255"
    return "is not an IP address", "write it like 192.0.2.10 or 2001:db8::10"

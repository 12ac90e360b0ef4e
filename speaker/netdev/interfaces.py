"""The node's network interfaces as the kernel reports them, and which of them may announce addresses."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from speaker.membership.link import Subnet

EXCLUDED_NAMES = (
    "^docker.*",
    "^cbr.*",
    "^dummy.*",
    "^virbr.*",
    "^lxcbr.*",
    "^veth.*",
    "^lo$",
    "^cali.*",
    "^tunl.*",
    "^flannel.*",
    "^kube-ipvs.*",
    "^cni.*",
    "^nodelocaldns.*",
    "^lxc.*",
)
"""MetalLB's announcedInterfacesToExclude: interfaces of container networks, never of the LAN."""

_IFF_UP, _IFF_BROADCAST, _IFF_LOOPBACK, _IFF_NOARP, _IFF_LOWER_UP = 0x1, 0x2, 0x8, 0x80, 0x10000
_ARPHRD_ETHER = 1
_DUMMY = "dummy"


@dataclass(frozen=True, slots=True, kw_only=True)
class Interface:
    """One link: `mac` is six bytes, `carrier` means its medium is there, `master` the bridge or bond it serves.

    `kind` is the driver's, empty for hardware; `ipv6` means that IPv6 is enabled on it. `addresses` are those that no
    other host turned out to have; `subnets` those of all its addresses, link-local ones left out. `default_route`
    means that a default route leads out of it, `excluded` that it is not to announce whatever it can. What can never
    announce is known without its addresses.
    """

    index: int
    name: str
    mac: bytes
    hardware: int = _ARPHRD_ETHER
    flags: int = _IFF_UP | _IFF_BROADCAST | _IFF_LOWER_UP
    kind: str = ""
    master: int | None = None
    ipv6: bool = True
    addresses: frozenset[str] = frozenset()
    subnets: frozenset[Subnet] = frozenset()
    default_route: bool = False
    excluded: bool = False

    @property
    def up(self) -> bool:
        """Whether the link is administratively up."""
        return bool(self.flags & _IFF_UP)

    @property
    def carrier(self) -> bool:
        """Whether the medium is connected."""
        return bool(self.flags & _IFF_LOWER_UP)

    @property
    def speaks_arp(self) -> bool:
        """Whether ARP works here: broadcast Ethernet, not loopback, no dummy, not a port of a bridge or bond."""
        ethernet = self.hardware == _ARPHRD_ETHER and bool(self.flags & _IFF_BROADCAST) and self.kind != _DUMMY
        return ethernet and not self.flags & (_IFF_LOOPBACK | _IFF_NOARP) and self.master is None

    @property
    def may_announce(self) -> bool:
        """Whether it announces once it is up and has a carrier."""
        return self.speaks_arp and not self.excluded


def announcing(interfaces: Iterable[Interface]) -> tuple[Interface, ...]:
    """Choose the interfaces that can announce now (MetalLB internal/layer2/announcer.go updateInterfaces)."""
    return tuple(
        interface for interface in interfaces if interface.up and interface.carrier and interface.may_announce
    )

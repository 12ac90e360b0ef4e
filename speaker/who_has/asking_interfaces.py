"""From which interfaces an address is asked for, and as whom. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from allocator.core.addresses import Address, AddressRange, Family
from speaker.netdev.interfaces import Interface, announcing

_LINK_LOCAL = AddressRange.parse("fe80::/10")


@dataclass(frozen=True, slots=True, kw_only=True)
class AskingInterface:
    """An interface to ask from; `sender` is its own address that asks, None where it has none of the family."""

    interface: Interface
    sender: Address | None


class NoInterface(Exception):
    """There is nowhere to ask from; the message says why and what would help."""


def asking_interfaces(
    target: Address, interfaces: Iterable[Interface], *, named: Sequence[str] = ()
) -> tuple[AskingInterface, ...]:
    """Return where to ask for `target`: on the interfaces named; else on those with a subnet that contains it.

    Where no interface has such a subnet, on those that a default route leads out of; else on all that could announce.
    Raises NoInterface.
    """
    usable = [each for each in announcing(interfaces) if each.ipv6 or target.family is Family.IPV4]
    if named:
        chosen = [each for each in usable if each.name in named]
        if missing := sorted(set(named) - {each.name for each in chosen}):
            raise NoInterface(_unusable(missing, usable, target.family))
    else:
        inside = [each for each in usable if any(target in subnet for subnet in each.subnets)]
        chosen = inside or [each for each in usable if each.default_route] or usable
    if not chosen:
        raise NoInterface(
            f"no interface can ask for {target}: none is up with a carrier on an Ethernet LAN"
            f"{' and has IPv6' if target.family is Family.IPV6 else ''}; name one with --interface, or run it on a "
            "node or in a speaker's container"
        )
    return tuple(AskingInterface(interface=each, sender=_sender(target, each)) for each in chosen)


def has_itself(target: Address, interface: Interface) -> bool:
    """Return whether the address is one of the interface's own."""
    return str(target) in interface.addresses


def _sender(target: Address, interface: Interface) -> Address | None:
    """An own address of the target's subnet; else a link-local one, which every LAN knows; else any."""
    own = sorted(Address.parse(text) for text in interface.addresses)
    own = [each for each in own if each.family is target.family and each != target]
    around = [subnet for subnet in interface.subnets if target in subnet]

    def rank(address: Address) -> int:
        if any(address in subnet for subnet in around):
            return 0
        return 1 if address in _LINK_LOCAL else 2

    return min(own, key=rank, default=None)


def _unusable(missing: Sequence[str], usable: Sequence[Interface], family: Family) -> str:
    others = ", ".join(each.name for each in usable) or "none"
    lacks = ", has no carrier or no IPv6" if family is Family.IPV6 else " or has no carrier"
    return (
        f"interface {', '.join(missing)} is not there, is no Ethernet interface{lacks}; "
        f"interfaces that can ask: {others}"
    )

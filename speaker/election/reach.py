"""Which of a node's interfaces have a say in who announces an address."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from allocator.core.addresses import Address
from speaker.cluster.scope import Scope
from speaker.membership.link import Link


@dataclass(frozen=True, slots=True)
class Reach:
    """How a node reaches those who ask for an address.

    `possible` says that it can answer on some interface; `subnet` that one of them has a subnet with the address in
    it; `lost` that one with a say has lost its link, or is cut off on its LAN.
    """

    possible: bool
    subnet: bool
    lost: bool


def reach(address: Address, scope: Scope, links: Iterable[Link]) -> Reach:
    """Return how a node with these links reaches those who ask for the address.

    Only an interface that could carry the address has a say: one with a subnet that contains it; where there is none,
    those that the advertisement names; where it names none, those with the default route. The node still answers on
    every interface of the scope. One without IPv6 has no say about an IPv6 address, and cannot answer for it.
    """
    included = [link for link in links if scope.includes(link.name) and link.carries(address.family)]
    on_subnet = [link for link in included if any(address in subnet for subnet in link.subnets)]
    fallback = included if scope.interfaces is not None else [link for link in included if link.default_route]
    return Reach(
        possible=any(not link.lost for link in included),
        subnet=bool(on_subnet),
        lost=any(link.lost or link.cut_off for link in on_subnet or fallback),
    )

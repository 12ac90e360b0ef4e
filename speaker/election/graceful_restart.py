"""Answering with another node's hardware address while only its speaker restarts.

An address that moves takes its open connections down: the node that has it next knows nothing of them, and the pod
it sends their packets to refuses them. When a speaker is restarted its node goes on forwarding, so the helper says
what the restarting node would say itself: clients notice nothing, and connections stay where they are.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass

from allocator.core.addresses import Address
from speaker.election.claim_term import FRESH_SECONDS
from speaker.membership.link import Link
from speaker.membership.state_sync import AdvertisedState

RESTART_SECONDS = FRESH_SECONDS
"""How long a speaker may restart; after that its node no longer gets the traffic."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Help:
    """For which restarting node an address is answered, with its hardware address on each of this node's interfaces,
    and until when at most. `term` is that of its claim, which is neither given up nor made anew meanwhile."""

    node: str
    macs: Mapping[str, bytes]
    until: float
    term: int


def help_for(
    address: Address,
    states: Mapping[str, AdvertisedState],
    leaving: Collection[str],
    links: Iterable[Link],
    *,
    now: float,
) -> Help | None:
    """Return how to help the speaker that held the address until it left; None if none did, or shares no LAN."""
    holders = [node for node in leaving if address in states[node].claims]
    if not holders:
        return None
    node = max(holders, key=lambda each: (states[each].claims[address].term, each))
    macs = {link.name: mac for link in links if (mac := _mac_on_the_lan_of(link, states[node].links)) is not None}
    if not macs:
        return None
    return Help(node=node, macs=macs, until=now + RESTART_SECONDS, term=states[node].claims[address].term)


def _mac_on_the_lan_of(link: Link, others: Iterable[Link]) -> bytes | None:
    """Return the hardware address of another node on the LAN of a link: where both have a subnet, the same one.

    Names say nothing: eth0 may be the LAN here and the storage network there. Only where neither interface has any
    address is the name all there is to go by.
    """
    there = [other for other in others if not other.lost]
    shared = next((other for other in there if set(other.subnets) & set(link.subnets)), None)
    if shared is None and not link.subnets:
        shared = next((other for other in there if other.name == link.name and not other.subnets), None)
    return None if shared is None else shared.mac

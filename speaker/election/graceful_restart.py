"""Answering with another node's hardware address while only its speaker is away.

An address that moves takes its open connections down: the node that has it next knows nothing of them, and the pod
it sends their packets to refuses them. When a speaker is restarted its node goes on forwarding, so whoever stands in
for it says what it would say itself: clients notice nothing, and connections stay where they are.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass

from allocator.core.addresses import Address
from speaker.membership.state_sync import Statement

LOAN_SECONDS = 30.0
"""How long a speaker may be away; after that its node no longer gets the traffic."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Loan:
    """Whose hardware addresses an address is answered with, by interface, and until when at most."""

    lender: str
    macs: Mapping[str, bytes]
    until: float


def borrowed(
    address: Address, statements: Mapping[str, Statement], leaving: Collection[str], *, now: float
) -> Loan | None:
    """Return the loan with which to take an address from the speaker that announced it until it left, if one did."""
    holders = [node for node in leaving if address in statements[node].claims] if leaving else []
    if not holders:
        return None
    lender = max(holders, key=lambda node: (statements[node].claims[address], node))
    macs = {link.name: link.mac for link in statements[lender].links if not link.lost}
    return Loan(lender=lender, macs=macs, until=now + LOAN_SECONDS)

"""Which free addresses are kept from being handed out because hosts that are none of ours answer for them.

Speakers ask the LAN about the addresses that would be given next and report who answers. What they report is only
accepted for those very addresses: neither a mistaken nor a hostile report takes more than a handful out of use.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from allocator.core import lifecycle
from allocator.core.addresses import Address, Family
from allocator.core.claims import Claim, ForeignHost
from allocator.core.ledger import Ledger
from allocator.core.pools import Pool
from allocator.core.search import next_free

NEXT_ADDRESSES: Final = 8
"""How many addresses of each family a pool publishes as the next: as many Services as may come within a second."""

MARKED_AT_MOST: Final = 16
"""How many addresses of a pool may be Conflicted at a time. A LAN where more hosts live in the pool needs
spec.excludeAddresses; and whoever forges answers takes no more than these out of use."""

ADDRESSES_OF_ONE_HOST: Final = 3
"""A host that answers for more of the asked addresses has none of them: it is a router that does proxy ARP."""


def next_addresses(pool: Pool, ledger: Ledger) -> tuple[Address, ...]:
    """Return the addresses of the pool that Services will be given next, IPv4 first, each family in order."""
    return tuple(address for family in Family for address in next_free(pool, ledger, family, count=NEXT_ADDRESSES))


@dataclass(frozen=True, slots=True, kw_only=True)
class Judgement:
    """What follows from the answers for one pool's addresses."""

    marked: tuple[Claim, ...] = ()
    """Claims to be stored, as they become."""
    freed: tuple[Claim, ...] = ()
    """Conflicted claims to be deleted."""
    unmarked: tuple[Address, ...] = ()
    """Addresses that would be marked, were there not as many already."""
    proxies: tuple[str, ...] = ()
    """Hardware addresses of hosts that answer for more than their own."""
    outdated: tuple[Address, ...] = ()
    """What was answered for and is of no interest any more: claimed, out of the pool, not asked about."""


def judge(
    pool: Pool, answers: Mapping[Address, ForeignHost], *, announced: bool, ledger: Ledger, now: str
) -> Judgement:
    """Judge who answers for the pool's next addresses and for those marked already.

    `announced` says whether layer 2 announces the pool: else nobody asks, and nothing is marked. Answers for other
    addresses count for nothing.
    """
    marked = {claim.address: claim for claim in ledger.conflicted() if claim.pool == pool.name}
    asked = [*(address for address in marked if pool.contains(address)), *next_addresses(pool, ledger)]
    heard = {address: answers[address] for address in asked if address in answers} if announced else {}
    by_host = Counter(host.mac for host in heard.values())
    proxies = {mac for mac, count in by_host.items() if count > ADDRESSES_OF_ONE_HOST}
    foreign = {address: host for address, host in heard.items() if host.mac not in proxies}
    room = MARKED_AT_MOST - sum(address in foreign for address in marked)
    changes: list[Claim] = []
    unmarked: list[Address] = []
    for address, host in foreign.items():
        known = marked.get(address)
        if known is not None and known.foreign_host == host:
            continue
        if known is None and room <= 0:
            unmarked.append(address)
            continue
        claim = lifecycle.mark(ledger.at(address), address=address, pool=pool.name, host=host, now=now)
        if claim is not None:
            changes.append(claim)
            room -= known is None
    return Judgement(
        marked=tuple(changes),
        freed=tuple(claim for address, claim in marked.items() if address not in foreign),
        unmarked=tuple(unmarked),
        proxies=tuple(sorted(proxies)),
        outdated=tuple(sorted(answers.keys() - heard.keys())),
    )


def orphaned(ledger: Ledger, pools: Mapping[str, Pool]) -> tuple[Claim, ...]:
    """Return the Conflicted claims of pools that are gone or cannot be used: nobody asks about them any more."""
    return tuple(claim for claim in ledger.conflicted() if claim.pool not in pools)

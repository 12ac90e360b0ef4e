"""What is remembered of who held which address: the term of the next claim, and whether the LAN has to be asked."""

from __future__ import annotations

from collections.abc import Collection

from allocator.core.addresses import Address
from speaker.membership.state_sync import MAXIMUM_TERM

FRESH_SECONDS = 30.0
"""How long after its last announcement by one of ours an address may be taken without asking the LAN. A takeover
comes within seconds; in half a minute of silence another host may have settled there unnoticed."""

UNINFORMED_TERM = 2**20
"""The term of a claim by a process that has not heard everybody yet: another may have held the address. It is above
that of any holder that such a process does not know of."""


class ClaimTerms:
    """Owned by one thread. It remembers nothing of an address that is not elected.

    An address that nobody wants any more is forgotten, whoever still claims it: the next Service that has it is to
    ask anew.
    """

    def __init__(self) -> None:
        self._claimed: set[Address] = set()
        self._last_claimed: dict[Address, float] = {}
        self._terms: dict[Address, int] = {}

    def look(self, address: Address, terms: Collection[int], now: float) -> None:
        """Take note of the terms of all claims on the address by the living, this node's included.

        Where there are none any more, it was claimed until now: whoever did may just have died.
        """
        if terms:
            self._claimed.add(address)
            self._terms[address] = max(self._terms.get(address, 0), *terms)
        elif address in self._claimed:
            self._claimed.discard(address)
            self._last_claimed[address] = now

    def said(self, address: Address, term: int, now: float) -> None:
        """A claim was just heard of, by a node that should be gone already."""
        self._last_claimed[address] = now
        self._terms[address] = max(self._terms.get(address, 0), term)

    def forget(self, address: Address) -> None:
        """Nobody wants the address any more."""
        self._claimed.discard(address)
        self._last_claimed.pop(address, None)
        self._terms.pop(address, None)

    def next_term(self, address: Address, *, informed: bool) -> int:
        """Return the term of a claim on an address that nobody else claims any more."""
        known = self._terms.get(address, 0 if informed else UNINFORMED_TERM)
        return min(known + 1, MAXIMUM_TERM)

    def had_holder(self, address: Address) -> bool:
        """Return whether one of ours is known to have held the address since a Service has it."""
        return address in self._terms

    def vouches_for(self, address: Address, now: float) -> bool:
        """Return whether one of ours announced the address until just now, so that no other host can have it."""
        if address in self._claimed:
            return True
        last = self._last_claimed.get(address)
        return last is not None and now - last < FRESH_SECONDS

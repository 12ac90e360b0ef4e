"""What is remembered of who held which address: the term of the next claim, and whether the LAN has to be asked."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Set

from allocator.core.addresses import Address
from speaker.membership.state_sync import MAXIMUM_TERM, AdvertisedState

FRESH_SECONDS = 30.0
"""How long after its last announcement by one of ours an address may be taken without asking the LAN. A takeover
comes within seconds; in half a minute of silence another host may have settled there unnoticed."""

UNINFORMED_TERM = 2**20
"""The term of a claim by a process that has not heard everybody yet: another may have held the address. It is above
that of any holder that such a process does not know of."""


class ClaimTerms:
    """Owned by one thread. It holds no more than what is elected now and what the peers advertised last."""

    def __init__(self) -> None:
        self._claimed: Set[Address] = frozenset()
        self._last_claimed: dict[Address, float] = {}
        self._terms: dict[Address, int] = {}
        self._states: Mapping[str, AdvertisedState] = {}

    def look(
        self,
        elected: Collection[Address],
        claimed: Mapping[Address, int],
        states: Mapping[str, AdvertisedState],
        now: float,
    ) -> None:
        """Take note of the addresses there are, of those claimed by the living, and of what peers advertised.

        `claimed` has the term of a claim on each address. Those claimed at the last look were so until now: whoever
        did may just have died. So were those of a state that is new, though its node should be gone already. An
        address that nobody wants any more is forgotten, whoever still claims it: the next Service that has it is to
        ask anew.
        """
        recent = set(self._claimed | claimed.keys())
        terms = dict(self._terms)
        for node, state in states.items():
            if self._states.get(node) is not state:
                recent.update(state.claims)
                for address, claim in state.claims.items():
                    terms[address] = max(terms.get(address, 0), claim.term)
        for address, term in claimed.items():
            terms[address] = max(terms.get(address, 0), term)
        self._states = dict(states)
        self._last_claimed = {
            address: now if address in recent else self._last_claimed[address]
            for address in elected
            if address in recent or address in self._last_claimed
        }
        self._terms = {address: term for address, term in terms.items() if address in self._last_claimed}
        self._claimed = claimed.keys() & self._last_claimed.keys()

    def next_term(self, address: Address, *, informed: bool) -> int:
        """Return the term of a claim on an address that nobody else claims any more."""
        known = self._terms.get(address, 0 if informed else UNINFORMED_TERM)
        return min(known + 1, MAXIMUM_TERM)

    def had_holder(self, address: Address) -> bool:
        """Tell whether one of ours is known to have held the address since a Service has it."""
        return address in self._terms

    def vouches_for(self, address: Address, now: float) -> bool:
        """Tell whether one of ours announced the address until just now, so that no other host can have it."""
        last = self._last_claimed.get(address)
        return last is not None and now - last < FRESH_SECONDS

"""What is remembered of who announced which address: enough to know which may be taken without asking the LAN."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Set

from allocator.core.addresses import Address
from speaker.membership.state_sync import Statement

FRESH_SECONDS = 30.0
"""How long after its last announcement by one of ours an address may be taken without a question. A takeover comes
within seconds; in half a minute of silence another host may have settled there unnoticed."""

PROVISIONAL = 1
"""The term of a claim that gives way to a better candidate that starts: it counts as none in elections."""


class Lineage:
    """Owned by one thread. It holds no more than what is contested now and what the peers said last."""

    def __init__(self) -> None:
        self._highest_term = PROVISIONAL
        self._claimed: Set[Address] = frozenset()
        self._last_claimed: dict[Address, float] = {}
        self._statements: Mapping[str, Statement] = {}

    def next_term(self) -> int:
        """Return a term above every other heard of so far, whichever address it was for."""
        self._highest_term += 1
        return self._highest_term

    def look(
        self, contested: Collection[Address], claimed: Set[Address], statements: Mapping[str, Statement], now: float
    ) -> None:
        """Take note of the addresses there are, of those that one of the living announces, and of what peers said.

        Those claimed at the last look were so until now: whoever did may just have died. So were those of a statement
        that is new, though whoever made it should be gone already. An address that nobody wants any more is
        forgotten, whoever still claims it: the next Service that has it is to ask anew.
        """
        recent = set(self._claimed | claimed)
        for node, statement in statements.items():
            if self._statements.get(node) is not statement:
                recent.update(statement.claims)
                self._highest_term = max(self._highest_term, *statement.claims.values(), 0)
        self._statements = dict(statements)
        self._last_claimed = {
            address: now if address in recent else self._last_claimed[address]
            for address in contested
            if address in recent or address in self._last_claimed
        }
        self._claimed = claimed & self._last_claimed.keys()

    def vouches_for(self, address: Address, now: float) -> bool:
        """Tell whether one of ours announced the address until just now, so that no other host can have it."""
        last = self._last_claimed.get(address)
        return last is not None and now - last < FRESH_SECONDS

"""Sessions that bgpd has otherwise than they are to be, though nothing is under way any more.

The driver knows what it sent. What another does to bgpd (an operator by vtysh, another speaker) it sees only by what
comes of it: a session that is not there, or that was sent more or fewer prefixes than it is to have.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping

from speaker.bgp.reports import SessionState

LASTS_SECONDS = 30.0
"""For how long one lasts before bgpd's configuration is read again, which takes it a second for 10,000 prefixes."""

Difference = int | None
"""How many prefixes more a session is to have than it was sent; None where bgpd does not have it."""


class Discrepancies:
    """Finds each once, as some stay whatever else changes: a prefix that FRR refuses, a family without the router.

    Not locked: its owner serialises access.
    """

    def __init__(self, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._since: dict[str, tuple[Difference, float]] = {}
        self._behind: dict[str, float] = {}
        """Since when each has been otherwise, however."""
        self._reported: dict[str, Difference] = {}

    def look(self, wanted: Mapping[str, int], states: Mapping[str, SessionState]) -> bool:
        """Return whether one has lasted; `wanted` has the number of prefixes of each session that is to be."""
        now = self._clock()
        found: dict[str, Difference] = {}
        for name, count in wanted.items():
            state = states.get(name)
            if state is None:
                found[name] = None
            elif state.up and state.sent_prefixes != count:
                found[name] = count - state.sent_prefixes
        before = self._since
        self._since = {
            name: before[name] if name in before and before[name][0] == difference else (difference, now)
            for name, difference in found.items()
        }
        self._behind = {name: self._behind.get(name, now) for name in found}
        self._reported = {name: difference for name, difference in self._reported.items() if name in found}
        lasting = {
            name: difference
            for name, (difference, began) in self._since.items()
            if now - began >= LASTS_SECONDS and self._reported.get(name, 0) != difference
        }
        self._reported |= lasting
        return bool(lasting)

    def lags(self) -> dict[str, float]:
        """Return for how many seconds each session that was otherwise at the last look has been, however."""
        now = self._clock()
        return {name: now - began for name, began in self._behind.items()}

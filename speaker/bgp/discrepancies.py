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

Counts = tuple[int, int | None]
"""How many prefixes a session is to have, and was sent; None where bgpd does not have it."""


class Discrepancies:
    """Finds each once, as some stay: a prefix that FRR refuses, a family that the router does not take.

    Belongs to one thread.
    """

    def __init__(self, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._since: dict[str, tuple[Counts, float]] = {}
        self._reported: dict[str, Counts] = {}

    def look(self, wanted: Mapping[str, int], states: Mapping[str, SessionState]) -> bool:
        """Return whether one has lasted; `wanted` has the number of prefixes of each session that is to be."""
        now = self._clock()
        found: dict[str, Counts] = {}
        for name, count in wanted.items():
            state = states.get(name)
            if state is None:
                found[name] = count, None
            elif state.up and state.sent_prefixes != count:
                found[name] = count, state.sent_prefixes
        since = {name: self._since.get(name, (counts, now)) for name, counts in found.items()}
        self._since = {
            name: since[name] if since[name][0] == counts else (counts, now) for name, counts in found.items()
        }
        self._reported = {name: counts for name, counts in self._reported.items() if found.get(name) == counts}
        lasting = {
            name: counts
            for name, (counts, began) in self._since.items()
            if now - began >= LASTS_SECONDS and name not in self._reported
        }
        self._reported |= lasting
        return bool(lasting)

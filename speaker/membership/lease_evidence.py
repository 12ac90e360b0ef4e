"""What the Leases of speakers say to a node that hears nobody: who is cut off, and who lives all the same."""

from __future__ import annotations

from dataclasses import dataclass

RENEW_SECONDS = 10.0
"""How often a Lease is renewed."""
RENEW_ALONE_SECONDS = RENEW_SECONDS / 4
"""The same of a node that hears nobody: it may be its Lease that the others have to go by."""
LEASE_COUNTS_SECONDS = 2.5 * RENEW_SECONDS
"""How long a renewed Lease speaks for its node."""
LEASE_COUNTS_ALONE_SECONDS = 4 * RENEW_ALONE_SECONDS
"""The same of a node that hears nobody: a dead one's addresses are taken within 15 s by those who hear nobody too."""
LEASE_DOUBT_SECONDS = RENEW_SECONDS / 2
"""A renewal seen so soon after the last heartbeat may have been written before, and waited in the API server."""
DOUBT_SECONDS = 3 * RENEW_SECONDS
"""How long the Lease of a peer that fell silent is looked at."""
LONGEST_UNSEEN_SECONDS = 2 * RENEW_ALONE_SECONDS
"""This node sees its own renewals at least so often while it hears nobody, as long as the API server takes them."""

LIST_SECONDS = 60.0
"""How often all Leases are listed, while nothing is in doubt."""


@dataclass(slots=True)
class _Renewal:
    at: float
    hears: int
    serving: bool

    @property
    def until(self) -> float:
        """How long it counts."""
        return self.at + (LEASE_COUNTS_SECONDS if self.hears else LEASE_COUNTS_ALONE_SECONDS)


class LeaseEvidence:
    """Takes note of the Leases that are renewed while this node hears nobody. Owned by one thread.

    Whose Lease says that it hears others is not cut off, so this node is: it gives them what they can serve. Among
    all that hear nobody a Lease that is renewed speaks for its node, for what none of those others can serve. The
    Lease of a node that is cut off says that it does not serve; it speaks to those alone that are cut off as well.

    Only time in which this node sees its own Lease renewed counts against another's: while the API server is away, or
    takes no writes, nobody can renew, and what was known before holds. Once it is back each of them has the whole
    time of a renewal once more.
    """

    def __init__(self, now: float) -> None:
        self._alone_since: float | None = now
        self._renewals: dict[str, _Renewal] = {}
        self._counts_until = now
        """Renewals are missed until then, as long as this node's own is not seen again."""

    def alone(self, alone: bool, now: float) -> None:
        """Take note of whether this node hears anybody both ways."""
        if not alone:
            self._alone_since = None
            self._renewals.clear()
        elif self._alone_since is None:
            self._alone_since = now

    def renewed(self, node: str, hears: int | None, now: float, *, serving: bool) -> None:
        """The node's Lease was seen to be renewed; it says how many others the node hears, and whether it serves.

        None of who is just joining others: whose side is the one cut off is not decided yet.
        """
        if self._alone_since is None or now - self._alone_since < LEASE_DOUBT_SECONDS:
            return
        if hears is None:
            self._renewals.pop(node, None)
            return
        self._renewals[node] = _Renewal(now, hears, serving)

    def own_renewed(self, now: float) -> None:
        """This node's own Lease was seen to be renewed."""
        if now > self._counts_until:
            for each in self._renewals.values():
                each.at = now
        self._counts_until = now + LONGEST_UNSEEN_SECONDS

    def seen(self, node: str, now: float) -> None:
        """The node was seen to announce: as good as a renewal."""
        known = self._renewals.get(node)
        self.renewed(node, 0 if known is None else known.hears, now, serving=True)

    def together(self, now: float) -> frozenset[str]:
        """Return the nodes that hear each other while this one hears nobody: it is this one that is cut off."""
        return frozenset(node for node, each in self._current(now) if each.hears and each.serving)

    def silent(self, now: float) -> frozenset[str]:
        """Return the nodes that hear nobody either and live by their Leases."""
        cut_off = bool(self.together(now))
        return frozenset(node for node, each in self._current(now) if not each.hears and (each.serving or cut_off))

    def next_change(self, now: float) -> float | None:
        """Return when one of the answers next changes by itself."""
        end = min((each.until for _, each in self._current(now)), default=None)
        return end if end is not None and end <= self._counts_until else None

    def _current(self, now: float) -> list[tuple[str, _Renewal]]:
        counted = min(now, self._counts_until)
        return [(node, each) for node, each in self._renewals.items() if counted < each.until]

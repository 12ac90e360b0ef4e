"""Addresses for which the kernel refuses what answering needs: until they are worth another try."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping

from allocator.core.addresses import Address

RETRY_SECONDS = 10.0
"""From a refusal to trying again."""


class Refusals:
    """Pure: every method that needs it takes the time. One owner.

    What was refused counts as refused until the next try, also when it is given away meanwhile: that it is not asked
    for any more does not mean that the kernel would allow it.
    """

    def __init__(self) -> None:
        self._refused: dict[Address, str] = {}
        self._reported: frozenset[Address] = frozenset()
        self.retry_at: float | None = None
        """When to try again; None while nothing was refused."""

    def current(self) -> Mapping[Address, str]:
        """Return what is refused, with the reason."""
        return self._refused

    def note(
        self,
        refused: Mapping[Address, str],
        *,
        tried: Iterable[Address],
        wanted: Collection[Address],
        failed: bool,
        now: float,
    ) -> None:
        """Take note of what is refused of the `tried`, and whether an interface could not be opened."""
        if self._refused:
            for address in tried:
                if address in wanted:
                    self._refused.pop(address, None)
        self._refused.update(refused)
        if self.retry_at is None and (self._refused or failed):
            self.retry_at = now + RETRY_SECONDS

    def forget(self) -> None:
        """Let everything be tried again."""
        self._refused = {}
        self.retry_at = None

    def take_change(self) -> tuple[Mapping[Address, str], list[Address]] | None:
        """Return what is refused now and what of it is new, None if all of it was returned before."""
        if self._refused.keys() == self._reported:
            return None
        new = sorted(self._refused.keys() - self._reported)
        self._reported = frozenset(self._refused)
        return dict(self._refused), new


def refusal_text(refused: Mapping[Address, str]) -> str:
    """Say in one line what is refused, why, and what comes of it."""
    first = min(refused)
    others = f" and {len(refused) - 1} more" if len(refused) > 1 else ""
    return (
        f"the kernel does not let this node answer for {first}{others}: {refused[first]}; "
        f"left to other nodes, and tried again after {RETRY_SECONDS:g} s"
    )

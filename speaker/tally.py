"""What each decision changed, in numbers: addresses taken, and the Services announced from this node."""

from __future__ import annotations

from collections.abc import Iterable

from allocator.core.addresses import Address
from allocator.reflector import Key
from speaker.contest import Contest
from speaker.metrics import SpeakerMetrics
from speaker.tenure import Tenancy

_PROTOCOL = "layer2"


class Tally:
    """Keeps the metrics that follow from what this node announces. Owned by one thread."""

    def __init__(self, node: str, metrics: SpeakerMetrics) -> None:
        self._node = node
        self._metrics = metrics
        self._shown: frozenset[tuple[Key, Address]] = frozenset()

    def count(self, contests: Iterable[Contest], tenancy: Tenancy, *, before: Tenancy, lost: bool) -> None:
        """Count what was not announced `before`, and show what is; `lost` says that a speaker was given up."""
        taken = tenancy.scopes.keys() - before.scopes.keys()
        if taken:
            new = len(taken & tenancy.unheld)
            self._metrics.takeovers.labels("new").inc(new)
            self._metrics.takeovers.labels("lost" if lost else "handed-over").inc(len(taken) - new)
        self._show(
            frozenset(
                (key, address)
                for contest in contests
                for key, address in contest.services
                if address in tenancy.claims
            )
        )

    def _show(self, announced: frozenset[tuple[Key, Address]]) -> None:
        for key, address in self._shown - announced:
            self._metrics.announced.remove(*self._labels(key, address))
        for key, address in announced - self._shown:
            self._metrics.announced.labels(*self._labels(key, address)).set(1)
        self._shown = announced

    def _labels(self, key: Key, address: Address) -> tuple[str, str, str, str]:
        return "/".join(key), _PROTOCOL, self._node, str(address)

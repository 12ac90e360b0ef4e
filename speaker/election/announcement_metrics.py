"""What each decision changed, in numbers: addresses taken, and the Services announced from this node."""

from __future__ import annotations

from collections.abc import Collection, Iterable

from allocator.core.addresses import Address
from allocator.kube.reflector import Key
from speaker.election.candidates import Contest
from speaker.election.holder import Surroundings, Tenancy
from speaker.metrics import SpeakerMetrics

_PROTOCOL = "layer2"


class Tally:
    """Keeps the metrics that follow from what this node announces. Owned by one thread."""

    def __init__(self, node: str, metrics: SpeakerMetrics) -> None:
        self._node = node
        self._metrics = metrics
        self._shown: frozenset[tuple[Key, Address]] = frozenset()

    def count(self, contests: Iterable[Contest], around: Surroundings, tenancy: Tenancy, *, before: Tenancy) -> None:
        """Count what was not announced `before`, and show what is."""
        taken = tenancy.scopes.keys() - before.scopes.keys()
        if taken:
            held = taken - tenancy.unheld
            lost = len(_lost(held, around))
            self._metrics.takeovers.labels("new").inc(len(taken) - len(held))
            self._metrics.takeovers.labels("lost").inc(lost)
            self._metrics.takeovers.labels("handed-over").inc(len(held) - lost)
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


def _lost(addresses: Collection[Address], around: Surroundings) -> set[Address]:
    """Those whose last holder fell silent without having said good-bye."""
    last: dict[Address, tuple[int, str]] = {}
    for node, statement in around.statements.items():
        for address in statement.claims.keys() & addresses:
            last[address] = max(last.get(address, (0, "")), (statement.claims[address], node))
    return {address for address, (_, node) in last.items() if node not in around.alive and node not in around.leaving}

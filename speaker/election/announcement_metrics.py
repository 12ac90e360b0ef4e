"""What each decision changed, in numbers: addresses taken, and the Services announced from this node."""

from __future__ import annotations

from collections.abc import Collection, Iterable

from allocator.core.addresses import Address
from allocator.kube.reflector import Key
from speaker.election.candidates import Candidates
from speaker.election.holder import HolderState
from speaker.membership.liveness import Liveness
from speaker.metrics import SpeakerMetrics

_PROTOCOL = "layer2"


class AnnouncementMetrics:
    """Keeps the metrics that follow from what this node announces. Owned by one thread."""

    def __init__(self, node: str, metrics: SpeakerMetrics) -> None:
        self._node = node
        self._metrics = metrics
        self._shown: frozenset[tuple[Key, Address]] = frozenset()

    def count(
        self, groups: Iterable[Candidates], liveness: Liveness, state: HolderState, *, before: HolderState
    ) -> None:
        """Count what was not announced `before`, and show what is."""
        taken = state.scopes.keys() - before.scopes.keys()
        if taken:
            held = taken - state.probing
            lost = len(_lost(held, liveness))
            self._metrics.takeovers.labels("new").inc(len(taken) - len(held))
            self._metrics.takeovers.labels("lost").inc(lost)
            self._metrics.takeovers.labels("handed-over").inc(len(held) - lost)
        self._show(
            frozenset(
                (key, address) for group in groups for key, address in group.services if address in state.claims
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


def _lost(addresses: Collection[Address], liveness: Liveness) -> set[Address]:
    """Those whose last holder fell silent without having said that it leaves."""
    last: dict[Address, tuple[int, str]] = {}
    for node, state in liveness.states.items():
        for address in state.claims.keys() & addresses:
            last[address] = max(last.get(address, (0, "")), (state.claims[address].term, node))
    gone = {address: node for address, (_, node) in last.items()}
    return {address for address, node in gone.items() if node not in liveness.alive and node not in liveness.leaving}

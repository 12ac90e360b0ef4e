"""What each decision changed, in numbers: addresses taken, and the Services announced from this node."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

from allocator.core.addresses import Address
from allocator.kube.reflector import Key
from speaker.election.candidates import Candidates
from speaker.election.holder_state import HolderState
from speaker.membership.liveness import Liveness
from speaker.membership.state_sync import Claim
from speaker.metrics import SpeakerMetrics

_PROTOCOL = "layer2"


class AnnouncementMetrics:
    """Keeps the metrics that follow from what this node announces. Owned by one thread."""

    def __init__(self, node: str, metrics: SpeakerMetrics) -> None:
        self._node = node
        self._metrics = metrics
        self._shown: dict[Address, frozenset[Key]] = {}

    def count(
        self,
        addresses: Iterable[Address],
        liveness: Liveness,
        state: HolderState,
        *,
        before: HolderState,
        group_of: Callable[[Address], Candidates | None],
        last_claims: Callable[[Address], Mapping[str, Claim]],
    ) -> None:
        """Count what of these was not announced `before`, and show what is. What is only probed for is neither.

        `last_claims` returns what others were last heard to claim of an address, the dead included.
        """
        taken = {address for address in addresses if address in state.claims and address not in before.claims}
        if taken:
            held = taken - before.probing
            lost = sum(_is_lost(last_claims(address), liveness) for address in held)
            self._metrics.takeovers.labels("new").inc(len(taken) - len(held))
            self._metrics.takeovers.labels("lost").inc(lost)
            self._metrics.takeovers.labels("handed-over").inc(len(held) - lost)
        for address in addresses:
            group = group_of(address) if address in state.claims else None
            self._show(address, frozenset(key for key, its in group.services if its == address) if group else _NONE)

    def _show(self, address: Address, services: frozenset[Key]) -> None:
        shown = self._shown.get(address, _NONE)
        for key in shown - services:
            self._metrics.announced.remove(*self._labels(key, address))
        for key in services - shown:
            self._metrics.announced.labels(*self._labels(key, address)).set(1)
        if services:
            self._shown[address] = services
        else:
            self._shown.pop(address, None)
        self._metrics.addresses.set(len(self._shown))

    def _labels(self, key: Key, address: Address) -> tuple[str, str, str, str]:
        return "/".join(key), _PROTOCOL, self._node, str(address)


_NONE: frozenset[Key] = frozenset()


def _is_lost(claims: Mapping[str, Claim], liveness: Liveness) -> bool:
    """Return whether the last holder fell silent without having said that it leaves."""
    _, last = max(((claim.term, node) for node, claim in claims.items()), default=(0, ""))
    return bool(last) and last not in liveness.alive and last not in liveness.leaving

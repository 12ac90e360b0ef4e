"""The witnesses of a whole run: one pair for each state of the cluster that nobody took back."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from allocator.kube.client import Cluster
from allocator.kube.reflector import Reflector
from allocator.kube.resource import SERVICES
from allocator.objects.names import IP_ALLOCATIONS
from tests.chaos.clients import NAMESPACE
from tests.chaos.witness import ClaimWitness, Quotas, Witness

_SYNC_SECONDS = 30


class Watch:
    """Starts and ends witnesses, and adds up what they saw. Used by one thread at a time."""

    def __init__(self, connect: Callable[[], Cluster]) -> None:
        self._connect = connect
        self.quotas = Quotas()
        self._witness, self._claim_witness = Witness(quotas=self.quotas), ClaimWitness()
        self._mirrors: tuple[Reflector, ...] = ()
        self._counts: Counter[str] = Counter()
        self.duplicates: list[str] = []
        self.moves: list[str] = []

    def begin(self) -> None:
        """Begin to watch; what is there now is where everything starts from."""
        self._witness, self._claim_witness = Witness(quotas=self.quotas), ClaimWitness()
        self._mirrors = (
            Reflector(self._connect(), SERVICES, namespace=NAMESPACE, on_change=self._witness.see),
            Reflector(self._connect(), IP_ALLOCATIONS, on_change=self._claim_witness.see),
        )
        for mirror in self._mirrors:
            mirror.start()
        if not all(mirror.wait_synced(_SYNC_SECONDS) for mirror in self._mirrors):
            raise AssertionError("the witnesses were not told what there is")

    def end(self) -> None:
        """Watch no more, and keep what was seen."""
        for mirror in self._mirrors:
            mirror.stop()
        one, other = self._witness, self._claim_witness
        self.duplicates += one.duplicates + other.duplicates
        moves = [move for move in one.moves if not other.gave_way(move)]
        self.moves += ["\n    ".join((move.text, *other.story(move))) for move in moves]
        self._counts.update(
            assigned=one.assigned,
            shared=one.shared,
            moved=one.moved_as_asked,
            gave_way=one.gave_way + len(one.moves) - len(moves),
            versions=other.versions,
        )

    @contextmanager
    def interrupted(self) -> Iterator[None]:
        """Look away while the cluster is taken back to an earlier state, and start from that state.

        Who has gained an address in between is beside those of a later state to whoever watches on.
        """
        self.end()
        yield
        self.begin()

    @property
    def assigned(self) -> int:
        """How often a Service came to show an address."""
        return self._counts["assigned"]

    @property
    def shared(self) -> int:
        """How often it was one that another showed already, rightly."""
        return self._counts["shared"]

    @property
    def moved_as_asked(self) -> int:
        """How often a Service changed its address because of what it asked for."""
        return self._counts["moved"]

    @property
    def gave_way(self) -> int:
        """How often a Service left an address to one that had it first."""
        return self._counts["gave_way"]

    @property
    def claim_versions(self) -> int:
        """How many versions of claims were looked at."""
        return self._counts["versions"]

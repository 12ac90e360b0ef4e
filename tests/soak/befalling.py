"""What every kind of misfortune needs: whom it befalls, chance, and a note of when."""

from __future__ import annotations

import random
import threading
import time
from dataclasses import dataclass

from tests.lab.node import Node
from tests.soak.place import Place
from tests.soak.witness import Witness


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """Something happened, at an instant of CLOCK_MONOTONIC; `by_lease` where nodes learn what follows by Leases.

    `api` says whether the API server answers from then on, None where that is as before.
    """

    at: float
    what: str
    by_lease: bool = False
    api: bool | None = None


class Befalling:
    """Owned by the one thread that has things happen; `events` is only ever appended to."""

    def __init__(self, place: Place, witness: Witness, *, seed: int) -> None:
        self.place = place
        self.witness = witness
        self.chance = random.Random(seed)
        self.events: list[Event] = []

    def victim(self) -> Node:
        """Choose one of the nodes that announce."""
        return self.chance.choice(self.place.announcing)

    def happened(
        self, what: str, at: float | None = None, *, by_lease: bool = False, api: bool | None = None
    ) -> None:
        """Note what happened, now or at an instant. What makes something whole is noted first: it works at once."""
        at = time.monotonic() if at is None else at
        self.events.append(Event(at=at, what=what, by_lease=by_lease, api=api))

    def wait(self, least_seconds: float, most_seconds: float) -> None:
        """Let some time pass, the end of the soak or not: whatever is broken is made whole before it."""
        threading.Event().wait(self.chance.uniform(least_seconds, most_seconds))

    def lose(self, node: Node) -> None:
        """From now on an answer that leads to the node leads nowhere."""
        self.witness.lost(node.mac("eth0"))

    def find(self, node: Node) -> None:
        """Undo `lose`."""
        self.witness.found(node.mac("eth0"))

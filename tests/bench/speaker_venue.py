"""One lab for all figures of a run that need one: made when first asked for, and reused."""

from __future__ import annotations

from contextlib import ExitStack
from typing import Self

from tests.bench.speaker_site import SpeakerSite, speaker_site
from tests.lab.lab import Lab


class Venue:
    """Holds the lab until its block ends. Owned by one thread."""

    def __init__(self) -> None:
        self._site: SpeakerSite | None = None
        self._open = ExitStack()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.leave()

    def leave(self) -> None:
        """End the lab, if there is one: there may be one at a time."""
        self._site = None
        self._open.close()

    @property
    def site(self) -> SpeakerSite:
        """Three nodes, a client that makes requests and one that asks who has an address; one Service of both
        families."""
        if self._site is None:
            lab = self._open.enter_context(Lab(nodes=3, clients=2))
            self._site = self._open.enter_context(speaker_site(lab, dual_stack=True))
        return self._site

"""One bed after the other: a node with FRR between two routers, for each release of FRR that set-up could fetch."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

from tests.frr.driver.bed import Bed, bed
from tests.lab.frr_programs import BIRD, SUITES, find_bird, find_frr


def beds(bird_release: str = BIRD) -> Iterator[tuple[str, Bed, Path]]:
    """Yield the release, the newest first, its bed, and a folder; both go when the next is asked for."""
    bird = find_bird(bird_release)
    for number, release in enumerate(reversed(SUITES)):
        root = find_frr(release)
        if root is None or bird is None:
            continue
        with tempfile.TemporaryDirectory(prefix="admitlb-bench-") as name:
            folder = Path(name)
            with bed(release, root, bird, folder / "bed", number) as site:
                yield release, site, folder

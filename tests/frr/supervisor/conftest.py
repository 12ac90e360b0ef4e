"""One node and one router for each test: what a test kills or leaves behind is not there for the next."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.frr.supervisor.frr_pod import Site, site
from tests.lab.frr_image import find_frr_image
from tests.lab.frr_programs import find_bird


@pytest.fixture
def here(tmp_path: Path) -> Iterator[Site]:
    """The node, FRR not started, and its router."""
    image, bird = find_frr_image(tmp_path / "layer"), find_bird()
    if image is None or bird is None:
        pytest.skip("FRR's image or BIRD is not here; `python -m tests.lab.frr_programs` fetches them from Debian")
    with site(image, bird, tmp_path) as built:
        yield built

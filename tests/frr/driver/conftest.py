"""One bed for each release of FRR, for the whole session; each test begins without any configuration on the node."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from allocator.bgp.desired import Difference
from tests.frr.driver.bed import Bed, bed
from tests.lab.frr_programs import SUITES, find_bird, find_frr


@pytest.fixture(scope="session")
def beds(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Bed]]:
    """The beds by release; those are missing whose programs could not be fetched."""
    bird = find_bird()
    with ExitStack() as running:
        yield {
            release: running.enter_context(bed(release, root, bird, tmp_path_factory.mktemp("bgp"), number))
            for number, release in enumerate(SUITES)
            if bird is not None and (root := find_frr(release)) is not None
        }


@pytest.fixture(params=SUITES)
def site(request: pytest.FixtureRequest, beds: dict[str, Bed]) -> Iterator[Bed]:
    """The bed of each release in turn."""
    release = str(request.param)
    if release not in beds:
        pytest.skip(f"FRR {release} or BIRD is not here; `python -m tests.lab.frr_programs` fetches them from Debian")
    here = beds[release]
    # What a test that failed has killed.
    here.frr.start_missing()
    here.restart_applying()
    assert here.applying.applying.connect()
    yield here
    last = here.restart_applying()
    last.applying.connect()
    last.rendering.update(Difference({}, {}, {}))
    last.applying.apply()

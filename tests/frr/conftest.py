"""Real daemons of each release of FRR that set-up could fetch, one pair for the whole tier."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.frr.daemons import Daemons
from tests.lab.frr_programs import SUITES, find_frr


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    here = Path(__file__).parent
    for item in items:
        if here in item.path.parents:
            item.add_marker(pytest.mark.lab)


@pytest.fixture(scope="session")
def all_daemons(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Daemons]]:
    """The daemons by release; those are missing that could not be fetched."""
    logs = tmp_path_factory.mktemp("frr")
    with ExitStack() as running:
        yield {
            release: running.enter_context(Daemons(release, root, logs))
            for release in SUITES
            if (root := find_frr(release)) is not None
        }


@pytest.fixture(scope="session", params=SUITES)
def daemons(request: pytest.FixtureRequest, all_daemons: dict[str, Daemons]) -> Daemons:
    """The daemons of each release in turn."""
    release = str(request.param)
    if release not in all_daemons:
        suite = SUITES[release]
        pytest.skip(f"FRR {release} is not here; `python -m tests.lab.frr_programs` fetches it from Debian {suite}")
    return all_daemons[release]

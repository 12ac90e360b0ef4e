"""A cluster in a box of this tier's own: its tests install and remove AdmitLB as the documentation says."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.lab.lab import Lab


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    here = Path(__file__).parent
    for item in items:
        if here in item.path.parents:
            item.add_marker(pytest.mark.lab)


@pytest.fixture(scope="session")
def lab() -> Iterator[Lab]:
    """Three nodes, one client, nothing installed."""
    with Lab(nodes=3, clients=1) as lab:
        yield lab

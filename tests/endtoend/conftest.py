"""One cluster in a box for the whole session; tests leave it as they found it."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from pathlib import Path

import pytest

from allocator.objects.names import DEFAULT_NAMESPACE
from tests.lab.frr_image import NAME, find_frr_image
from tests.lab.lab import Lab

ACCOUNTS = {name: f"system:serviceaccount:{DEFAULT_NAMESPACE}:{name}" for name in ("controller", "speaker")}
"""Whose requests the API server writes down."""

_LOG_LINES = 25


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    here = Path(__file__).parent
    for item in items:
        if here in item.path.parents:
            item.add_marker(pytest.mark.lab)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Show, with a failure, the end of every log of the lab that was written to meanwhile."""
    report = yield
    lab = getattr(item, "funcargs", {}).get("lab")
    if report.failed and isinstance(lab, Lab):
        for path in lab.log_files():
            if path.stat().st_mtime >= call.start:
                lines = path.read_text(errors="replace").splitlines()[-_LOG_LINES:]
                report.sections.append((f"end of {path.relative_to(lab.directory)}", "\n".join(lines)))
    return report


@pytest.fixture(scope="session")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    """Three nodes, one client, nothing installed; FRR's image is there if set-up could fetch it."""
    frr = find_frr_image(tmp_path_factory.mktemp("frr-image"))
    images = {NAME: frr} if frr is not None else {}
    with Lab(nodes=3, clients=1, images=images, audited_users=list(ACCOUNTS.values())) as lab:
        yield lab


@pytest.fixture(autouse=True)
def _sound_lab(lab: Lab) -> Iterator[None]:
    """Fail a test after which the lab itself is broken, rather than the tests that come after it."""
    yield
    assert lab.problems() == []

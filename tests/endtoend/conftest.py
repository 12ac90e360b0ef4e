"""One cluster in a box for the whole folder; tests leave it as they found it, or the next file gets another."""

from __future__ import annotations

from collections.abc import Generator, Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path

import pytest

from allocator.objects.names import DEFAULT_NAMESPACE
from tests.lab.frr_image import NAME, find_frr_image
from tests.lab.images import Image
from tests.lab.lab import Lab

ACCOUNTS = {name: f"system:serviceaccount:{DEFAULT_NAMESPACE}:{name}" for name in ("controller", "speaker")}
"""Whose requests the API server writes down."""

DOUBTFUL = pytest.StashKey[bool]()
"""Of the session: whether a fixture failed that should have left the lab as it was."""
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
    if report.failed and report.when != "call":
        item.session.stash[DOUBTFUL] = True
    if report.failed and isinstance(lab, Lab):
        for path in lab.log_files():
            if path.stat().st_mtime >= call.start:
                lines = path.read_text(errors="replace").splitlines()[-_LOG_LINES:]
                report.sections.append((f"end of {path.relative_to(lab.directory)}", "\n".join(lines)))
    return report


class Labs:
    """One lab after the other, at most one at a time."""

    def __init__(self, images: Mapping[str, Image]) -> None:
        self._images = images
        self._running = ExitStack()
        self._lab: Lab | None = None

    def sound(self, *, doubtful: bool) -> Lab:
        """Return the lab that runs, another one if that is in doubt."""
        if self._lab is None or doubtful:
            self.close()
            lab = Lab(nodes=3, clients=1, images=self._images, audited_users=list(ACCOUNTS.values()))
            self._lab = self._running.enter_context(lab)
        return self._lab

    def close(self) -> None:
        """Stop the lab, if one runs."""
        self._running.close()
        self._lab = None


@pytest.fixture(scope="package")
def labs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Labs]:
    frr = find_frr_image(tmp_path_factory.mktemp("frr-image"))
    labs = Labs({NAME: frr} if frr is not None else {})
    yield labs
    labs.close()


@pytest.fixture(scope="module")
def lab(labs: Labs, request: pytest.FixtureRequest) -> Lab:
    """Three nodes, one client, nothing installed or what other files have; FRR's image if set-up could fetch it."""
    doubtful = request.session.stash.get(DOUBTFUL, False)
    request.session.stash[DOUBTFUL] = False
    return labs.sound(doubtful=doubtful)


@pytest.fixture(autouse=True)
def _sound_lab(lab: Lab) -> Iterator[None]:
    """Fail a test after which the lab itself is broken, rather than the tests that come after it."""
    yield
    assert lab.problems() == []
